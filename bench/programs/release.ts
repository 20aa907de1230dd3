// release.js ADDON BYTES KEEP: a spike of native blocks, freed but for one in KEEP, and what releaseMemory() makes of it.
// Meanwhile the event loop allocates a little each turn, as a service does: the longest turn is what a request waits.

import { createRequire } from 'node:module';
import { MallocBackendError, memory, releaseMemory } from '../../index.js';

const [, , file = '', bytes = '0', keep = '0'] = process.argv;
const spike = createRequire(import.meta.url)(file) as {
  allocate: (bytes: number) => void;
  free: (keep: number) => void;
};

/** What one run found: bytes of RSS, and milliseconds. */
export interface Found {
  peak: number;
  freed: number;
  released: number | undefined;
  duration: number | undefined;
  delay: number | undefined;
  /** The parts of memory() after another spike was freed, over RSS. */
  share: number;
  /** What memory() took then, and the longest turn meanwhile. */
  breakdown: number;
  stall: number;
}

let longest = 0;
let last = 0;
const recent: Buffer[] = [];

/** The end of a turn of the event loop, in which something was allocated. */
function tick(): void {
  const now = performance.now();
  longest = Math.max(longest, now - last);
  last = now;
  for (let n = 0; n < 10; n++) recent[n] = Buffer.allocUnsafeSlow(100 * (n + 1));
}

/** The longest turn until the work is done. */
async function longestTurn(work: () => Promise<unknown>): Promise<number> {
  // What is garbage of before is not to be collected in between.
  globalThis.gc?.();
  await new Promise((resolve) => setImmediate(resolve));
  let running = true;
  const turn = () => {
    tick();
    if (running) setImmediate(turn);
  };
  [longest, last] = [0, performance.now()];
  turn();
  try {
    await work();
    tick();
  } finally {
    running = false;
  }
  return longest;
}

spike.allocate(Number(bytes));
const peak = process.memoryUsage.rss();
spike.free(Number(keep));
const freed = process.memoryUsage.rss();

let released: number | undefined;
let duration: number | undefined;
let delay: number | undefined;
try {
  delay = await longestTurn(async () => ({ durationMs: duration } = await releaseMemory()));
  released = process.memoryUsage.rss();
} catch (error) {
  if (!(error instanceof MallocBackendError && error.code === 'ERR_CANNOT_RELEASE')) throw error;
}

// Of another such spike: a thread of the pool that takes memory in between would keep some from the release.
spike.allocate(Number(bytes));
spike.free(Number(keep));
let share = 0;
let breakdown = 0;
const stall = await longestTurn(async () => {
  const asked = performance.now();
  const { rss, parts } = await memory();
  breakdown = performance.now() - asked;
  share = Object.values({ ...parts }).reduce((all, part) => all + part, 0) / rss;
});
const found: Found = { peak, freed, released, duration, delay, share, breakdown, stall };
console.log(JSON.stringify(found));
