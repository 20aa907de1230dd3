import type { BackendStats } from '../backend.js';
import { type MemoryBreakdown, memory } from '../memory/memory.js';
import type { MemoryParts } from '../native/binding.js';
import { linuxBinding } from '../native/loader.js';
import { releases } from '../memory/release.js';
import { ownSetup } from '../process/setup.js';

/** A figure without labels of its own. */
export interface Figure {
  type: 'gauge' | 'counter';
  /** Without the prefix and the unit. */
  name: string;
  unit: '' | 'bytes' | 'seconds';
  /** What is counted, if the unit is ''. */
  counted?: 'release' | 'sample' | 'profile';
  help: string;
  /** What prom-client makes of the values of several processes, where it is not their sum. */
  aggregator?: 'min';
  /** Undefined where the allocator does not count it. */
  of(breakdown: MemoryBreakdown): number | undefined;
}

const gauge = (name: string, unit: Figure['unit'], help: string, of: Figure['of']): Figure => ({
  type: 'gauge',
  name,
  unit,
  help,
  of,
});

const counter = (name: string, unit: Figure['unit'], help: string, of: () => number): Figure => ({
  type: 'counter',
  name,
  unit,
  help,
  of,
});

/** A figure that the allocator counts itself. */
const statistic = (name: keyof BackendStats, help: string): Figure =>
  gauge(name, 'bytes', help, ({ stats }) => stats?.[name]);

/** Seconds since 1970. */
const started = Date.now() / 1000 - process.uptime();

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** The counters of releases are of this thread, since it began. */
export const figures: readonly Figure[] = [
  gauge('rss', 'bytes', 'Bytes in physical memory', ({ rss }) => rss),
  statistic('allocated', 'Bytes in live blocks of malloc'),
  statistic('active', 'Bytes in pages that hold live blocks of malloc'),
  statistic('metadata', "Bytes of malloc's own structures"),
  statistic('resident', 'Bytes of malloc in physical memory, at the most'),
  statistic('mapped', 'Bytes that malloc has mapped and can use'),
  statistic('retained', 'Bytes of address space that malloc keeps without memory behind it'),
  {
    ...gauge('start_time', 'seconds', 'When the process began, in seconds since 1970', () => started),
    aggregator: 'min',
  },
  counter('cpu', 'seconds', 'CPU time of the process, in user mode and in the kernel', cpuSeconds),
  {
    ...counter('releases', '', 'Times that memory was given back', () => releases.count),
    counted: 'release',
  },
  counter('released', 'bytes', 'Bytes that were given back', () => releases.bytes),
  counter('release', 'seconds', 'Time that giving back took', () => releases.seconds),
  {
    ...gauge('heap_profile_running', '', 'Whether a heap profile is running: 1 or 0', () =>
      Number(profile() !== null),
    ),
    counted: 'profile',
  },
  {
    ...gauge(
      'heap_profile_live',
      '',
      'Samples of the heap profile whose block is in use',
      () => profile()?.live ?? 0,
    ),
    counted: 'sample',
  },
  {
    ...counter(
      'heap_profile_samples',
      '',
      'Samples of the running heap profile',
      () => profile()?.samples ?? 0,
    ),
    counted: 'sample',
  },
  {
    ...counter(
      'heap_profile_dropped',
      '',
      'Samples of the running heap profile whose block or stack found no room',
      () => {
        const { dropped = 0, droppedStacks = 0 } = profile() ?? {};
        return dropped + droppedStacks;
      },
    ),
    counted: 'sample',
  },
  counter(
    'heap_profile',
    'seconds',
    'CPU time that the samples of the running heap profile took',
    () => profile()?.seconds ?? 0,
  ),
];

/** The state of the heap profile; null if none is running. */
const profile = () => linuxBinding('the breakdown of memory').heapProfileState();

/** The figure with the label `part`. */
export const partsFigure = { name: 'memory', help: 'Bytes in physical memory, by what they are of' } as const;

/** The parts, with names in snake case as labels have them. */
export function labelledParts(parts: MemoryParts): [part: string, bytes: number][] {
  return Object.entries({ ...parts }).map(([part, bytes]) => [
    part.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    bytes,
  ]);
}

/** The labels of every metric, which tell the variants of a service apart. */
export const SETUP_LABELS = ['backend', 'preset', 'config'] as const;

/** `backend` is the backend's name or, for any other allocator, the allocator's name. */
export function setupLabels({ active }: MemoryBreakdown): Record<(typeof SETUP_LABELS)[number], string> {
  return { backend: active.backend ?? active.allocator, ...ownSetup(active) };
}

let reading: Promise<MemoryBreakdown> | undefined;

/** The breakdown. All callers share a read that is running, so the metrics of one scrape agree. */
export function read(): Promise<MemoryBreakdown> {
  reading ??= memory().finally(() => (reading = undefined));
  return reading;
}
