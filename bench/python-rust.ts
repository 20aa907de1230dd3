import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { geometricMean, interleaved, median, root, scratch, type Subject } from './measure.js';
import { environmentOf } from './subjects.js';
import { markdown, ratio, type Options, type Table } from './table.js';

const mixes = {
  temporary: 'malloc, and free of the same block at once',
  replace: 'free a live block, malloc a new block',
  mixed: '3 in 4: free and malloc; 1 in 4: realloc',
  resize: 'realloc of a live block',
} as const;
/** C's functions, the table that the crate gives to CPython, and the prior art's mutex and map. */
const ways = ['bare', 'table', 'tracked'] as const;
/** Of all threads together: so many that the start of the program and of its threads, and its first blocks, hardly count. */
const steps = 8_000_000;

/** What Rust's global allocator stands on: libc, as the packages are built, or one of ours by a cargo feature. */
const globals = ['default', 'mimalloc'] as const;
type Global = (typeof globals)[number];

/** crates/python/examples/rust_table.rs */
function build(global: Global): string {
  const features = global === 'default' ? [] : ['--features', `malloc-backend/global-${global}`];
  const args = ['build', '--release', '--locked', '--quiet', '-p', 'malloc-backend-python', ...features];
  execFileSync('cargo', [...args, '--example', 'rust_table'], { cwd: root, stdio: 'inherit' });
  const built = scratch(`rust_table-${global}`);
  copyFileSync(join(root, 'target/release/examples/rust_table'), built);
  return built;
}

async function* run(options: Options): AsyncIterable<string> {
  for (const global of globals) {
    const command = build(global);
    for (const threads of [1, 4] as const) yield await measured(command, global, threads, options);
  }
}

async function measured(
  command: string,
  global: Global,
  threads: 1 | 4,
  { runs = 7, quick, progress }: Options,
): Promise<string> {
  const each = steps / threads / (quick ? 10 : 1);
  const rows: string[][] = [];
  const ratios = { cpu: [] as number[], wall: [] as number[] };
  for (const live of [1_000, 100_000]) {
    for (const [mix, title] of Object.entries(mixes)) {
      const subjects = new Map<(typeof ways)[number], Subject>();
      for (const way of ways) {
        const args = [way, mix, threads, live, each].map(String);
        subjects.set(way, { command, args, env: environmentOf('default') });
      }
      const costs = await interleaved(subjects, quick ? 3 : runs, (message) =>
        progress(`${global} ${threads} ${live} ${mix} ${message}`),
      );
      const cost = (figure: 'cpu' | 'wall') => {
        const [bare, table, tracked] = ways.map((way) => {
          return median(costs.get(way)!.map((one) => one[figure]));
        }) as [number, number, number];
        ratios[figure].push(tracked / table);
        return { bare, table, tracked, ratio: tracked / table };
      };
      const [cpu, wall] = [cost('cpu'), cost('wall')];
      const perStep = (value: number): string => `${((value / each / threads) * 1e9).toFixed(0)} ns`;
      rows.push([
        title,
        String(live),
        ...[cpu.bare, cpu.table, cpu.tracked].map(perStep),
        ratio(cpu.ratio),
        ...(threads === 1 ? [] : [perStep(wall.table), perStep(wall.tracked), ratio(wall.ratio)]),
      ]);
    }
  }
  const mean = (figure: 'cpu' | 'wall'): string => ratio(geometricMean(ratios[figure]));
  rows.push([
    'geometric mean',
    '',
    '',
    '',
    '',
    mean('cpu'),
    ...(threads === 1 ? [] : ['', '', mean('wall')]),
  ]);
  const head = ['operation', 'live blocks', 'C', '`rust`', 'mutex and map', 'ratio'];
  const clock = threads === 1 ? [] : ['wall: `rust`', 'wall: mutex and map', 'wall: ratio'];
  const title = threads === 1 ? 'One thread' : `${threads} threads`;
  const stands = global === 'default' ? 'on libc' : `on ${global} (\`global-${global}\`)`;
  return `### ${title}, ${stands}\n\n${markdown([...head, ...clock], rows)}`;
}

export const pythonRust: Table = {
  title: 'The `rust` backend’s table for Python against a mutex and a hash map around every block',
  run,
};
