// Programs that lock their memory, so that none of it is swapped out.

import assert from 'node:assert/strict';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { run } from './support/run.js';
import { cannotPreload, SWITCHING } from './support/shims.js';
import { describe, test } from './support/suite.js';

describe('mlockall', { skip: cannotPreload }, () => {
  for (const backend of ['default', ...SWITCHING])
    test(`locks what is used on ${backend}, and not what is reserved`, async (t) => {
      const { code, stdout, stderr } = await run(tools.native, ['run', backend, await compiled('locked')]);
      if (stderr.startsWith('mlockall: '))
        return t.skip(`this user may not lock so much memory: ${stderr.trim()}`);
      assert.equal(code, 0, stderr);
      const [rss = NaN, locked = NaN] = (stdout.match(/\d+/g) ?? []).map(Number);
      // 20 MiB of them are the program's. mimalloc reserves 1 GiB.
      assert.ok(rss < 100 * 1024, stdout);
      assert.ok(locked >= 20 * 1024, stdout);
    });
});
