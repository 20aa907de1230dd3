// Workers with an allocator and 1,000 buffers each, half of them freed, that are ended from outside.
//
//   tenants.js <backend> <workers>

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Allocator, parseBackend } from '../../index.js';

const BUFFERS = 1000;
const AT_A_TIME = 4;

function work(): void {
  const backend = parseBackend(workerData);
  const allocator = Allocator.create(backend, { quarantine: 100_000 });
  const child = allocator.child();
  const kept: Buffer[] = [];
  for (let n = 0; n < BUFFERS; n++) {
    const buffer = (n % 3 === 0 ? child : allocator).allocate((n * 37) % 20_000, { zero: n % 7 === 0 });
    buffer.fill(n);
    kept.push(buffer);
  }
  for (let n = 0; n < BUFFERS; n += 2) (n % 3 === 0 ? child : allocator).free(kept[n]!);
  parentPort?.postMessage({ live: allocator.buffers, elsewhere: kept.length });
  // Nothing ends it but `terminate`, in the middle of allocating.
  for (;;) allocator.free(allocator.allocate(1000));
}

async function main([name, count = '1']: string[]): Promise<void> {
  const backend = parseBackend(name);
  const before = Allocator.everywhere(backend);
  let most = 0;
  for (let n = 0; n < Number(count); n += AT_A_TIME) {
    const workers = Array.from(
      { length: AT_A_TIME },
      () => new Worker(new URL(import.meta.url), { workerData: backend }),
    );
    const messages = await Promise.all(workers.map((worker) => once(worker, 'message')));
    for (const [message] of messages) assert.equal((message as { live: number }).live, BUFFERS / 2);
    most = Math.max(most, Allocator.everywhere(backend).buffers);
    assert.deepEqual(await Promise.all(workers.map((worker) => worker.terminate())), [1, 1, 1, 1]);
  }
  assert.ok(most >= (AT_A_TIME * BUFFERS) / 2, `${most} were live at a time`);
  assert.deepEqual(Allocator.everywhere(backend), before, 'nothing stays allocated');
  console.log('done');
}

if (isMainThread) await main(process.argv.slice(2));
else work();
