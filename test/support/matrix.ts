// A real program on each version × backend × set of domains, however it is run, with a table of what came of it.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { PythonAllocatorConfig, PythonCounters, PythonReport } from '../../index.js';
import { BACKENDS, SETS, noPython, pythons } from './pythons.js';
import { succeed } from './run.js';
import { root } from './shims.js';
import { afterAll, describe, test } from './suite.js';

const program = join(root, 'test', 'python', 'program.py');

/** What a run of the program gives. */
export interface Ran {
  stdout: string;
  report: PythonReport;
  counters: PythonCounters | undefined;
}

/** The domains of a set. */
function domainsOf(set: string): string[] {
  return set.split('+').filter((part) => part !== 'debug');
}

/** Version × set, with what was seen for each backend. */
class Matrix {
  readonly #cells = new Map<string, string>();

  set(version: string, backend: string, set: string, outcome: string): void {
    this.#cells.set(`${version} ${backend} ${set}`, outcome);
  }

  toString(): string {
    const lines = [['Python', 'domains', ...BACKENDS]];
    for (const { version, file } of pythons) {
      for (const set of Object.keys(SETS)) {
        const cells = BACKENDS.map((backend) => this.#cells.get(`${file} ${backend} ${set}`) ?? '-');
        lines.push([`${version} ${file.startsWith('/usr/bin') ? '(system)' : '(pyenv)'}`, set, ...cells]);
      }
    }
    return lines.map((line) => line.map((cell, at) => cell.padEnd(at < 2 ? 18 : 9)).join('')).join('\n');
  }
}

/**
 * Tests that the program does what it does without us, and that its domains are those of the set. At least `fewest`
 * blocks are live in each of them when it is asked: where the interpreter has ended, none need be.
 */
export function testRealProgram(
  fewest: 0 | 1,
  run: (program: string, config: PythonAllocatorConfig & { python: string }) => Promise<Ran>,
): void {
  describe('a real program', { skip: noPython, concurrent: true }, () => {
    const matrix = new Matrix();
    afterAll(() => console.log(`${matrix}`));

    for (const { file, version } of pythons) {
      describe(`${file} (${version})`, { concurrent: true }, () => {
        const plain = succeed(file, [program]);

        for (const backend of BACKENDS) {
          for (const [set, options] of Object.entries(SETS)) {
            test(`${backend} ${set}`, async () => {
              matrix.set(file, backend, set, 'FAILED');
              const config = { ...options, allocatorBackend: backend, counters: true, python: file };
              const { stdout, report, counters } = await run(program, config);
              assert.equal(stdout, (await plain).stdout);
              assert.deepEqual([report.version, report.backend], [version, backend]);
              assert.equal(report.debug, set.endsWith('debug'));
              const expected = backend === 'default' ? [] : domainsOf(set);
              for (const [domain, served] of Object.entries(report.domains)) {
                assert.equal(served?.backend, expected.includes(domain) ? backend : undefined, domain);
                const { allocations, liveBlocks, liveBytes } = counters?.[domain as 'raw'] ?? assert.fail();
                if (!expected.includes(domain)) assert.equal(allocations, 0, `${domain} is served`);
                else {
                  const areThere = allocations > 0 && liveBlocks >= fewest && liveBytes >= fewest;
                  assert.ok(areThere, `${domain} is not served`);
                }
              }
              matrix.set(file, backend, set, 'ok');
            });
          }
        }
      });
    }
  });
}
