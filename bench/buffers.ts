// One way of getting and giving back buffers, in a process of its own: node buffers.js <task> <way> <size> <count>
//
// It prints what its loop cost, as JSON. CPU time is that of all threads: a collector's work counts.

import { setImmediate as turn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { Allocator, type Region, parseBackend } from '../index.js';

export interface Result {
  /** Nanoseconds of CPU time and by the clock, for each operation. */
  cpu: number;
  wall: number;
  /** By how many bytes physical memory grew at most, as far as it was looked at. */
  growth: number;
}

/** A way to get a buffer, and to give it back. */
interface Way {
  get(bytes: number): Uint8Array;
  put(buffer: Uint8Array): void;
}

function wayOf(name: string): Way {
  const [kind = '', backend] = name.split(' ');
  const nothing = (): void => {};
  switch (kind) {
    case 'allocUnsafeSlow':
      return { get: (bytes) => Buffer.allocUnsafeSlow(bytes), put: nothing };
    case 'allocUnsafe':
      return { get: (bytes) => Buffer.allocUnsafe(bytes), put: nothing };
    case 'alloc':
      return { get: (bytes) => Buffer.alloc(bytes), put: nothing };
    case 'ArrayBuffer':
      return { get: (bytes) => new Uint8Array(new ArrayBuffer(bytes)), put: nothing };
    case 'Allocator': {
      const allocator = Allocator.create(parseBackend(backend));
      return { get: (bytes) => allocator.allocate(bytes), put: (buffer) => allocator.free(buffer) };
    }
    case 'Region': {
      const region: Region = Allocator.create(parseBackend(backend)).region({ bytes: 2 ** 30 });
      return { get: (bytes) => region.allocate(bytes), put: (buffer) => region.free(buffer) };
    }
    default:
      throw new Error(`unknown way ${name}`);
  }
}

/** What is done with a buffer between the two. */
const uses = {
  byte: (buffer: Uint8Array) => void (buffer[0] = 1),
  pages(buffer: Uint8Array) {
    for (let offset = 0; offset < buffer.length; offset += 4096) buffer[offset] = 1;
  },
  fill: (buffer: Uint8Array) => void buffer.fill(1),
} as const;

/** How many operations there are between two turns of the event loop. */
const BURST = 1000;
/** How many of which size until the compiler has done its work: its threads' time is the process's. */
const WARM_UP = { count: 200_000, size: 16 * 2 ** 10 };

async function churn(way: Way, size: number, count: number, use: keyof typeof uses): Promise<void> {
  const write = uses[use];
  for (let done = 0; done < count; done += BURST) {
    for (let n = 0; n < BURST; n++) {
      const buffer = way.get(size);
      write(buffer);
      way.put(buffer);
    }
    await turn();
  }
}

function rush(way: Way, size: number, count: number, look: () => void): void {
  for (let n = 0; n < count; n++) {
    const buffer = way.get(size);
    buffer[0] = 1;
    way.put(buffer);
    if (n % 1000 === 0) look();
  }
}

/** A cache as services have it, full: each insert evicts what was used longest ago. `once`: until it is full. */
async function cache(way: Way, live: number, count: number, once: boolean): Promise<void> {
  const entries = new LRUCache<number, Uint8Array>({
    maxSize: live,
    sizeCalculation: (value) => value.length,
    dispose: (value) => way.put(value),
  });
  let random = 12345;
  for (let key = 0; key < count; key++) {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    // From 1 KiB to 1 MiB, as many below 32 KiB as above.
    const size = Math.round(2 ** (10 + (random / 2 ** 32) * 10));
    if (once && entries.calculatedSize + size > live) return;
    const value = way.get(size);
    value.fill(key);
    entries.set(key, value);
    if (key % BURST === 0) await turn();
  }
}

async function main([task = '', name = '', size = '', count = '']: string[]): Promise<void> {
  const way = wayOf(name);
  const operations = Number(count);
  const base = process.memoryUsage.rss();
  let peak = base;
  const look = (): void => void (peak = Math.max(peak, process.memoryUsage.rss()));
  if (task in uses) await churn(way, WARM_UP.size, WARM_UP.count, task as keyof typeof uses);
  const start = process.hrtime.bigint();
  const before = process.cpuUsage();
  if (task === 'rush') rush(way, Number(size), operations, look);
  else if (task === 'cache' || task === 'live') await cache(way, Number(size), operations, task === 'live');
  else await churn(way, Number(size), operations, task as keyof typeof uses);
  const { user, system } = process.cpuUsage(before);
  const wall = Number(process.hrtime.bigint() - start);
  look();
  const result: Result = {
    cpu: ((user + system) * 1000) / operations,
    wall: wall / operations,
    growth: peak - base,
  };
  console.log(JSON.stringify(result));
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2));
