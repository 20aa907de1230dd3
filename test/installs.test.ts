// A few of the package managers that `node dist/test/installs.js` tries, and all that it tries of each.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as tools from './fixtures-ts/tools.js';
import { check, checkElsewhere } from './support/installs.js';
import { managers } from './support/managers.js';
import { type Packed, type Registry, packAll, serve } from './support/registry.js';
import { cannotPreload } from './support/shims.js';

const skip = cannotPreload || (tools.which('npm') === undefined && 'npm is not installed');

describe('installed from a registry by', { skip }, () => {
  let packed: Packed[];
  let registry: Registry;

  before(async () => {
    packed = await packAll(tools.scratch('packed'));
    registry = await serve(packed);
  });
  after(() => registry?.close());

  // What Node 20 and 22 ship, the first with other habits, and another layout.
  for (const name of ['npm 10.8.2', 'npm 11.6.4', 'pnpm 12.21.0']) {
    const manager = managers.find((each) => each.name === name) ?? assert.fail(name);
    test(name, async (context) => {
      for await (const [column, result] of check(manager, registry, tools.scratch('installs')))
        await context.test(column, () => assert.equal(result, 'yes'));
    });
  }

  test('npm, in other places', async (context) => {
    const npm = managers.find((each) => each.name === 'npm 10.8.2') ?? assert.fail();
    const { tarball } = packed.find(({ manifest }) => manifest.name === 'malloc-backend') ?? assert.fail();
    const scratch = tools.scratch('installs');
    for await (const [place, result] of checkElsewhere(npm, registry, scratch, tarball))
      await context.test(place, (inner) =>
        result === 'not tried' ? inner.skip('zip is not installed') : assert.equal(result, 'yes'),
      );
  });
});
