import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What a service does between two requests: nothing. Then says on stdout what it still holds. A collection comes
 * first (`node --expose-gc`), because what V8 has not freed yet no allocator can give back.
 */
export async function reportRssAfterIdle(): Promise<void> {
  globalThis.gc?.();
  await sleep(Number(process.env.BENCH_IDLE_MS ?? 2000));
  const kb = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  console.log(`idle rss ${kb}`);
}

/** How much work to do, from the program's first argument. */
export function amount(otherwise: number): number {
  return Number(process.argv[2] ?? otherwise);
}

/** A seeded generator: two runs do the same work. */
export function generator(seed = 1): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
