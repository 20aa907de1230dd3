// The recipes of docs/deploy.md with programs from the registries of npm and PyPI, which are installed into target/deploy.

import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tools from '../fixtures-ts/tools.js';
import {
  LIBRARY,
  allOn,
  npmInstalled,
  pipInstalled,
  project,
  shell,
  starter,
  tree,
  withPath,
} from '../support/deploy.js';
import { recipe } from '../support/recipes.js';
import { run, succeed } from '../support/run.js';
import { cannotPreload } from '../support/shims.js';
import { afterAll, describe, test } from '../support/suite.js';

/** A server that says on which backend it is. */
const SERVER = `require('http').createServer((_, response) => response.end(${LIBRARY})).listen(process.env.PORT, '127.0.0.1');`;

describe('deploy', { skip: cannotPreload }, () => {
  const started = starter();
  const opt = tools.copyOfBinaries('malloc-backend');
  const path = withPath(opt);

  recipe('PM2', (take) => {
    const config = take('js');
    const daemon = take('sh');
    const { folder, why } = npmInstalled('pm2', ['pm2@7.0.4']);
    const env = { PM2_HOME: tools.scratch('pm2'), PM2_DISABLE_VERSION_CHECK: 'true' };
    const pm2 = join(folder, 'node_modules/pm2/bin/pm2');
    const cwd = project('ecosystem');
    symlinkSync(join(folder, 'node_modules/pm2'), join(cwd, 'node_modules/pm2'));
    tools.file('ecosystem/server.js', SERVER);
    interface App {
      pid: number;
      name: string;
      pm2_env: { status: string; restart_time: number; exec_mode: string };
    }

    async function apps(): Promise<App[]> {
      const { stdout } = await succeed(process.execPath, [pm2, 'jlist', '--silent'], { env });
      return JSON.parse(stdout.slice(stdout.indexOf('['))) as App[];
    }

    /** Starts the page's configuration, with what differs in this test. */
    async function start(name: string, PORT: string, others: Record<string, unknown>): Promise<App[]> {
      const text = `${config}\nObject.assign(module.exports.apps[0], ${JSON.stringify({ name, ...others })});`;
      const file = tools.file(`ecosystem/${name}.config.js`, text);
      await succeed(process.execPath, [pm2, 'start', file], { env: { ...env, PORT }, cwd });
      return (await apps()).filter((each) => each.name === name);
    }

    afterAll(async () => {
      if (why === false) await run(process.execPath, [pm2, 'kill'], { env });
    });

    const cases: [name: string, processes: number, others: Record<string, unknown>][] = [
      ['cluster mode', 2, {}],
      ['cluster mode by import', 2, { node_args: '--import malloc-backend/register' }],
      ['fork mode', 1, { exec_mode: 'fork', instances: 1 }],
      [
        'fork mode by import',
        1,
        { exec_mode: 'fork', instances: 1, node_args: '--import malloc-backend/register' },
      ],
    ];
    for (const [title, processes, others] of cases)
      test(title, { skip: why }, async () => {
        const PORT = `${await tools.freePort()}`;
        const name = title.replaceAll(' ', '-');
        const found = await start(name, PORT, others);
        assert.equal(found.length, processes);
        const answers = new Set<string>();
        const ask = () => fetch(`http://127.0.0.1:${PORT}`).then((response) => response.text());
        await tools.until('an answer', () => {
          void ask()
            .then((text) => answers.add(text))
            .catch(() => {});
          return answers.size > 0;
        });
        for (let n = 0; n < 10; n++) answers.add(await ask());
        assert.deepEqual([...answers], ['jemalloc']);
        const mode = processes === 1 ? 'fork_mode' : 'cluster_mode';
        for (const { pid, pm2_env } of (await apps()).filter((each) => each.name === name)) {
          assert.deepEqual([pm2_env.status, pm2_env.restart_time, pm2_env.exec_mode], ['online', 0, mode]);
          assert.equal(tree(pid)?.malloc.backend, 'jemalloc');
        }
        if (processes === 1) return;
        await succeed(process.execPath, [pm2, 'reload', name], { env });
        assert.equal(await ask(), 'jemalloc', 'after a reload without a gap');
      });

    test('cluster mode, LD_PRELOAD in env alone: no worker is switched', { skip: why }, async () => {
      const LD_PRELOAD = join(tools.binaries, 'libmalloc_backend_jemalloc.so');
      const others = { node_args: '', instances: 1, env: { LD_PRELOAD } };
      const [app] = await start('alone', `${await tools.freePort()}`, others);
      assert.equal(tree(app?.pid ?? 0)?.malloc.backend, 'default', 'docs/deploy.md says why');
    });

    test('pm2-runtime under run: the daemon and its workers', { skip: why }, async () => {
      const text = `${config}\nObject.assign(module.exports.apps[0], { node_args: '', env: {} });`;
      tools.file('ecosystem/ecosystem.config.js', text);
      const more = { PM2_HOME: tools.scratch('pm2-runtime'), PORT: `${await tools.freePort()}` };
      const pid = started('sh', shell(daemon), { env: { ...env, ...path, ...more }, cwd });
      await allOn('jemalloc', pid, 2, '/node');
    });
  });

  recipe('Jest and vitest', (take) => {
    const [jest = '', vitest = ''] = take('sh').trim().split('\n');
    const suite = `test('on it, in a forked process', () => {
      expect(${LIBRARY}).toBe('jemalloc');
      if (!process.env.THREADS) expect(typeof process.send).toBe('function');
    });`;

    test('Jest: the suites, in the processes that it forks', async (t) => {
      const { folder, why } = npmInstalled('jest', ['jest@30.5.2']);
      if (why !== false) return t.skip(why);
      mkdirSync(join(folder, 'suites'), { recursive: true });
      for (const name of ['a', 'b']) writeFileSync(join(folder, 'suites', `${name}.test.js`), suite);
      // Without a cache Jest does not know that the suites are short: it forks.
      const settings = { maxWorkers: 2, ci: true, rootDir: 'suites', cacheDirectory: tools.scratch('jest') };
      writeFileSync(join(folder, 'jest.config.json'), JSON.stringify(settings));
      const { stderr } = await succeed('sh', shell(jest), { cwd: folder, env: path });
      assert.match(stderr, /Tests: +2 passed/);
      const without = await run('sh', shell(jest.replace(/^.*? -- /, '')), { cwd: folder, env: path });
      assert.match(without.stderr, /Tests: +2 failed/);
    });

    test('vitest: the suites, in the processes that it forks', async (t) => {
      const { folder, why } = npmInstalled('vitest', ['vitest@5.1.2']);
      if (why !== false) return t.skip(why);
      const imports = `import { expect, test } from 'vitest';
        import { createRequire } from 'node:module';
        const require = createRequire(import.meta.url);`;
      for (const name of ['a', 'b']) writeFileSync(join(folder, `${name}.test.mjs`), `${imports}\n${suite}`);
      const threads = [shell(`${vitest} --pool threads`), { THREADS: '1' }] as const;
      for (const [words, more] of [[shell(vitest), {}] as const, threads]) {
        const { stdout } = await succeed('sh', words, { cwd: folder, env: { ...path, ...more } });
        assert.match(stdout, /Tests +.*2 passed/);
      }
    });
  });

  recipe('Next, standalone', (take) => {
    const dockerfile = take('dockerfile');

    test('the server of a standalone build', async (t) => {
      const { folder, why } = npmInstalled('next', ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1']);
      if (why !== false) return t.skip(why);
      mkdirSync(join(folder, 'pages/api'), { recursive: true });
      writeFileSync(
        join(folder, 'next.config.js'),
        `module.exports = { output: 'standalone', outputFileTracingRoot: __dirname }`,
      );
      writeFileSync(
        join(folder, 'pages/api/backend.js'),
        `import fs from 'fs'; export default (_, response) => response.end(${LIBRARY.replace(`require('fs')`, 'fs')});`,
      );
      writeFileSync(join(folder, 'pages/index.js'), 'export default () => null;');
      await succeed(process.execPath, ['node_modules/next/dist/bin/next', 'build'], {
        cwd: folder,
        env: { NEXT_TELEMETRY_DISABLED: '1' },
      });
      // As the lines of the Dockerfile would do it, in an image of one folder.
      const image = tools.scratch('image');
      const here: [of: RegExp, place: string][] = [
        [/^\/app\//, `${folder}/`],
        [/^\/opt\/malloc-backend$/, opt],
      ];
      for (const [, from = '', to = ''] of dockerfile.matchAll(/^COPY --from=build (\S+) (\S+)$/gm)) {
        const source = here.reduce((path, [of, place]) => path.replace(of, place), from);
        cpSync(source, to === './' ? join(image, 'app') : join(image, to), { recursive: true });
      }
      const command = JSON.parse(/^CMD (.*)$/m.exec(dockerfile)?.[1] ?? '') as string[];
      const [program = '', ...words] = command;
      const port = await tools.freePort();
      const pid = started(join(image, program), words, {
        cwd: join(image, 'app'),
        env: { ...path, PORT: `${port}`, HOSTNAME: '127.0.0.1' },
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
  });

  recipe('Celery', (take) => {
    const command = take('sh');

    test('the worker and the processes of its pool', async (t) => {
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
      const bin = join(folder, 'bin');
      const options = { cwd: tools.scratch('celery'), env: { ...withPath(opt, bin), C_FORCE_ROOT: '1' } };
      const pid = started('sh', shell(command), options);
      await succeed(join(bin, 'celery'), ['-A', 'tasks', 'call', 'tasks.look'], options);
      const found = await tools.until('the result', () => {
        try {
          return readFileSync(results, 'utf8');
        } catch {
          return undefined;
        }
      });
      assert.equal(found, 'jemalloc');
      await allOn('jemalloc', pid, 4, '');
    });
  });
});
