// Python in this process: each version × backend × set of domains runs the same program, in a Node of its own.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { PythonCounters, PythonInfo } from '../index.js';
import { testRealProgram } from './support/matrix.js';
import { succeed } from './support/run.js';
import { root } from './support/shims.js';

const fixture = join(root, 'dist', 'test', 'fixtures-ts', 'interpreter.js');

interface Said {
  before: PythonInfo;
  after: PythonInfo;
  stats: PythonCounters;
}

testRealProgram(1, async (program, config) => {
  const { stdout, third } = await succeed(process.execPath, [fixture, JSON.stringify(config), program]);
  const { before, after, stats } = JSON.parse(third) as Said;
  assert.deepEqual(after, before, 'what was set stays set');
  return { stdout, report: after, counters: stats };
});
