// Workers that a server forks give back what they free, on jemalloc: Python's pools, gunicorn, Node's cluster.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import * as tools from './fixtures-ts/tools.js';
import { fixture } from './support/programs.js';
import { FREED, freed, givenBack } from './support/idle.js';
import { until } from './support/progress.js';
import { noPython, pythons } from './support/pythons.js';
import { ended, kill, start } from './support/run.js';
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
  test('gunicorn', { skip: gunicorn === undefined && 'gunicorn is not installed' }, async () => {
    const socketPath = tools.scratch('gunicorn.sock');
    const options = ['-w', '1', '-b', `unix:${socketPath}`, '--chdir', dirname(fixture('spike.py'))];
    const server = start(tools.native, [...onJemalloc, gunicorn ?? '', ...options, 'spike:application']);
    const outcome = ended(server);
    try {
      const answer = await until('gunicorn', async () => {
        const asked = request({ socketPath, path: '/' }).end();
        const [response] = await once(asked, 'response').catch(() => []);
        return response === undefined ? undefined : text(response);
      });
      await freed(FREED.exec(answer) ?? assert.fail(answer));
      server.kill('SIGTERM');
      assert.equal((await outcome).code, 0);
    } finally {
      kill(server);
    }
  });
});

describe("Node's cluster", { skip: cannotPreload }, () => {
  test('a worker', () =>
    givenBack(start(tools.native, [...onJemalloc, process.execPath, fixture('cluster.mjs')])));
});
