import { completeRounds } from '../summary.js';
import type { CompareResults, Warning } from '../results.js';
import { bytes, count } from './format.js';
import { rowsOf } from './rows.js';
import { sparklines } from './sparkline.js';

/** One row a subject, one column a metric, and RSS over time. */
export function markdownTable(results: CompareResults): string {
  const { titles, rows } = rowsOf(results);
  const curves = sparklines(results, 20);
  return [
    tableLine(['subject', ...titles, 'RSS over time']),
    `| --- | ${titles.map(() => '---: | ').join('')}--- |`,
    ...rows.map(({ subject, cells }) =>
      tableLine([subject, ...cells.map(({ text }) => text), curves.get(subject) ?? '']),
    ),
  ].join('\n');
}

/** The results as Markdown: the table, the advice, the warnings, and where they were measured. */
export function renderMarkdown(results: CompareResults): string {
  const { advice, warnings, finished } = results;
  const parts = [
    markdownTable(results),
    ...(advice === undefined ? [] : [`**${escaped(advice.sentence)}**`]),
    ...(advice?.dockerfile === undefined ? [] : [fenced('dockerfile', advice.dockerfile.join('\n'))]),
    ...(finished ? [] : ['The comparison is not finished.']),
    ...(warnings.length === 0 ? [] : [warningList(warnings)]),
    fenced('sh', results.command.map(quoted).join(' ')),
    circumstances(results),
  ];
  return `${parts.join('\n\n')}\n`;
}

/** When, where and how often it was measured. */
export function circumstances(results: CompareResults): string {
  const { machine, created, tool, baseline } = results;
  return [
    `Medians of ${count(completeRounds(results), 'round')}, differences to ${baseline} with 95 % intervals`,
    `${created.slice(0, 16).replace('T', ' ')} UTC`,
    `${machine.cores} × ${machine.cpu}, ${bytes(machine.memory)}`,
    `Linux ${machine.kernel}`,
    machine.libc,
    tool,
    `Node ${machine.node}.`,
  ].join('; ');
}

/** A line of a table. */
export const tableLine = (cells: readonly string[]): string => `| ${cells.map(escaped).join(' | ')} |`;

export const warningList = (warnings: readonly Warning[]): string =>
  warnings.map(({ message }) => `- Warning: ${escaped(message)}`).join('\n');

export const escaped = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/** With more backticks than the text has in a row. */
export function fenced(language: string, text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

/** A word as a shell takes it. */
export function quoted(word: string): string {
  return /^[\w./:,%+@=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
