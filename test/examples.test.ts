// The examples run, and say what they should.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BACKENDS } from './support/allocators.js';
import { decode, sum, under } from './support/pprof.js';
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

  const noProfile =
    process.platform === 'linux' && process.arch === 'x64' ? false : 'heap profiles are for Linux on x64';
  test('profile-leak', { skip: noProfile }, async () => {
    const cwd = mkdtempSync(join(tmpdir(), 'malloc-backend-example-'));
    const script = join(root, 'dist', 'examples', 'profile-leak.js');
    const { stdout } = await succeed(process.execPath, [script, '300'], { cwd });
    assert.equal(stdout, '300 thumbnails; the profile is in heap.pb.gz\n');
    const profile = decode(readFileSync(join(cwd, 'heap.pb.gz')));
    rmSync(cwd, { recursive: true });
    const leaked = sum(under(profile, 'renderThumbnail'));
    // 60 MB in blocks of 200 kB: the standard deviation is 8 %.
    assert.ok(leaked > 35e6 && leaked < 85e6, `${leaked}`);
    assert.ok(leaked > 0.5 * sum(profile.samples), `${leaked} of ${sum(profile.samples)}`);
  });
});
