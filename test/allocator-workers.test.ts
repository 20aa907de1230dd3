// Workers that are ended while they have buffers: their memory goes with them.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { BACKENDS } from './support/allocators.js';
import { TERMINATES, succeed } from './support/run.js';
import { describe, test } from './support/suite.js';
import { root } from './support/shims.js';

const tenants = join(root, 'dist', 'test', 'fixtures-ts', 'tenants.js');

describe('200 workers with an allocator each, ended by terminate()', () => {
  for (const backend of BACKENDS) {
    test(backend, async () => {
      const { stdout, stderr } = await succeed(process.execPath, [TERMINATES, tenants, backend, '200']);
      assert.deepEqual([stdout, stderr], ['done\n', '']);
    });
  }
});
