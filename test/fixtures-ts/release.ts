// A program that takes 64 MiB in small blocks, frees them, and gives them back: what came of it, as JSON.

import { pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import { type MallocBackendError, type Release, releaseMemory } from '../../index.js';

export interface Outcome {
  release?: Release;
  /** RSS as Node sees it, before and after. */
  seen?: [before: number, after: number];
  joined?: boolean;
  order?: string[];
  code?: string;
  message?: string;
}

/** What the blocks lie between, so that the end of the heap stays in use. */
const keep: Buffer[] = [];

async function spike(): Promise<void> {
  let blocks: Buffer[] | undefined = [];
  for (let n = 0; n < 4096; n++) blocks.push(Buffer.alloc(16_000, 1));
  keep.push(Buffer.alloc(16_000, 1));
  blocks = undefined;
  // V8 frees them on a thread of its own.
  while (process.memoryUsage().arrayBuffers > 8 << 20) {
    globalThis.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function main(): Promise<Outcome> {
  await spike();
  const before = process.memoryUsage.rss();
  const release = await releaseMemory();
  const after = process.memoryUsage.rss();
  // With one thread in the pool, which is busy, it has to wait; the event loop has not.
  const order: string[] = [];
  const said = (what: string) => () => void order.push(what);
  const busy = promisify(pbkdf2)('password', 'salt', 200_000, 64, 'sha512').then(said('pool'));
  const first = releaseMemory();
  const joined = first === releaseMemory();
  const turn = new Promise((resolve) => setImmediate(resolve)).then(said('turn'));
  await Promise.all([busy, first.then(said('released')), turn]);
  return { release, seen: [before, after], joined, order };
}

const outcome = await main().catch(({ code, message }: MallocBackendError) => ({ code, message }));
console.log(JSON.stringify(outcome));
