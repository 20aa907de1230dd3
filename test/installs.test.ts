// A few of the package managers that `node dist/test/installs.js` tries, and all that it tries of each.

import assert from 'node:assert/strict';
import * as tools from './fixtures-ts/tools.js';
import { check, checkElsewhere, columns, places } from './support/installs.js';
import { managers } from './support/managers.js';
import { type Packed, type Registry, packAll, serve } from './support/registry.js';
import { cannotPreload } from './support/shims.js';
import { afterAll, beforeAll, describe, test } from './support/suite.js';

const skip = cannotPreload || (tools.which('npm') === undefined && 'npm is not installed');

describe('installed from a registry by', { skip }, () => {
  let packed: Packed[];
  let registry: Registry;

  beforeAll(async () => {
    packed = await packAll(tools.scratch('packed'));
    registry = await serve(packed);
  });
  afterAll(() => registry?.close());

  // What Node 20 and 22 ship, the first with other habits, and another layout.
  for (const name of ['npm 10.8.2', 'npm 11.6.4', 'pnpm 12.21.0']) {
    const manager = managers.find((each) => each.name === name) ?? assert.fail(name);
    describe(name, () => {
      let results: ReturnType<typeof check>;
      beforeAll(() => {
        results = check(manager, registry, tools.scratch('installs'));
      });
      // Each column stands on the project as the one before left it.
      for (const column of columns)
        test(column, async () => assert.deepEqual((await results.next()).value, [column, 'yes']));
    });
  }

  describe('npm, in other places', () => {
    let results: ReturnType<typeof checkElsewhere>;
    beforeAll(() => {
      const npm = managers.find((each) => each.name === 'npm 10.8.2') ?? assert.fail();
      const { tarball } = packed.find(({ manifest }) => manifest.name === 'malloc-backend') ?? assert.fail();
      results = checkElsewhere(npm, registry, tools.scratch('installs'), tarball);
    });
    for (const place of places)
      test(place, async (context) => {
        const [name, result] = (await results.next()).value ?? assert.fail('it was not tried');
        if (result === 'not tried') context.skip('zip is not installed');
        assert.deepEqual([name, result], [place, 'yes']);
      });
  });
});
