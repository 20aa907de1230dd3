// Workers that a server forks give back what they free, on jemalloc: Python's pools, gunicorn, Node's cluster.

import * as tools from './fixtures-ts/tools.js';
import { fixture } from './support/programs.js';
import { givenBack, gunicornGivesBack } from './support/idle.js';
import { noPython, pythons } from './support/pythons.js';
import { start } from './support/run.js';
import { cannotPreload } from './support/shims.js';
import { describe, test } from './support/suite.js';

const onJemalloc = ['run', 'jemalloc', '--'];

describe('Python', { skip: cannotPreload || noPython }, () => {
  const { file = '' } = pythons.at(-1) ?? {};
  for (const method of ['fork', 'forkserver', 'spawn'])
    test(`a pool of multiprocessing: ${method}`, () =>
      givenBack(start(tools.native, [...onJemalloc, file, fixture('spike.py'), method])));

  test('domains on jemalloc, without its malloc', () => {
    const command = ['python', 'jemalloc', '--mem', '--obj', '--preset', 'balanced', '--python', file];
    return givenBack(start(tools.native, [...command, '--', fixture('spike.py'), 'os.fork']));
  });

  const gunicorn = tools.which('gunicorn');
  test('gunicorn', { skip: gunicorn === undefined && 'gunicorn is not installed' }, () =>
    gunicornGivesBack(onJemalloc, gunicorn ?? ''),
  );
});

describe("Node's cluster", { skip: cannotPreload }, () => {
  test('a worker', () =>
    givenBack(start(tools.native, [...onJemalloc, process.execPath, fixture('cluster.mjs')])));
});
