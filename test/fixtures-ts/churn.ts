// Workers that come and go, each with blocks of every backend through the addon.
//
//   churn.js one-by-one <count> | together | terminate <count>

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Allocator, type MemoryAllocatorBackend } from '../../index.js';

const BACKENDS: readonly MemoryAllocatorBackend[] = ['default', 'jemalloc', 'mimalloc', 'snmalloc', 'rust'];
const SIZES = [0, 1, 100, 5000, 300_000];

/** One round through every backend. */
function exercise(): void {
  for (const backend of BACKENDS) {
    const allocator = Allocator.create(backend);
    for (const bytes of SIZES) {
      const block = allocator.allocate(bytes).fill(0xa5);
      const grown = allocator.reallocate(block, bytes * 2 + 1);
      assert.ok(
        grown.subarray(0, bytes).every((byte) => byte === 0xa5),
        `${backend}, ${bytes} bytes`,
      );
      allocator.free(grown);
    }
    allocator.dispose();
  }
}

const worker = (what: string) => new Worker(new URL(import.meta.url), { workerData: what });

async function succeeded(started: Worker): Promise<void> {
  const [[message], [code]] = (await Promise.all([once(started, 'message'), once(started, 'exit')])) as [
    [string],
    [number],
  ];
  assert.deepEqual([message, code], ['done', 0]);
}

async function main([what, count = '1']: string[]): Promise<void> {
  if (what === 'one-by-one') {
    // The addon is in no other thread than the worker's: each is the first and the last.
    for (let n = 0; n < Number(count); n++) await succeeded(worker('once'));
  } else if (what === 'together') {
    const two = [worker('many'), worker('many')];
    exercise();
    await Promise.all(two.map(succeeded));
    exercise();
  } else {
    for (let n = 0; n < Number(count); n++) {
      const endless = worker('endless');
      await once(endless, 'message');
      if (n % 2 === 0) exercise();
      assert.equal(await endless.terminate(), 1);
    }
    exercise();
  }
  console.log('done');
}

if (isMainThread) {
  await main(process.argv.slice(2));
} else if (workerData === 'endless') {
  exercise();
  parentPort?.postMessage('begun');
  for (;;) exercise();
} else {
  for (let n = 0; n < (workerData === 'many' ? 50 : 1); n++) exercise();
  parentPort?.postMessage('done');
}
