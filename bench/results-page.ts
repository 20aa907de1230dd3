// docs/results.md, of what `npm run compare:programs` has measured.

import type { CompareResults, Comparison } from '../index.js';
import { GOALS } from '../src/compare/advice.js';
import { change } from '../src/compare/export/format.js';
import { circumstances, markdownTable } from '../src/compare/export/markdown.js';
import type { MetricName } from '../src/compare/results.js';
import { completeRounds } from '../src/compare/summary.js';
import { markdown } from './table.js';

export interface Measured {
  name: string;
  title: string;
  results: CompareResults;
  /** RSS over time, as an SVG. */
  picture: string | undefined;
}

/** A title before its colon. */
const short = (title: string): string => title.split(':')[0]!;
const memoryOf = ({ mode }: CompareResults): MetricName => GOALS[mode].memory[0]!;
const against = ({ summaries }: CompareResults, subject: string): Partial<Record<MetricName, Comparison>> =>
  summaries.find((summary) => summary.subject === subject)?.against ?? {};

/** The change, as `−73 %`. Brackets mark a change that is not certain. */
function cell(comparison: Comparison | undefined): string {
  if (comparison === undefined) return '';
  const { verdict, ratio } = comparison;
  if (verdict === 'no difference') return '±0';
  return verdict === 'undecided' ? `(${change(ratio)})` : `**${change(ratio)}**`;
}

/** One row a program, one column a subject. */
function overview(all: readonly Measured[], metric: (results: CompareResults) => MetricName): string {
  const { baseline, subjects } = all[0]!.results;
  const others = subjects.map(({ id }) => id).filter((id) => id !== baseline);
  const rows = all.map(({ title, results }) => [
    short(title),
    ...others.map((id) => cell(against(results, id)[metric(results)])),
  ]);
  return markdown(['program', ...others], rows);
}

/** The programs for which `choose` finds a subject, as a list; each with its figures. */
function list(
  all: readonly Measured[],
  choose: (found: Partial<Record<MetricName, Comparison>>, results: CompareResults) => boolean,
): string[] {
  return all.flatMap(({ title, results }) => {
    const found = results.subjects
      .filter(({ id }) => id !== results.baseline && choose(against(results, id), results))
      .map(({ id }) => {
        const own = against(results, id);
        return `${id} (${change(own[memoryOf(results)]!.ratio)}, CPU ${change(own.cpu!.ratio)})`;
      });
    return found.length === 0 ? [] : [`- ${short(title)}: ${found.join('; ')}`];
  });
}

/** What a subject must save, at the least, and may cost in CPU time, at the most. */
const [SAVES, COSTS] = [0.6, 1.03];

export function resultsPage(all: readonly Measured[]): string {
  const rounds = [...new Set(all.map(({ results }) => completeRounds(results)))].join(' or ');
  const wins = list(all, (found, results) => {
    const memory = found[memoryOf(results)];
    return memory?.verdict === 'lower' && memory.ratio <= SAVES && found.cpu!.ratio <= COSTS;
  });
  const losses = all.filter(({ results }) =>
    results.subjects.every(({ id }) => {
      const verdict = against(results, id)[memoryOf(results)]?.verdict;
      return verdict !== 'lower';
    }),
  );
  const dear = list(all, (found, results) => {
    return found.cpu!.verdict === 'higher' || found[memoryOf(results)]?.verdict === 'higher';
  });
  const none = ['- none'];
  return `# Results

${all.length} programs under each allocator, compared with the C library's \`malloc\` without options
(\`${all[0]!.results.baseline}\`). Made by \`npm run compare:programs\`; the programs and the versions of their libraries are
in \`bench/services\`. [How compare measures and decides](compare.md).

A service answers a fixed number of requests, eight at a time, and then idles for five seconds. Each program had one
processor for itself and for its load. One comparison has ${rounds} rounds. Your program differs from these: measure it.

## Memory

For a service, RSS after five seconds without load; for the other programs, the peak of RSS. Bold is certain (95 %),
brackets are not, and ±0 is no difference.

${overview(all, memoryOf)}

## CPU time

${overview(all, () => 'cpu')}

## Where another allocator or a preset wins

At least 40 % less memory, at no more than 3 % more CPU time by the middle of the interval:

${(wins.length > 0 ? wins : none).join('\n')}

A program gains little if most of its memory is V8's heap (Fastify, React, TypeScript), is live (SQLite), or belongs to an
allocator of its own (polars). A spike gains little if it is small beside the program's own memory: with a quarter of the rows
in a table, the service with pandas had 20 % less memory on \`default/low-rss\`, and with a tenth of the rows in its largest
body, the service with zlib had 16 % less.

## Where glibc's malloc wins

No subject has certainly less memory on these programs:

${(losses.length > 0 ? losses.map(({ title }) => `- ${short(title)}`) : none).join('\n')}

Subjects that certainly need more memory or more CPU time than glibc:

${(dear.length > 0 ? dear : none).join('\n')}

${all.map(part).join('\n\n')}
`;
}

function part({ name, title, results, picture }: Measured): string {
  const { advice, warnings } = results;
  return [
    `## ${title}`,
    ...(picture !== undefined
      ? [`![RSS over time of each subject; the table has the figures](results/${name}.svg)`]
      : []),
    markdownTable(results),
    ...(advice === undefined ? [] : [`**${advice.sentence}**`]),
    ...(warnings.length === 0 ? [] : [warnings.map(({ message }) => `- Warning: ${message}`).join('\n')]),
    circumstances(results),
  ].join('\n\n');
}
