import { join } from 'node:path';
import { backends } from '../index.js';
import type { Result } from './buffers.js';
import { type Cost, interleaved, median, root, type Subject } from './measure.js';
import { markdown, megabytes, ratio, type Options, type Table } from './table.js';

const KIB = 2 ** 10;
const MIB = 2 ** 20;

const plain = ['allocUnsafeSlow', 'alloc', 'ArrayBuffer'];
const allocators = backends()
  .filter(({ surfaces }) => surfaces.allocator.available)
  .map(({ backend }) => `Allocator ${backend}`);
const regions = ['Region jemalloc'];

function subject(task: string, way: string, size: number, count: number): Subject {
  const args = [join(root, 'dist/bench/buffers.js'), task, way, String(size), String(count)];
  return { command: process.execPath, args, env: process.env };
}

const results = (costs: Cost[] | undefined): Result[] =>
  (costs ?? []).map(({ stdout }) => JSON.parse(stdout) as Result);

const microseconds = (nanoseconds: number): string => `${(nanoseconds / 1000).toFixed(2)} µs`;

const written = { byte: 'one byte of it', pages: 'one byte in each page', fill: 'all of it' } as const;

/** A buffer that is got, written to and given back: CPU time, and how it compares with `allocUnsafeSlow`. */
async function* pairs({ runs = 9, quick, progress }: Options): AsyncIterable<string> {
  const ways = [...plain, ...allocators, ...regions];
  for (const [use, what] of Object.entries(written)) {
    const rows = new Map(ways.map((way) => [way, [way]]));
    const sizes = [16 * KIB, 64 * KIB, MIB];
    for (const size of sizes) {
      const count = (size < MIB ? 500_000 : use === 'fill' ? 20_000 : 100_000) / (quick ? 20 : 1);
      const subjects = new Map(ways.map((way) => [way, subject(use, way, size, count)]));
      const costs = await interleaved(subjects, quick ? 3 : runs, (message) =>
        progress(`${use} ${size} ${message}`),
      );
      const cpu = (way: string): number => median(results(costs.get(way)).map((result) => result.cpu));
      for (const [way, row] of rows)
        row.push(microseconds(cpu(way)), ratio(cpu('allocUnsafeSlow') / cpu(way)));
    }
    const head = ['way', '16 KiB', 'times as fast', '64 KiB', 'times as fast', '1 MiB', 'times as fast'];
    yield `### Get, write ${what}, give back (CPU time)\n\n${markdown(head, [...rows.values()])}`;
  }
}

/** The same in one loop, in which the event loop has no turn and nothing of Node's own can be cleaned up. */
async function* rushes({ runs = 5, quick, progress }: Options): AsyncIterable<string> {
  const ways = ['allocUnsafeSlow', ...allocators, ...regions];
  const rows = new Map(ways.map((way) => [way, [way]]));
  const counts = quick ? [10_000] : [100_000, 1_000_000];
  for (const count of counts) {
    const subjects = new Map(ways.map((way) => [way, subject('rush', way, 64 * KIB, count)]));
    const costs = await interleaved(subjects, quick ? 1 : runs, (message) => progress(`${count} ${message}`));
    for (const [way, row] of rows) {
      row.push(megabytes(median(results(costs.get(way)).map((result) => result.growth)) / 1024));
    }
  }
  const head = ['way', ...counts.map((count) => `${count.toLocaleString('en')} times`)];
  yield `### 64 KiB in a loop that never awaits: growth of RSS\n\n${markdown(head, [...rows.values()])}`;
}

/** Plain Buffers that fill the cache, of which none is ever evicted: what no way can go below. */
const LIVE = 'what is live, and Node';

/** A cache of 512 MiB, which every value passes through once. */
async function* caches({ runs = 3, quick, progress }: Options): AsyncIterable<string> {
  const ways = ['allocUnsafe', ...allocators, ...regions];
  const count = quick ? 30_000 : 1_000_000;
  const subjects = new Map(ways.map((way) => [way, subject('cache', way, 512 * MIB, count)]));
  subjects.set(LIVE, subject('live', 'allocUnsafe', 512 * MIB, count));
  const costs = await interleaved(subjects, quick ? 1 : runs, progress);
  const of = (way: string) => {
    const all = costs.get(way) ?? [];
    return {
      wall: median(results(all).map((result) => result.wall)),
      cpu: median(results(all).map((result) => result.cpu)),
      peak: median(all.map((cost) => cost.peakKb)),
    };
  };
  const base = of('allocUnsafe');
  const rows = ways.map((way) => {
    const { wall, cpu, peak } = of(way);
    return [
      way,
      microseconds(wall),
      microseconds(cpu),
      megabytes(peak),
      ratio(peak / base.peak),
      ratio(base.wall / wall),
    ];
  });
  const { peak } = of(LIVE);
  rows.push([LIVE, '', '', megabytes(peak), ratio(peak / base.peak), '']);
  const head = ['way', 'time', 'CPU', 'peak RSS', '÷ plain', 'times as fast'];
  yield `### ${count.toLocaleString('en')} inserts of 1 KiB to 1 MiB into a cache of 512 MiB\n\n${markdown(head, rows)}`;
}

export const allocator: Table = {
  title: 'Buffers: Node’s own, `Allocator` and `Region`',
  async *run(options) {
    yield* pairs(options);
    yield* rushes(options);
  },
};

export const cache: Table = {
  title: 'A cache of plain Buffers, of an `Allocator`’s, and in a `Region`',
  run: caches,
};
