// releaseMemory(): what it gives back, where it runs, and where it cannot.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Outcome } from './fixtures-ts/release.js';
import * as tools from './fixtures-ts/tools.js';
import { succeed } from './support/run.js';
import { cannotPreload, isGlibc, notGlibc, root, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

const MiB = 2 ** 20;
const fixture = join(root, 'dist', 'test', 'fixtures-ts', 'release.js');

/** Nothing is to go back before it is asked for. */
const KEEP = {
  MALLOC_CONF: 'dirty_decay_ms:-1,muzzy_decay_ms:-1',
  MIMALLOC_PURGE_DELAY: '1000000',
  MALLOC_TRIM_THRESHOLD_: '1073741824',
};

async function outcome(env: Record<string, string>): Promise<Outcome> {
  const { stdout } = await succeed(process.execPath, ['--expose-gc', fixture], {
    env: { ...KEEP, UV_THREADPOOL_SIZE: '1', ...env },
  });
  return JSON.parse(stdout) as Outcome;
}

function gaveBack({ release, seen, joined, order, message }: Outcome, least: number): void {
  assert.ok(release !== undefined && seen !== undefined, message);
  assert.equal(release.released, Math.max(0, release.before - release.after));
  assert.ok(release.released >= least, `${release.released} bytes`);
  assert.ok(seen[0] - seen[1] >= least, `RSS went from ${seen.join(' to ')}`);
  assert.ok(release.durationMs > 0);
  assert.equal(joined, true, 'a second call joins the first');
  assert.deepEqual(order, ['turn', 'pool', 'released']);
}

function cannot({ code, message = '', release }: Outcome, ...patterns: RegExp[]): void {
  assert.deepEqual([code, release], ['ERR_CANNOT_RELEASE', undefined]);
  for (const pattern of patterns) assert.match(message, pattern);
}

describe('releaseMemory()', { skip: cannotPreload }, () => {
  test('glibc', { skip: notGlibc }, async () => gaveBack(await outcome({}), 48 * MiB));

  test('musl says that it cannot', { skip: isGlibc && 'the C library is glibc' }, async () =>
    cannot(await outcome({}), /musl/),
  );

  for (const backend of ['jemalloc', 'mimalloc'] as const)
    test(backend, async () => gaveBack(await outcome({ LD_PRELOAD: shim(backend) }), 48 * MiB));

  test('workers that are ended while they wait for it, or for a breakdown', async () => {
    const endless = `const { parentPort } = require('node:worker_threads');
      import(${JSON.stringify(tools.index)}).then(async ({ memory, releaseMemory }) => {
        const go = async () => { for (;;) await Promise.all([memory(), releaseMemory()]); };
        await memory();
        parentPort.postMessage('begun');
        await Promise.all([go(), go()]);
      });`;
    const lines = `import { once } from 'node:events';
      import { Worker } from 'node:worker_threads';
      for (let n = 0; n < 10; n++) {
        const worker = new Worker(${JSON.stringify(endless)}, { eval: true, execArgv: [] });
        await once(worker, 'message');
        await worker.terminate();
      }
      show((await m.releaseMemory()).before > 0);`;
    for (const env of [
      isGlibc ? {} : undefined,
      { LD_PRELOAD: shim('jemalloc') },
      { LD_PRELOAD: shim('mimalloc') },
    ])
      if (env !== undefined) assert.equal(await tools.evaluate(lines, { env }), true);
  });

  test('snmalloc says that it cannot, and what can', async () =>
    cannot(
      await outcome({ LD_PRELOAD: shim('snmalloc') }),
      /snmalloc has no function that releases memory/,
      /run the process on/,
    ));

  for (const [name, library, debianPackage] of tools.foreignAllocators) {
    const file = tools.systemLibrary(library);
    const skip = notGlibc || (file === undefined && `${debianPackage} is not installed`);
    test(`a foreign ${name}`, { skip }, async () => {
      const found = await outcome({ LD_PRELOAD: file ?? '' });
      if (name === 'tcmalloc') cannot(found, /tcmalloc/, /libtcmalloc/);
      // The mimalloc of 2.0 keeps what is free beside blocks in use.
      else gaveBack(found, name === 'jemalloc' ? 48 * MiB : -Infinity);
    });
  }
});
