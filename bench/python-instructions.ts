import { join } from 'node:path';
import { geometricMean, root } from './measure.js';
import { callgrind } from './pair.js';
import { pythonOn, pythonVersion, withoutUs } from './python-subjects.js';
import { markdown, ratio, type Options, type Table } from './table.js';

/** Those of bench/programs that ask most; few turns, for under callgrind they take fifty times as long. */
const programs = {
  churn: { title: 'dicts and objects', turns: 1_500 },
  strings: { title: 'strings', turns: 1 },
  documents: { title: 'JSON', turns: 1 },
} as const;

async function* run({ quick, python, progress }: Options): AsyncIterable<string> {
  const subjects = new Map(
    [...withoutUs()].filter(([name]) => name === 'plain' || name.endsWith('PYTHONMALLOC=malloc')),
  );
  // snmalloc reserves more address space than valgrind has to give.
  for (const backend of ['jemalloc', 'mimalloc'] as const) {
    for (const set of ['raw+arena', 'raw+mem+obj'] as const) {
      subjects.set(`${backend} ${set}`, pythonOn(backend, set));
    }
  }
  const relative = new Map<string, number[]>();
  for (const [program, { title, turns }] of Object.entries(programs)) {
    const file = join(root, `bench/programs/${program}.py`);
    let plain: number | undefined;
    const rows: string[][] = [];
    for (const [name, env] of subjects) {
      progress(`${program} ${name}`);
      const count = await callgrind(python, [file, String(quick ? Math.ceil(turns / 10) : turns)], env);
      plain ??= count;
      relative.set(name, [...(relative.get(name) ?? []), count / plain]);
      rows.push([name, (count / 1e6).toFixed(1), (count / plain).toFixed(3)]);
    }
    yield `### ${title}\n\n${markdown(['', 'million instructions', '÷ plain'], rows)}`;
  }
  const rows = [...relative].map(([name, all]) => [name, ...all.map(ratio), ratio(geometricMean(all))]);
  const titles = Object.values(programs).map(({ title }) => title);
  yield `### Instructions ÷ those of plain Python\n\n_${pythonVersion(python)}_\n\n${markdown(['', ...titles, 'geometric mean'], rows)}`;
}

export const pythonInstructions: Table = {
  title: 'Instructions of Python programs in user mode (callgrind)',
  run,
};
