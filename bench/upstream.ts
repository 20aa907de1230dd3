import { spawnSync } from 'node:child_process';
import { compile, geometricMean, interleaved, median, type Subject } from './measure.js';
import { allocators, callgrind, type Allocator } from './pair.js';
import { environmentOf, neutral } from './subjects.js';
import { markdown, milliseconds, type Options, type Table } from './table.js';
import { upstreamLibrary } from './upstream-libraries.js';

/** Steps that take a quarter to half a second. */
const steps = {
  'alloc-test': 30_000_000,
  larson: 40_000_000,
  'glibc-simple': 60_000_000,
  cfrac: 20_000_000,
} as const;
const programs = Object.keys(steps) as (keyof typeof steps)[];

const three = (ratio: number): string => ratio.toFixed(3);

/** The ratios of one allocator's programs, and their mean. */
function row(allocator: string, cells: { ratio: number; cell: string }[]): string[] {
  const mean = three(geometricMean(cells.map(({ ratio }) => ratio)));
  return [allocator, ...cells.map(({ cell }) => cell), mean];
}

async function* run({ runs = 25, quick, progress }: Options): AsyncIterable<string> {
  const program = compile('upstream', { flags: ['-std=c++17'] });
  const libraries = new Map<Allocator, string>();
  for (const allocator of allocators) {
    progress(`builds ${allocator} as its authors do`);
    libraries.set(allocator, upstreamLibrary(allocator));
  }
  const upstreamEnv = (allocator: Allocator): NodeJS.ProcessEnv => ({
    ...neutral(),
    LD_PRELOAD: libraries.get(allocator),
  });

  const head = ['', ...programs, 'geometric mean'];
  const times = new Map<Allocator, { ratio: number; cell: string }[]>();
  for (const name of programs) {
    const args = [name, String(steps[name] / (quick ? 10 : 1))];
    const subjects = new Map<string, Subject>();
    for (const allocator of allocators) {
      subjects.set(allocator, { command: program, args, env: environmentOf(allocator) });
      subjects.set(`upstream’s ${allocator}`, { command: program, args, env: upstreamEnv(allocator) });
    }
    const costs = await interleaved(subjects, quick ? 3 : runs, (message) => progress(`${name} ${message}`));
    const cpu = (subject: string): number => median(costs.get(subject)!.map((cost) => cost.cpu));
    for (const allocator of allocators) {
      const [own, upstream] = [cpu(allocator), cpu(`upstream’s ${allocator}`)];
      const cell = `${three(own / upstream)} (${milliseconds(own)})`;
      times.set(allocator, [...(times.get(allocator) ?? []), { ratio: own / upstream, cell }]);
    }
  }
  const rows = allocators.map((allocator) => row(allocator, times.get(allocator)!));
  yield `### CPU time, in units of upstream’s (median of ${quick ? 3 : runs})\n\n${markdown(head, rows)}`;

  if (spawnSync('valgrind', ['--version']).status !== 0) return;
  const counted: string[][] = [];
  // valgrind has not got the address space that snmalloc reserves.
  for (const allocator of ['jemalloc', 'mimalloc'] as const) {
    const cells = [];
    for (const name of programs) {
      progress(`${allocator} ${name}: instructions`);
      const args = [name, String(steps[name] / 100)];
      const own = await callgrind(program, args, environmentOf(allocator));
      const ratio = own / (await callgrind(program, args, upstreamEnv(allocator)));
      cells.push({ ratio, cell: three(ratio) });
    }
    counted.push(row(allocator, cells));
  }
  yield `### Instructions, in units of upstream’s (callgrind)\n\n${markdown(head, counted)}`;
}

export const upstream: Table = {
  title: 'Against the same version’s own library, built from the same sources with its authors’ flags',
  run,
};
