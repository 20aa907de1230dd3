// The larger blocks that an allocator on jemalloc keeps for its next requests: jemalloc's thread cache ends at 32 KiB.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { before, describe, test } from 'node:test';
import { Allocator } from '../index.js';
import { BACKENDS, codeOf, isFilledWith } from './support/allocators.js';
import { compiled } from './support/native.js';

const SIZE = 64 * 2 ** 10;
/** So many of one size are kept. */
const KEPT = 8;

let address: (buffer: Buffer) => number;
before(async () => {
  ({ address } = createRequire(import.meta.url)(await compiled('address.node')) as {
    address: typeof address;
  });
});

const many = (allocator: Allocator, bytes = SIZE): Buffer[] =>
  Array.from({ length: 5 * KEPT }, () => allocator.allocate(bytes));

// All is freed by hand: what the collector frees later would be counted in another test.

/** Counts what jemalloc has come to take for live, in blocks; this process has a few small ones on it too. */
function counter(allocator: Allocator): () => number {
  const taken = (): number => allocator.stats().allocated!;
  const begin = taken();
  // Adding 0 makes one of -0.
  return () => Math.round((taken() - begin) / SIZE) + 0;
}

describe('jemalloc', { skip: !BACKENDS.includes('jemalloc') && 'this build has no jemalloc' }, () => {
  test('a block that was freed by hand serves the next buffer of its size', () => {
    using allocator = Allocator.create('jemalloc');
    const taken = counter(allocator);
    const buffers = many(allocator);
    const addresses = buffers.map(address);
    for (const buffer of buffers) allocator.free(buffer.fill(1));
    assert.equal(allocator.bytesAllocated, 0);
    assert.equal(taken(), KEPT);
    const again = Array.from({ length: KEPT }, () => allocator.allocate(SIZE));
    assert.deepEqual(again.map(address), addresses.slice(0, KEPT).reverse());
    assert.equal(taken(), KEPT);
    for (const buffer of again) allocator.free(buffer);
    using zeroed = allocator.allocate(SIZE, { zero: true });
    assert.ok(isFilledWith(zeroed, 0));
    using aligned = allocator.allocate(SIZE, { alignment: SIZE });
    assert.equal(address(aligned) % SIZE, 0);
  });

  test('no more than 1 MiB is kept', () => {
    using allocator = Allocator.create('jemalloc');
    const taken = counter(allocator);
    for (const bytes of [SIZE, 2 * SIZE, 4 * SIZE, 16 * SIZE, 32 * SIZE]) {
      for (const buffer of many(allocator, bytes)) allocator.free(buffer);
    }
    assert.equal(taken(), 2 ** 20 / SIZE);
  });

  test('release() and dispose() give it up', () => {
    for (const end of ['release', 'dispose'] as const) {
      using allocator = Allocator.create('jemalloc');
      const taken = counter(allocator);
      for (const buffer of many(allocator)) allocator.free(buffer);
      assert.ok(taken() > 0);
      allocator[end]();
      assert.equal(taken(), 0, end);
    }
  });

  test('it counts against no limit, and limits hold for what is taken from it', () => {
    using allocator = Allocator.create('jemalloc', { limit: 2 * SIZE });
    using tenant = allocator.child({ limit: SIZE });
    tenant.free(tenant.allocate(SIZE));
    const buffer = allocator.allocate(SIZE + 1);
    assert.equal(
      codeOf(() => tenant.allocate(SIZE)),
      'ERR_LIMIT_EXCEEDED',
    );
    assert.equal(allocator.bytesAllocated, SIZE + 1);
    allocator.free(buffer);
    tenant.free(tenant.allocate(SIZE));
    assert.deepEqual([allocator.bytesAllocated, allocator.maxMemory, tenant.maxMemory], [0, SIZE + 1, SIZE]);
  });
});
