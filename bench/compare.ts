import { type CompareResults, compare as comparison, type Verdict } from '../index.js';
import { compile } from './measure.js';
import { neutral } from './subjects.js';
import { markdown, type Options, type Table } from './table.js';

/** A program with known behaviour under two subjects that are the same malloc. */
const SUBJECTS = ['default/none', 'default/throughput'] as const;

type Metric = 'wall' | 'cpu' | 'treePeakRss' | 'meanRss';
const METRICS: readonly Metric[] = ['wall', 'cpu', 'treePeakRss', 'meanRss'];

/** What the second subject does, and the verdicts that are right. */
const cases: readonly { title: string; mode: string; right: Partial<Record<Metric, Verdict>> }[] = [
  {
    title: 'the same',
    mode: 'equal',
    right: Object.fromEntries(METRICS.map((metric) => [metric, 'no difference'])),
  },
  { title: '5 % slower', mode: 'slower', right: { wall: 'higher', cpu: 'higher' } },
  { title: '5 % larger', mode: 'larger', right: { treePeakRss: 'higher', meanRss: 'higher' } },
];

/** One comparison with the default budget. */
async function one(program: string, mode: string): Promise<CompareResults> {
  // About 0.1 s and 64 MiB.
  const command = [program, '60000', '64', mode];
  for await (const event of comparison({ command, subjects: SUBJECTS, env: neutral() }))
    if (event.type === 'end') return event.results;
  throw new Error('the comparison has no end');
}

async function* run({ runs, quick, progress }: Options): AsyncGenerator<string> {
  const program = compile('known');
  const times = runs ?? (quick ? 2 : 20);
  const rows: string[][] = [];
  for (const { title, mode, right } of cases) {
    const rounds: number[] = [];
    const wrong: string[] = [];
    for (let time = 1; time <= times; time++) {
      progress(`${title} ${time}/${times}`);
      const results = await one(program, mode);
      const { against = {} } = results.summaries.find(({ subject }) => subject === SUBJECTS[1])!;
      rounds.push(results.runs.length / SUBJECTS.length);
      const missed = (Object.keys(right) as Metric[]).filter(
        (metric) => against[metric]?.verdict !== right[metric],
      );
      if (missed.length > 0)
        wrong.push(missed.map((metric) => `${metric} ${against[metric]?.verdict ?? 'absent'}`).join(', '));
    }
    rounds.sort((a, b) => a - b);
    const range = `${rounds[0]} to ${rounds.at(-1)}`;
    rows.push([title, `${times - wrong.length} of ${times}`, range, wrong.join('; ')]);
  }
  const head = ['the second subject is', 'every verdict right', 'rounds', 'wrong'];
  yield markdown(head, rows);
}

export const compare: Table = { title: 'compare: what it finds of a known difference', run };
