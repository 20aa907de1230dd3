// Run where test/c/refuse_external.c is preloaded.

import assert from 'node:assert/strict';
import { Allocator } from '../../index.js';
import { codeOf, collectUntil, isFilledWith } from '../support/allocators.js';

const allocator = Allocator.create('jemalloc', { limit: 1000 });
for (const options of [undefined, {}, { copy: 'refuse' }] as const) {
  assert.equal(
    codeOf(() => allocator.allocate(10, options)),
    'ERR_EXTERNAL_BUFFERS_UNSUPPORTED',
  );
}
assert.deepEqual([allocator.bytesAllocated, allocator.buffers], [0, 0]);

const copy = 'allow';
const buffer = allocator.allocate(10, { copy });
assert.ok(Buffer.isBuffer(buffer) && isFilledWith(buffer, 0) && allocator.owns(buffer));
buffer.fill(3);
assert.equal(
  codeOf(() => allocator.allocate(1000, { copy })),
  'ERR_LIMIT_EXCEEDED',
);
assert.equal(
  codeOf(() => allocator.allocate(1, { copy, alignment: 2 ** 30 })),
  'ERR_EXTERNAL_BUFFERS_UNSUPPORTED',
);
const resized = allocator.reallocate(buffer, 20);
assert.deepEqual([buffer.length, resized.length, allocator.bytesAllocated], [0, 20, 20]);
assert.ok(isFilledWith(resized.subarray(0, 10), 3));
allocator.free(resized);
assert.deepEqual([resized.length, allocator.bytesAllocated], [0, 0]);
assert.equal(
  codeOf(() => allocator.free(resized)),
  'ERR_NOT_ALLOCATED',
);

for (const bytes of [0, 100]) allocator.allocate(bytes, { copy });
assert.deepEqual([allocator.bytesAllocated, allocator.buffers], [100, 2]);
await collectUntil(() => allocator.buffers === 0);
assert.deepEqual([allocator.bytesAllocated, allocator.buffers], [0, 0]);
console.log('done');
