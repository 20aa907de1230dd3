// Regions whose ArrayBuffer goes elsewhere, and what V8 hears of them (test/fixtures-ts/transfer.ts), on this Node and on
// the newest with long-term support.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { BACKENDS } from './support/allocators.js';
import { NEWEST, newestNode } from './support/nodes.js';
import { succeed } from './support/run.js';
import { describe, test } from './support/suite.js';
import { root } from './support/shims.js';

const fixture = join(root, 'dist', 'test', 'fixtures-ts', 'transfer.js');
const skip =
  process.platform === 'linux' && BACKENDS.includes('jemalloc')
    ? false
    : 'elsewhere Node-API makes the ArrayBuffers, or there is no jemalloc';

const CASES = [
  'out of a worker that ends',
  'ends the region',
  'ends while another thread purges',
  'with nobody left who knows the region',
  'what is reserved costs no collection',
  'what is used is collected when nobody has it',
];

describe('a region, transferred or forgotten', { skip }, async () => {
  const newest = skip === false ? await newestNode() : { missing: skip };
  for (const name of CASES) {
    const on = async (node: string): Promise<void> => {
      const { stdout, stderr } = await succeed(node, [fixture, name]);
      assert.deepEqual([stdout, stderr], ['done\n', '']);
    };
    test(name, () => on(process.execPath));
    const missing = 'missing' in newest && newest.missing;
    test(`${name}, on Node ${NEWEST}`, { skip: missing }, () => on('node' in newest ? newest.node : ''));
  }
});
