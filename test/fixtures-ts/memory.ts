// A program that takes memory of one kind after another, and asks memory() each time.

import { once } from 'node:events';
import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import { type MemoryBreakdown, memory } from '../../index.js';

const MiB = 2 ** 20;

/** A breakdown, and RSS as Node sees it right before and after. */
export type Probe = MemoryBreakdown & { seen: [before: number, after: number] };

const probe = async (): Promise<Probe> => {
  const before = process.memoryUsage.rss();
  return { ...(await memory()), seen: [before, process.memoryUsage.rss()] };
};

export interface Probes {
  start: Probe;
  /** With 68.6 + 32 MiB of buffers that are written to. */
  buffers: Probe;
  /** With 512 MiB in a buffer that is not. */
  untouched: Probe;
  /** With a million objects. */
  objects: Probe;
  /** With as many in a worker, which has used 4 MiB of its stack too. */
  worker: Probe;
}

function objects(): object[] {
  const list = [];
  for (let n = 0; n < 1e6; n++) list.push({ n });
  return list;
}

const deep = (n: number): number => (n === 0 ? 0 : 1 + deep(n - 1));

async function main(): Promise<Probes> {
  const keep: unknown[] = [];
  const start = await probe();
  for (let n = 0; n < 6000; n++) keep.push(Buffer.alloc(9000 + n, 1));
  keep.push(Buffer.alloc(32 * MiB, 1));
  const buffers = await probe();
  keep.push(Buffer.alloc(512 * MiB));
  const untouched = await probe();
  keep.push(objects());
  const withObjects = await probe();
  const worker = new Worker(new URL(import.meta.url), { resourceLimits: { stackSizeMb: 12 } });
  await once(worker, 'message');
  const withWorker = await probe();
  worker.postMessage(keep.length);
  await once(worker, 'exit');
  return { start, buffers, untouched, objects: withObjects, worker: withWorker };
}

if (isMainThread) {
  console.log(JSON.stringify(await main()));
} else {
  const keep = objects();
  deep(40_000);
  parentPort?.once('message', (count: number) => process.exit(keep.length > count ? 0 : 1));
  parentPort?.postMessage('ready');
}
