// Random allocations, reallocations, frees and collections, against a model that knows what must be there.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { type AllocatedBuffer, Allocator, type MemoryAllocatorBackend } from '../index.js';
import { BACKENDS, Random, collectUntil, isFilledWith, seed } from './support/allocators.js';
import { compiled } from './support/native.js';
import { beforeAll, describe, test } from './support/suite.js';

const OPERATIONS = 100_000;
/** Live bytes at most: what goes beyond is refused, by the model and by the limit. */
const LIMIT = 256 * 2 ** 20;

let address: (buffer: Buffer) => number;
beforeAll(async () => {
  ({ address } = createRequire(import.meta.url)(await compiled('address.node')) as {
    address: typeof address;
  });
});

interface Live {
  buffer: AllocatedBuffer;
  byte: number;
  alignment: number;
}

function sizeFrom(random: Random): number {
  // Nearly all are small, a few are as large as 64 MiB: each power of two has half as many as the one before.
  const kind = random.below(10_000);
  if (kind < 300) return 0;
  if (kind < 9_000) return random.below(2_000);
  if (kind < 9_990) return random.below(200_000);
  if (kind < 9_999) return random.below(4 * 2 ** 20);
  return random.pick([64 * 2 ** 20, random.below(64 * 2 ** 20)]);
}

async function play(backend: MemoryAllocatorBackend, random: Random): Promise<void> {
  const allocator = Allocator.create(backend, { name: 'model', limit: LIMIT });
  const before = Allocator.everywhere(backend);
  let live: Live[] = [];
  let bytes = 0;
  const model = { peak: 0, total: 0, allocations: 0 };
  const count = (added: number): void => {
    bytes += added;
    model.total += Math.max(0, added);
    model.allocations += 1;
    model.peak = Math.max(model.peak, bytes);
  };
  const check = ({ buffer, byte, alignment }: Live): void => {
    assert.ok(isFilledWith(buffer, byte), `${buffer.length} bytes are 0x${byte.toString(16)}`);
    assert.ok(allocator.owns(buffer));
    if (buffer.length > 0) assert.equal(address(buffer) % alignment, 0, `aligned to ${alignment}`);
  };
  const remove = (): Live => {
    const index = random.below(live.length);
    const chosen = live[index]!;
    const last = live.pop()!;
    if (index < live.length) live[index] = last;
    return chosen;
  };

  // A function of its own: what it looked at must not stay reachable from this one while that waits.
  const step = (operation: number): void => {
    // About as many as `crowd` are live, which swells and shrinks.
    const crowd = 50 + (operation % 10_000) / 20;
    const what = live.length === 0 ? 0 : random.below(100) + (live.length > crowd ? 15 : -15);
    const size = sizeFrom(random);
    if (what < 40) {
      const alignment = 2 ** random.below(13);
      const zero = random.below(4) === 0;
      if (bytes + size > LIMIT) {
        assert.throws(() => allocator.allocate(size, { alignment, zero }), { code: 'ERR_LIMIT_EXCEEDED' });
        return;
      }
      const buffer = random.below(2) === 0 ? allocator.allocate(size, { alignment, zero }) : undefined;
      const made = buffer ?? allocator.allocate(size);
      assert.equal(made.length, size);
      if (buffer !== undefined && zero) assert.ok(isFilledWith(buffer, 0));
      const byte = random.below(256);
      made.fill(byte);
      count(size);
      live.push({ buffer: made, byte, alignment: buffer === undefined ? 16 : alignment });
    } else if (what < 60) {
      const entry = live[random.below(live.length)]!;
      const old = entry.buffer;
      const before = old.length;
      const zero = random.below(2) === 0;
      if (bytes - before + size > LIMIT) {
        assert.throws(() => allocator.reallocate(old, size), { code: 'ERR_LIMIT_EXCEEDED' });
        check(entry);
        return;
      }
      entry.buffer = allocator.reallocate(old, size, { zero });
      assert.equal(old.length, 0);
      assert.equal(entry.buffer.length, size);
      const kept = Math.min(before, size);
      assert.ok(isFilledWith(entry.buffer.subarray(0, kept), entry.byte), 'what was there is kept');
      if (zero) assert.ok(isFilledWith(entry.buffer.subarray(kept), 0), 'what is new is zero');
      entry.byte = random.below(256);
      entry.buffer.fill(entry.byte);
      count(size - before);
    } else {
      const entry = remove();
      check(entry);
      bytes -= entry.buffer.length;
      allocator.free(entry.buffer);
      assert.equal(entry.buffer.length, 0);
    }
  };

  /** A third is forgotten, to be collected. */
  const forget = (): void => {
    const forgotten = live.filter((_, index) => index % 3 === 0);
    live = live.filter((_, index) => index % 3 !== 0);
    bytes -= forgotten.reduce((sum, { buffer }) => sum + buffer.length, 0);
  };

  for (let operation = 0; operation < OPERATIONS; operation++) {
    step(operation);
    if (operation % 20_000 === 19_999) {
      forget();
      await collectUntil(() => allocator.buffers === live.length);
      assert.equal(allocator.buffers, live.length, 'what was forgotten is collected');
    }
    if (operation % 1_000 === 999) {
      assert.deepEqual(
        [allocator.bytesAllocated, allocator.buffers, allocator.maxMemory],
        [bytes, live.length, model.peak],
      );
      // What was freed is let go of by V8 in a later turn.
      await new Promise(setImmediate);
    }
  }

  assert.deepEqual([allocator.allocations, allocator.totalBytesAllocated], [model.allocations, model.total]);
  assert.deepEqual(
    allocator
      .leaks()
      .map((leak) => leak.bytes)
      .sort((a, b) => a - b),
    live.map(({ buffer }) => buffer.length).sort((a, b) => a - b),
  );
  for (const entry of live) {
    check(entry);
    allocator.free(entry.buffer);
  }
  assert.deepEqual([allocator.bytesAllocated, allocator.buffers, allocator.leaks()], [0, 0, []]);
  assert.deepEqual(Allocator.everywhere(backend), before);
}

describe(`${OPERATIONS} random operations`, () => {
  for (const backend of BACKENDS) {
    test(backend, async () => {
      const random = new Random(seed());
      try {
        await play(backend, random);
      } catch (error) {
        const { message } = error as Error;
        throw new Error(`MALLOC_BACKEND_SEED=${random.seed}: ${message}`, { cause: error });
      }
    });
  }
});
