// The recipes of docs/deploy.md that need nothing from a registry, and what every recipe there must have. The recipes that
// install their tool: test/deploy, by npm run test:deploy.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import * as tools from './fixtures-ts/tools.js';
import {
  LIBRARY,
  OPT,
  allOn,
  missing,
  placed,
  project,
  shell,
  starter,
  tree,
  withPath,
} from './support/deploy.js';
import { MARKS, type Mark, type Recipe, recipe, recipes, recipesOf } from './support/recipes.js';
import { run, succeed } from './support/run.js';
import { cannotPreload, root } from './support/shims.js';
import { describe, test } from './support/suite.js';
import { systemd } from './support/systemd.js';

describe('each recipe of docs/deploy.md', () => {
  const files: Record<Mark, string[]> = {
    '¹': ['test/deploy.test.ts'],
    '²': readdirSync(join(root, 'test/deploy')).map((file) => `test/deploy/${file}`),
  };

  function isTested({ title }: Recipe, mark: Mark): boolean {
    const sources = files[mark].map((file) => readFileSync(join(root, file), 'utf8'));
    return sources.some((source) =>
      [`'`, `"`].some((quote) => source.includes(`recipe(${quote}${title}${quote}, (`)),
    );
  }

  const faults = (all: readonly Recipe[]): string[] =>
    all.flatMap((each) => {
      const { title, mark, text } = each;
      if (mark !== undefined)
        return isTested(each, mark) ? [] : [`${title}: ${MARKS[mark]} does not test it`];
      return /\bNot run here, because \w/.test(text) ? [] : [`${title}: no mark, and no reason`];
    });

  test('has a test, or says why not', () => assert.deepEqual(faults(recipes), []));

  test('a new recipe without a test is found', () => {
    const page =
      '# Page\n\n## Old ¹\n\nText.\n\n## New\n\n```sh\nnew\n```\n\n## Dear\n\nNot run here, because it costs.\n';
    assert.deepEqual(faults(recipesOf(page)), [
      'Old: npm test does not test it',
      'New: no mark, and no reason',
    ]);
  });
});

