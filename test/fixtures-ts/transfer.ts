// Regions whose ArrayBuffer is transferred, and what V8 hears of regions: one case, in a process of its own.
//
//   transfer.js <case>

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PerformanceObserver, constants } from 'node:perf_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Allocator } from '../../index.js';
import { codeOf, collectUntil, isFilledWith } from '../support/allocators.js';

const MIB = 2 ** 20;

/** Takes the memory away from its owner. Node 20 has no `transfer()`. */
function transferred(memory: ArrayBuffer): ArrayBuffer {
  const { transfer } = ArrayBuffer.prototype as { transfer?: (this: ArrayBuffer) => ArrayBuffer };
  return transfer?.call(memory) ?? structuredClone(memory, { transfer: [memory] });
}

interface Moved {
  memory: ArrayBuffer;
  offset: number;
}

function endRegions(): void {
  const allocator = Allocator.create('jemalloc');
  for (let n = 0; n < 20_000; n++) {
    using region = allocator.region({ bytes: 4 * MIB });
    region.free(region.allocate(100_000).fill(1));
  }
}

function inWorker(): void {
  if (workerData === endRegions.name) return endRegions();
  const view = Allocator.create('jemalloc')
    .region({ bytes: 64 * MIB })
    .allocate(100_000)
    .fill(7);
  const offset = view.byteOffset;
  const memory = transferred(view.buffer as ArrayBuffer);
  parentPort?.postMessage({ memory, offset } satisfies Moved, [memory]);
}

/** Major collections while this works. */
async function collections(work: () => void): Promise<number> {
  let count = 0;
  const observer = new PerformanceObserver((list) => {
    for (const { detail } of list.getEntries() as unknown as { detail: { kind: number } }[])
      if (detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) count += 1;
  });
  observer.observe({ entryTypes: ['gc'] });
  work();
  for (let round = 0; round < 10; round++) await turn();
  observer.disconnect();
  return count;
}

const cases: Record<string, () => Promise<void>> = {
  async 'out of a worker that ends'() {
    const worker = new Worker(new URL(import.meta.url));
    const exit = once(worker, 'exit');
    let [moved] = (await once(worker, 'message')) as [Moved | undefined];
    await exit;
    assert.ok(moved !== undefined && moved.memory.byteLength === 64 * MIB);
    assert.ok(isFilledWith(Buffer.from(moved.memory, moved.offset, 100_000), 7));
    new Uint8Array(moved.memory).fill(1);
    assert.deepEqual(Allocator.everywhere('jemalloc'), { bytesAllocated: 100_000, buffers: 0 });
    moved = undefined;
    const gone = () => Allocator.everywhere('jemalloc').bytesAllocated === 0;
    await collectUntil(gone);
    assert.ok(gone(), 'its bytes go with the last owner');
    assert.ok(process.memoryUsage.rss() < 200 * MIB);
  },

  async 'ends the region'() {
    const allocator = Allocator.create('jemalloc');
    const region = allocator.region({ bytes: 64 * MIB, debug: true });
    region.free(region.allocate(50));
    const view = region.allocate(60).fill(3);
    const offset = view.byteOffset;
    let memory: ArrayBuffer | undefined = transferred(view.buffer as ArrayBuffer);
    const calls: (() => unknown)[] = [
      () => region.allocate(100),
      () => region.allocate(100, { zero: true }),
      () => region.free(view),
      () => region.reset(),
    ];
    for (const call of [...calls, ...calls]) {
      assert.equal(codeOf(call), 'ERR_DISPOSED');
      assert.throws(call, /transferred/);
      assert.equal(allocator.bytesAllocated, 110);
    }
    region.check();
    assert.deepEqual([region.owns(view), region.views, region.bytesAllocated], [false, 0, 0]);
    region.dispose();
    new Uint8Array(memory).fill(4, 0, offset).fill(4, offset + 60);
    allocator.release();
    assert.ok(isFilledWith(Buffer.from(memory, offset, 60), 3));
    assert.ok(isFilledWith(Buffer.from(memory, offset + 60), 4), 'nothing purges what is not its own');
    assert.equal(allocator.bytesAllocated, 110);
    memory = undefined;
    await collectUntil(() => allocator.bytesAllocated === 0);
    assert.equal(allocator.bytesAllocated, 0);
  },

  async 'ends while another thread purges'() {
    const allocator = Allocator.create('jemalloc');
    const worker = new Worker(new URL(import.meta.url), { workerData: endRegions.name });
    const state = { ended: false };
    worker.once('exit', () => (state.ended = true));
    while (!state.ended) {
      allocator.release();
      await turn();
    }
  },

  async 'with nobody left who knows the region'() {
    const allocator = Allocator.create('jemalloc');
    const kept: ArrayBuffer[] = [];
    // In functions, so that nothing stays in a local variable.
    const keep = (n: number): void => {
      const view = allocator.region({ bytes: 8 * MIB }).allocate(MIB);
      kept.push(transferred(view.fill(n).buffer as ArrayBuffer));
    };
    const holds = (memory: ArrayBuffer, n: number): boolean =>
      Buffer.from(memory).includes(Buffer.alloc(MIB, n));
    for (let n = 0; n < 20; n++) keep(n);
    await collectUntil(() => false, 5);
    assert.ok(kept.every(holds));
    assert.equal(allocator.bytesAllocated, 20 * MIB);
    kept.length = 0;
    await collectUntil(() => allocator.bytesAllocated === 0);
    assert.equal(allocator.bytesAllocated, 0);
  },

  async 'what is reserved costs no collection'() {
    const allocator = Allocator.create('jemalloc');
    const count = await collections(() => {
      for (let n = 0; n < 200; n++) allocator.region({ bytes: 1024 * MIB }).allocate(1000);
    });
    assert.ok(count <= 2, `${count} major collections`);
  },

  async 'what is used is collected when nobody has it'() {
    const allocator = Allocator.create('jemalloc');
    let most = 0;
    for (let n = 0; n < 200; n++) {
      allocator.region({ bytes: 1024 * MIB }).allocate(32 * MIB);
      most = Math.max(most, allocator.bytesAllocated);
      await turn();
    }
    assert.ok(most < 200 * 16 * MIB, `${most} of ${200 * 32 * MIB} bytes were there at a time`);
  },
};

if (isMainThread) {
  const [name = ''] = process.argv.slice(2);
  await (cases[name] ?? assert.fail(`no case ${name}`))();
  console.log('done');
} else {
  inWorker();
}
