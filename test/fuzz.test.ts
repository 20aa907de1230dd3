// Random calls with hostile arguments, for a few seconds. `node test/fuzz/asan.mjs 600` does it under AddressSanitizer.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { succeed } from './support/run.js';
import { test } from './support/suite.js';
import { root } from './support/shims.js';

test('random calls with hostile arguments', async () => {
  const calls = join(root, 'dist', 'test', 'fuzz', 'calls.js');
  const { stdout, stderr } = await succeed(process.execPath, [calls, '5']);
  assert.match(stdout, /^\d+ calls, seeds \d+ to \d+\n$/);
  assert.equal(stderr, '');
});
