// The addon in worker threads that come and go, under libc's malloc and under each library.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { TERMINATES, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, shim, root } from './support/shims.js';
import { test } from './support/suite.js';

const churn = join(root, 'dist', 'test', 'fixtures-ts', 'churn.js');
const ROUNDS: [string, string[]][] = [
  ['200 workers, one after the other', ['one-by-one', '200']],
  ['two workers and the main thread at once', ['together']],
  ['workers that are ended in the middle of it', ['terminate', '30']],
];

for (const [name, args] of ROUNDS)
  for (const backend of ['no library', ...SWITCHING] as const) {
    const skip = backend === 'no library' ? false : cannotPreload;
    test(`${name}: ${backend}`, { skip }, async () => {
      const env: Record<string, string> = backend === 'no library' ? {} : { LD_PRELOAD: shim(backend) };
      const { stdout, stderr } = await succeed(process.execPath, [TERMINATES, churn, ...args], { env });
      assert.deepEqual([stdout, stderr], ['done\n', '']);
    });
  }
