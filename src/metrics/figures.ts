import type { BackendStats } from '../backend.js';
import { type MemoryBreakdown, memory } from '../memory/memory.js';
import type { MemoryParts } from '../native/binding.js';
import { releases } from '../memory/release.js';

/** The allocator's own figures, with the help texts of their metrics. */
export const statistics: readonly { key: keyof BackendStats; name: string; help: string }[] = [
  { key: 'allocated', name: 'allocated', help: 'Bytes in live blocks of malloc' },
  { key: 'active', name: 'active', help: 'Bytes in pages that hold live blocks of malloc' },
  { key: 'metadata', name: 'metadata', help: "Bytes of malloc's own structures" },
  { key: 'resident', name: 'resident', help: 'Bytes of malloc in physical memory, at the most' },
  { key: 'mapped', name: 'mapped', help: 'Bytes that malloc has mapped and can use' },
  {
    key: 'retained',
    name: 'retained',
    help: 'Bytes of address space that malloc keeps without memory behind it',
  },
];

/** The sums of all releases that this thread requested since it began. */
export const totals: readonly { name: string; unit: string; help: string; value: () => number }[] = [
  { name: 'releases', unit: '', help: 'Times that memory was given back', value: () => releases.count },
  { name: 'released', unit: 'bytes', help: 'Bytes that were given back', value: () => releases.bytes },
  { name: 'release', unit: 'seconds', help: 'Time that giving back took', value: () => releases.seconds },
];

/** The parts, with names in snake case as labels have them. */
export function labelledParts(parts: MemoryParts): [part: string, bytes: number][] {
  return Object.entries({ ...parts }).map(([part, bytes]) => [
    part.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    bytes,
  ]);
}

/** The label `backend`: the backend's name or, for any other allocator, the allocator's name. */
export function backendLabel({ active }: MemoryBreakdown): string {
  return active.backend ?? active.allocator;
}

let reading: Promise<MemoryBreakdown> | undefined;

/** The breakdown. All callers share a read that is running, so the metrics of one scrape agree. */
export function read(): Promise<MemoryBreakdown> {
  reading ??= memory().finally(() => (reading = undefined));
  return reading;
}
