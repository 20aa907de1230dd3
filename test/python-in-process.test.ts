// Python in this process: each version × backend × set of domains runs the same program, in a Node of its own.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { PythonCounters, PythonInfo } from '../index.js';
import { BACKENDS, Matrix, SETS, domainsOf, noPython, pythons } from './support/pythons.js';
import { succeed } from './support/run.js';
import { root } from './support/shims.js';

const program = join(root, 'test', 'python', 'program.py');
const fixture = join(root, 'dist', 'test', 'fixtures-ts', 'interpreter.js');

interface Said {
  before: PythonInfo;
  after: PythonInfo;
  stats: PythonCounters;
}

describe('a real program', { skip: noPython, concurrency: 2, timeout: 1_500_000 }, () => {
  const matrix = new Matrix();
  after(() => console.log(`${matrix}`));

  for (const { file, version } of pythons) {
    describe(`${file} (${version})`, { concurrency: 2 }, () => {
      const plain = succeed(file, [program]);

      for (const backend of BACKENDS) {
        for (const [set, options] of Object.entries(SETS)) {
          test(`${backend} ${set}`, async () => {
            matrix.set(file, backend, set, 'FAILED');
            const config = { ...options, allocatorBackend: backend, counters: true, python: file };
            const { stdout, third } = await succeed(process.execPath, [
              fixture,
              JSON.stringify(config),
              program,
            ]);
            assert.equal(stdout, (await plain).stdout);
            const { before, after: info, stats } = JSON.parse(third) as Said;
            assert.deepEqual(info, before, 'what was set stays set');
            assert.deepEqual([info.version, info.backend], [version, backend]);
            assert.equal(info.debug, set.endsWith('debug'));
            const expected = backend === 'default' ? [] : domainsOf(set);
            for (const [domain, served] of Object.entries(info.domains)) {
              assert.equal(served?.backend, expected.includes(domain) ? backend : undefined, domain);
              const { allocations, liveBlocks, liveBytes } = stats[domain as 'raw'];
              if (!expected.includes(domain)) assert.equal(allocations, 0, `${domain} is served`);
              else assert.ok(allocations > 0 && liveBlocks > 0 && liveBytes > 0, `${domain} is not served`);
            }
            matrix.set(file, backend, set, 'ok');
          });
        }
      }
    });
  }
});