describe('deploy', { skip: cannotPreload }, () => {
  const started = starter();
  /** The folder of the platform's package, as the page copies it. */
  const opt = tools.copyOfBinaries('malloc-backend');
  const path = withPath(opt);
  const forever = 'setInterval(() => {}, 1e6);';

  recipe('systemd', (take) => {
    const units = { run: take('ini'), file: take('ini') };
    const command = take('sh');
    const environmentFile = tools.scratch('malloc-backend.env');
    const server = tools.scratch('server.js');
    const here = (unit: string, more: Record<string, string> = {}) =>
      placed(unit, { '/usr/bin/node': process.execPath, '/srv/server.js': server, ...more });
    const texts = {
      run: here(units.run, { [OPT]: opt }),
      file: here(units.file, { '/etc/malloc-backend.env': environmentFile }),
    };

    test('systemd-analyze verifies the units', { skip: missing('systemd-analyze') }, async () => {
      for (const text of Object.values(texts)) {
        const { stderr } = await succeed('systemd-analyze', [
          'verify',
          '--man=no',
          tools.file('api.service', text, 0o644),
        ]);
        assert.equal(stderr, '');
      }
      // (A program that is not there is said so.)
      const wrong = tools.file('b.service', texts.run.replace(opt, `${opt}/nothing`), 0o644);
      assert.match((await run('systemd-analyze', ['verify', '--man=no', wrong])).stderr, /nothing/);
    });

    test('systemd starts the units, and they are switched', async (t) => {
      tools.file('server.js', forever);
      await succeed('sh', [
        '-c',
        placed(command, { [OPT]: opt, '/etc/malloc-backend.env': environmentFile }),
      ]);
      const manager = await systemd();
      if (typeof manager === 'string') return t.skip(manager);
      try {
        const start = (name: string, text: string) => {
          manager.unit(`${name}.service`, text);
          return manager.started(name);
        };
        await allOn('jemalloc', await start('run', texts.run), 0, '');
        const pid = await start('file', texts.file);
        await allOn('jemalloc', pid, 0, '');
        assert.equal(tree(pid)?.process.preset, 'low-rss');
        // The file makes the difference.
        const without = await start('without', texts.file.replace(/^EnvironmentFile=.*\n/m, ''));
        assert.equal(tree(without)?.malloc.backend, 'default');
        await succeed('sh', [
          '-c',
          `! "$0" doctor --pid ${without} --expect jemalloc`,
          `${opt}/malloc-backend`,
        ]);
      } finally {
        await manager.stop();
      }
    });
  });

  recipe('supervisord', (take) => {
    const section = take('ini');

    test('the program that it starts', { skip: missing('supervisord') }, async () => {
      const server = tools.file('supervised.js', forever);
      const config = tools.file(
        'supervisord.conf',
        `[supervisord]
nodaemon=true
${process.getuid?.() === 0 ? 'user=root' : ''}
logfile=/dev/null
logfile_maxbytes=0
pidfile=${tools.scratch('supervisord.pid')}
${placed(section, { [OPT]: opt, '/srv/server.js': server })}`,
        0o644,
      );
      const pid = started('supervisord', ['-c', config], { env: path });
      const program = await tools.until('the program on jemalloc', () =>
        tree(pid)?.process.children.find(
          ({ program: file, malloc }) => file?.endsWith('/node') && malloc?.backend === 'jemalloc',
        ),
      );
      // The program gets the signal that supervisord sends.
      process.kill(pid);
      await tools.until('its end', () => !existsSync(`/proc/${program.pid}`));
    });
  });

  recipe("Node's cluster", (take) => {
    const command = take('sh');

    test('the primary and its workers', async () => {
      tools.file(
        'cluster.js',
        `const cluster = require('cluster');
        if (cluster.isPrimary) for (let i = 0; i < 2; i++) cluster.fork();
        else require('http').createServer().listen(0, '127.0.0.1');`,
      );
      const pid = started('sh', shell(command), { env: path, cwd: tools.scratch('.') });
      await allOn('jemalloc', pid, 2, '/node');
    });
  });

  recipe('gunicorn', (take) => {
    const command = take('sh');

    test('the master and its workers', { skip: missing('gunicorn') }, async () => {
      tools.file('app.py', 'def app(environ, start):\n  start("200 OK", [])\n  return [b"x"]\n', 0o644);
      const GUNICORN_CMD_ARGS = `-b 127.0.0.1:${await tools.freePort()}`;
      const pid = started('sh', shell(command), {
        env: { ...path, GUNICORN_CMD_ARGS },
        cwd: tools.scratch('.'),
      });
      await allOn('jemalloc', pid, 4, '');
    });
  });

  recipe('`npm start` on every machine', (take) => {
    const manifest = take('json');

    test('switches on Linux, and goes on elsewhere', { skip: missing('npm') }, async () => {
      const cwd = project('start');
      mkdirSync(join(cwd, 'node_modules/.bin'));
      symlinkSync(tools.cli, join(cwd, 'node_modules/.bin/malloc-backend'));
      tools.file('start/package.json', manifest, 0o644);
      tools.file('start/server.js', `console.log('on', ${LIBRARY});`);
      const here = await succeed('npm', ['start'], { cwd, env: path });
      assert.match(here.stdout, /^on jemalloc$/m);
      const elsewhere = tools.file('start/elsewhere.cjs', tools.ELSEWHERE);
      const mac = await succeed('npm', ['start'], {
        cwd,
        env: { ...path, NODE_OPTIONS: `--require ${elsewhere}` },
      });
      assert.match(mac.stdout, /^on none$/m);
      assert.match(mac.stderr, /darwin/);
    });
  });
});
