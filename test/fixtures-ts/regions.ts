// Workers with three regions each, that are ended in the middle of using them.
//
//   regions.js <backend> <workers>

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Allocator, parseBackend } from '../../index.js';

const BYTES = 2 ** 30;

function work(): void {
  const allocator = Allocator.create(parseBackend(workerData));
  const [disposed, , used] = [1, 2, 3].map(() => allocator.region({ bytes: BYTES }));
  assert.ok(disposed !== undefined && used !== undefined);
  disposed.allocate(1000).fill(1);
  disposed.dispose();
  const views: Buffer[] = [];
  const step = (): void => {
    if (views.length > 100) used.free(views.shift()!);
    views.push(used.allocate((views.length * 977) % 100_000).fill(1));
  };
  for (let n = 0; n < 1000; n++) step();
  parentPort?.postMessage('begun');
  for (;;) step();
}

/** This process's address space in bytes. */
function addressSpace(): number {
  const [, kb = '0'] = /^VmSize:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kb) * 1024;
}

async function main([name, count = '1']: string[]): Promise<void> {
  let first = 0;
  for (let n = 0; n < Number(count); n++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: parseBackend(name) });
    await once(worker, 'message');
    assert.equal(await worker.terminate(), 1);
    if (n === 1 && process.platform === 'linux') first = addressSpace();
  }
  if (first > 0)
    assert.ok(addressSpace() < first + 2 * BYTES, 'their address space is given back, or used again');
  console.log('done');
}

if (isMainThread) await main(process.argv.slice(2));
else work();
