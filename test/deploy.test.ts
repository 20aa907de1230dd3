// The recipes of docs/deploy.md that need nothing from a registry. Those that do: test/deploy, by npm run test:deploy.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as tools from './fixtures-ts/tools.js';
import { allOn, starter, tree } from './support/deploy.js';
import { run, succeed } from './support/run.js';
import { cannotPreload } from './support/shims.js';
import { describe, test } from './support/suite.js';

const missing = (program: string) => tools.which(program) === undefined && `${program} is not installed`;

describe('deploy', { skip: cannotPreload }, () => {
  const started = starter();

  /** The folder of the platform's package, as an image or a layer has it. */
  const opt = tools.copyOfBinaries('malloc-backend', []);
  const program = `${opt}/malloc-backend`;
  const noNode = { PATH: '/usr/bin:/bin' };

  test('Docker: the folder that is copied runs, and its HEALTHCHECK holds', async () => {
    const pid = started(program, ['run', 'jemalloc', '--', 'sleep', '1000'], { env: noNode });
    await allOn('jemalloc', pid, 0, '');
    const check = ['doctor', '--pid', `${pid}`, '--expect', 'jemalloc'];
    assert.equal((await run(program, check, { env: noNode })).code, 0);
    const other = started('sleep', ['1000']);
    assert.equal((await run(program, [...check.slice(0, 2), `${other}`, ...check.slice(3)])).code, 1);
  });

  test('systemd: a unit that starts the program', { skip: missing('systemd-analyze') }, async () => {
    const unit = tools.file(
      'api.service',
      `[Service]\nExecStart=${program} run jemalloc --preset low-rss -- ${process.execPath} /srv/server.js\n`,
      0o644,
    );
    const { stderr } = await succeed('systemd-analyze', ['verify', '--man=no', unit]);
    assert.equal(stderr, '');
    // (A program that is not there is said so.)
    const wrong = tools.file('b.service', `[Service]\nExecStart=${opt}/nothing\n`, 0o644);
    assert.match((await run('systemd-analyze', ['verify', '--man=no', wrong])).stderr, /nothing/);
  });

  test('Kubernetes: the container’s command, probe and env', { skip: missing('kubectl') }, async () => {
    const { stdout: env } = await succeed(program, ['env', 'jemalloc', '--format', 'k8s']);
    const pod = `apiVersion: v1
kind: Pod
metadata: { name: api }
spec:
  containers:
    - name: api
      image: api
      command: [/opt/malloc-backend/malloc-backend, run, jemalloc, --, node, server.js]
      startupProbe:
        exec: { command: [/opt/malloc-backend/malloc-backend, doctor, --pid, "1", --expect, jemalloc] }
${env.replace(/^(?=.)/gm, '      ')}`;
    const file = tools.file('pod.yaml', pod, 0o644);
    const { stdout } = await succeed('kubectl', ['set', 'env', '--local', '--list', '-f', file]);
    assert.ok(stdout.includes(`LD_PRELOAD=${opt}/libmalloc_backend_jemalloc.so`), stdout);
  });

  test('supervisord: the programs that it starts', { skip: missing('supervisord') }, async () => {
    const config = tools.file(
      'supervisord.conf',
      `[supervisord]
nodaemon=true
user=root
logfile=/dev/null
logfile_maxbytes=0
pidfile=${tools.scratch('supervisord.pid')}
[program:api]
command=${program} run mimalloc -- ${process.execPath} -e "setInterval(() => {}, 1e6)"
`,
      0o644,
    );
    const pid = started('supervisord', ['-c', config]);
    await tools.until('the program on mimalloc', () =>
      tree(pid)?.process.children.some(
        ({ program: file, malloc }) => file?.endsWith('/node') && malloc?.backend === 'mimalloc',
      ),
    );
  });

  test('Node’s cluster: the primary and its workers', async () => {
    const script = tools.file(
      'cluster.cjs',
      `const cluster = require('cluster');
      if (cluster.isPrimary) for (let i = 0; i < 2; i++) cluster.fork();
      else require('http').createServer().listen(0, '127.0.0.1');`,
    );
    const pid = started(program, ['run', 'snmalloc', '--', process.execPath, script]);
    await allOn('snmalloc', pid, 2, '/node');
  });

  test('gunicorn: the master and its workers', { skip: missing('gunicorn') }, async () => {
    tools.file('app.py', 'def app(environ, start):\n  start("200 OK", [])\n  return [b"x"]\n', 0o644);
    const port = await tools.freePort();
    const args = ['-w', '2', '-b', `127.0.0.1:${port}`, '--chdir', tools.scratch('.'), 'app:app'];
    const pid = started(program, ['run', 'jemalloc', '--', 'gunicorn', ...args]);
    await allOn('jemalloc', pid, 2, '');
  });

  test('a Lambda layer: what the runtime is wrapped in', async () => {
    // A layer lies in /opt; Lambda starts AWS_LAMBDA_EXEC_WRAPPER with the runtime's command behind it.
    const wrapper = tools.file(
      'lambda-wrapper',
      `#!/bin/sh\nexec "$(dirname "$0")/malloc-backend/malloc-backend" run jemalloc -- "$@"\n`,
    );
    const runtime = tools.file('index.mjs', `process.stdout.write(process.env.LD_PRELOAD ?? 'nothing')`);
    const { stdout } = await succeed(wrapper, [process.execPath, '--max-semi-space-size=16', runtime]);
    assert.equal(stdout, `${opt}/libmalloc_backend_jemalloc.so`);
    if (!existsSync('/usr/bin/zip')) return;
    // Whoever zips the layer keeps the program executable.
    execFileSync('zip', ['-qr', 'layer.zip', 'lambda-wrapper', 'malloc-backend'], {
      cwd: tools.scratch('.'),
    });
    const listed = await run('zipinfo', [tools.scratch('layer.zip')]);
    if (listed.code === 0) assert.match(listed.stdout, /^-rwxr-xr-x.*malloc-backend\/malloc-backend$/m);
  });
});
