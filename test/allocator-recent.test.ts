// The larger blocks that an allocator on jemalloc keeps for its next requests: jemalloc's thread cache ends at 32 KiB.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { Allocator } from '../index.js';
import { BACKENDS, codeOf, isFilledWith } from './support/allocators.js';
import { compiled } from './support/native.js';
import { beforeAll, describe, test } from './support/suite.js';

/** In no class of sizes that one would think of. */
const SIZE = 60_000;
/** What jemalloc makes of it. */
const USABLE = 15 * 4096;
/** So many of them are kept: 2 MiB, and no more than 32. */
const KEPT = 32;

let address: (buffer: Buffer) => number;
beforeAll(async () => {
  ({ address } = createRequire(import.meta.url)(await compiled('address.node')) as {
    address: typeof address;
  });
});

const many = (allocator: Allocator, bytes = SIZE, count = KEPT): Buffer[] =>
  Array.from({ length: count }, () => allocator.allocate(bytes));

// All is freed by hand: what the collector frees later would be counted in another test.

/** Counts what jemalloc has come to take for live, in blocks; this process has a few small ones on it too. */
function counter(allocator: Allocator): () => number {
  const taken = (): number => allocator.stats().allocated!;
  const begin = taken();
  // Adding 0 makes one of -0.
  return () => Math.round((taken() - begin) / USABLE) + 0;
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
    const again = many(allocator, SIZE, KEPT - 1);
    assert.deepEqual(again.map(address), addresses.toReversed().slice(0, KEPT - 1));
    using zeroed = allocator.allocate(SIZE, { zero: true });
    assert.equal(address(zeroed), addresses.at(-KEPT));
    assert.ok(isFilledWith(zeroed, 0));
    assert.equal(taken(), KEPT);
    for (const buffer of again) allocator.free(buffer);
    using aligned = allocator.allocate(SIZE, { alignment: 65536 });
    assert.equal(address(aligned) % 65536, 0);
    // A block of one page more is jemalloc's own for no such size.
    using smaller = allocator.allocate(USABLE - 4096);
    assert.ok(!addresses.includes(address(smaller)));
  });

  test('no more than 2 MiB is kept, of what was freed last', () => {
    for (const [blocks, kept] of [
      [2, 17],
      [17, 2],
    ] as const) {
      using allocator = Allocator.create('jemalloc');
      const taken = counter(allocator);
      for (const buffer of many(allocator, blocks * USABLE, kept)) allocator.free(buffer);
      assert.equal(taken(), blocks * kept);
      allocator.free(allocator.allocate(2 ** 21));
      assert.equal(taken(), blocks * kept);
      for (const buffer of many(allocator, blocks * USABLE, kept + 1)) allocator.free(buffer);
      assert.ok(taken() < blocks * kept);
    }
  });

  test('what serves no request is kept no longer, but for the last one', () => {
    using allocator = Allocator.create('jemalloc');
    const taken = counter(allocator);
    for (const buffer of many(allocator, SIZE, 10 * KEPT)) allocator.free(buffer);
    assert.equal(taken(), 1);
    // What serves one makes room again.
    for (let n = 0; n < KEPT; n++) allocator.free(allocator.allocate(SIZE));
    for (const buffer of many(allocator)) allocator.free(buffer);
    assert.equal(taken(), KEPT);
  });

  test('a large block has no page more than its own', () => {
    using allocator = Allocator.create('jemalloc');
    const { active, allocated } = allocator.stats();
    const buffers = many(allocator, 16 * USABLE, 10 * KEPT);
    const after = allocator.stats();
    // A page of each would be 320; slabs of small blocks take some.
    assert.ok(after.active! - active! - (after.allocated! - allocated!) < 10 * KEPT * 1024);
    for (const buffer of buffers) allocator.free(buffer);
  });

  test('it serves children too, and goes with the allocator that they come from', () => {
    for (const end of ['release', 'dispose'] as const) {
      using allocator = Allocator.create('jemalloc');
      const taken = counter(allocator);
      const child = allocator.child();
      const where = child.allocate(SIZE);
      const place = address(where);
      const late = child.allocate(SIZE);
      child.free(where);
      child.dispose();
      assert.equal(taken(), 2);
      const again = allocator.allocate(SIZE);
      assert.equal(address(again), place);
      allocator.free(again);
      allocator[end]();
      assert.equal(taken(), 1, end);
      child.free(late);
      assert.equal(taken(), end === 'dispose' ? 0 : 1);
    }
  });

  test('in quarantine nothing is kept', () => {
    using allocator = Allocator.create('jemalloc', { quarantine: 4 * SIZE });
    const taken = counter(allocator);
    for (const buffer of many(allocator)) allocator.free(buffer);
    assert.equal(taken(), 4);
  });

  test('a block that was resized is kept by its new size', () => {
    using allocator = Allocator.create('jemalloc');
    const taken = counter(allocator);
    const resized = allocator.reallocate(allocator.allocate(SIZE), 4 * USABLE);
    const place = address(resized);
    allocator.free(resized);
    assert.equal(taken(), 4);
    using again = allocator.allocate(4 * USABLE - 1);
    assert.equal(address(again), place);
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
