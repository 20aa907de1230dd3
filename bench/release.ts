import { join } from 'node:path';
import { compile, interleaved, median, root, type Cost, type Subject } from './measure.js';
import type { Found } from './programs/release.js';
import { backends, environmentOf } from './subjects.js';
import { markdown, megabytes, type Options, type Table } from './table.js';

/** How much of the spike stays, of which no page can go. */
const cases = [
  { title: 'All blocks freed', keep: 0 },
  { title: 'One block in a thousand kept', keep: 1000 },
] as const;

async function* run({ runs = 3, quick, progress }: Options): AsyncIterable<string> {
  const addon = compile('spike', { as: 'spike.node', flags: ['-shared', '-fPIC'] });
  const program = join(root, 'dist/bench/programs/release.js');
  const bytes = String((quick ? 1 / 8 : 1) * 2 ** 30);
  for (const { title, keep } of cases) {
    const subjects = new Map<string, Subject>();
    for (const backend of backends) {
      const args = ['--expose-gc', program, addon, bytes, String(keep)];
      subjects.set(backend, { command: process.execPath, args, env: environmentOf(backend) });
    }
    const costs = await interleaved(subjects, quick ? 1 : runs, (message) =>
      progress(`${title}: ${message}`),
    );
    const found = (backend: string) =>
      costs.get(backend)!.map(({ stdout }: Cost) => JSON.parse(stdout) as Found);
    const of = (backend: string, figure: (found: Found) => number | undefined): number =>
      median(found(backend).map((each) => figure(each) ?? Number.NaN));
    const size = (value: number): string => (Number.isNaN(value) ? 'cannot' : megabytes(value / 1024));
    const time = (value: number): string => (Number.isNaN(value) ? '' : `${value.toFixed(1)} ms`);
    const release = backends.map((backend) => [
      backend,
      size(of(backend, ({ peak }) => peak)),
      size(of(backend, ({ freed }) => freed)),
      size(of(backend, ({ released }) => released)),
      time(of(backend, ({ duration }) => duration)),
      time(of(backend, ({ delay }) => delay)),
    ]);
    const longest = 'longest turn of the event loop';
    const sizes = ['RSS with the spike', 'RSS after the free', 'RSS after `releaseMemory()`'];
    yield `### ${title}\n\n${markdown(['backend', ...sizes, '`releaseMemory()` took', longest], release)}`;
    const breakdown = backends.map((backend) => [
      backend,
      time(of(backend, ({ breakdown }) => breakdown)),
      time(of(backend, ({ stall }) => stall)),
      `${(100 * of(backend, ({ share }) => share)).toFixed(2)} %`,
    ]);
    yield markdown(['backend', '`memory()` took', longest, 'sum of parts ÷ RSS'], breakdown);
  }
}

export const release: Table = {
  title: 'A spike of 1 GiB in native blocks of 16–4,096 bytes, freed, and what `releaseMemory()` makes of it',
  run,
};
