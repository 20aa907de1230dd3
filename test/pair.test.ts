// What a call of malloc and free costs more than in the allocator itself: nothing.

import assert from 'node:assert/strict';
import { allocators, calledDirectly, inSingleSteps } from '../bench/pair.js';
import { compile } from '../bench/measure.js';
import { environmentOf } from '../bench/subjects.js';
import { cannotPreload } from './support/shims.js';
import { test } from './support/suite.js';

for (const allocator of allocators) {
  test(`a pair under ${allocator} takes the instructions of its own`, { skip: cannotPreload }, async () => {
    const direct = await inSingleSteps(calledDirectly(allocator), 64, environmentOf('default'));
    const shim = await inSingleSteps(compile('pair'), 64, environmentOf(allocator));
    // snmalloc's order of blocks is random; mimalloc has one instruction more to round a size up to 16.
    assert.ok(shim - direct < 1.5, `${shim} instructions for a pair, and ${direct} when called directly`);
  });
}
