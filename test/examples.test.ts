// The examples run, and say what they should.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { BACKENDS } from './support/allocators.js';
import { succeed } from './support/run.js';
import { describe, test } from './support/suite.js';
import { root } from './support/shims.js';

const example = async (name: string, ...args: string[]): Promise<string> => {
  const script = join(root, 'dist', 'examples', `${name}.js`);
  return (await succeed(process.execPath, [script, ...args])).stdout;
};

describe('examples', () => {
  for (const backend of BACKENDS) {
    test(`tile-cache on ${backend}`, async () => {
      assert.match(
        await example('tile-cache', backend),
        /^\d+ tiles, \d+ hits, \d+ misses\n1[56]\.\d of 16 MiB, at most 1[56]\.\d\n$/,
      );
    });
  }
  for (const backend of BACKENDS.filter((each) => process.platform !== 'win32' && each === 'jemalloc')) {
    test(`regions-http on ${backend}`, async () => {
      assert.match(await example('regions-http', backend), /^160 requests, \d+ regions, 0 bytes left\n$/);
    });
  }
});
