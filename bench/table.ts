import { cpus, loadavg, release } from 'node:os';
import { backends } from '../index.js';
import { hodgesLehmann } from '../src/compare/statistics.js';

export interface Options {
  /** How often each subject is measured; a table has its own default. */
  runs: number | undefined;
  /** Less work and fewer runs: to see that the bench works, not to quote. */
  quick: boolean;
  /** The interpreter of the tables about Python. */
  python: string;
  /** One program of the tables `python`, `presets` and `idle`, or one part of `fork`, instead of all. */
  program: string | undefined;
  /** In the tables `presets` and `pagefault`: one preset instead of all, beside glibc without a preset. */
  preset: string | undefined;
  progress: (message: string) => void;
}

/** One table of `npm run bench`. */
export interface Table {
  title: string;
  /** Measures, and yields each part of the result, in Markdown, as soon as it is known. */
  run: (options: Options) => AsyncIterable<string>;
}

export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, column) => (column === 0 ? '---' : '---:'));
  return [head, rule, ...rows].map(line).join('\n');
}

export const seconds = (value: number): string => `${value.toFixed(2)} s`;
export const milliseconds = (value: number): string => `${(value * 1000).toFixed(1)} ms`;
export const megabytes = (kb: number): string => `${Math.round(kb / 1024)} MiB`;
export const ratio = (value: number): string => value.toFixed(2);

/** The ratio of two figures that were measured in turn, run by run, with its 95 % interval. */
export function pairedRatio(pairs: readonly (readonly [number, number])[]): string {
  const { value, low, high, isInterval } = hodgesLehmann(pairs.map(([one, other]) => Math.log(one / other)));
  const [middle, ...interval] = [value, low, high].map((each) => Math.exp(each).toFixed(3));
  return isInterval ? `${middle} [${interval.join(', ')}]` : middle!;
}

/** When and on what it was measured: figures mean nothing without. */
export function machine(): string {
  const processors = cpus();
  const versions = backends()
    .filter(({ surfaces, version }) => surfaces.process.available && version !== undefined)
    .map(({ backend, version }) => (backend === 'default' ? version : `${backend} ${version}`));
  return [
    `${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    `${processors.length} × ${processors[0]?.model ?? 'unknown CPU'}`,
    `Linux ${release()}`,
    ...versions,
    `Node ${process.versions.node}`,
    // More than a little says that something else ran beside: CPU times are then higher, and differ more.
    `load average at the start ${loadavg()[0]?.toFixed(1)}`,
  ].join('; ');
}
