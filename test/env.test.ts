// The command `env`: what it prints for whom.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { activeBackend } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { run, succeed } from './support/run.js';
import { cannotPreload, shim } from './support/shims.js';

const { command, cli } = tools;
const bash = tools.which('bash');

describe('env', { skip: cannotPreload }, () => {
  const odd = `it's "x" $HOME \\ %n \`y\``;

  test('for a shell: to be evaluated, again and again, and taken back', async () => {
    const script = `before="$(env | sort)"
      for backend in mimalloc jemalloc snmalloc default jemalloc mimalloc; do
        preset=low-rss; [ $backend != snmalloc ] || preset=none
        eval "$("$0" "$1" env $backend --preset $preset --children inherit)"
        "$0" "$1" doctor --json | grep -m1 '"allocator"'
      done
      eval "$("$0" "$1" env default --preset none)"
      [ "$before" = "$(env | sort)" ] && echo as before`;
    const env = { MALLOC_CONF: 'narenas:5', ODD: odd };
    const { stdout, stderr } = await succeed('sh', ['-c', script, process.execPath, cli], { env });
    const found = [...stdout.matchAll(/"allocator": "(\w+)"/g)].map(([, name]) => name);
    const libc = activeBackend().allocator;
    assert.deepEqual(found, ['mimalloc', 'jemalloc', 'snmalloc', libc, 'jemalloc', 'mimalloc']);
    assert.match(stdout, /as before\n$/);
    assert.equal(stderr, '');
  });

  test('quotes what a user has set', async () => {
    const script =
      'eval "$("$0" "$1" env default --preset none --set arena_max=3)"; printf %s "$GLIBC_TUNABLES"';
    const GLIBC_TUNABLES = `glibc.malloc.arena_max=7:odd=${odd}`;
    const { stdout } = await succeed('sh', ['-c', script, process.execPath, cli], {
      env: { GLIBC_TUNABLES },
    });
    assert.equal(stdout, `${GLIBC_TUNABLES}:glibc.malloc.arena_max=3`);
  });

  test('for elsewhere: of the options alone, and quoted', async () => {
    const folder = tools.copyOfBinaries(`it's"x"\\%n\`y`);
    const of = async (format: string) =>
      (
        await command(
          ['env', 'jemalloc', '--preset=none', '--set=bin_shards=1-160:16|161-256:4', '--format', format],
          {
            // What this shell has set is not what the container or the unit will have.
            env: {
              MALLOC_BACKEND_BINARY_DIR: folder,
              MALLOC_CONF: 'tcache:false',
            },
          },
        )
      ).stdout;
    const expected = {
      LD_PRELOAD: `${folder}/libmalloc_backend_jemalloc.so`,
      MALLOC_BACKEND_JEMALLOC: ';bin_shards:1-160:16|161-256:4',
    };
    assert.deepEqual(JSON.parse(await of('json')), expected);
    const lines = (line: (name: string, value: string) => string) =>
      `${Object.entries(expected)
        .map(([name, value]) => line(name, value.replace(/[\\"]/g, '\\$&')))
        .join('\n')}\n`;
    assert.equal(
      await of('docker'),
      lines((name, v) => `ENV ${name}="${v.replaceAll('$', '\\$')}"`),
    );
    assert.equal(
      await of('systemd'),
      lines((name, v) => `Environment="${name}=${v.replaceAll('%', '%%')}"`),
    );
  });

  test('that fails goes no further, evaluated in either way', async () => {
    const missing = {
      MALLOC_BACKEND_BINARY_DIR: tools.copyOfBinaries('none', ['libmalloc_backend_jemalloc.so']),
    };
    const forms = [
      'eval "$("$@" env $WANTED)" && exec echo ran',
      // As documented: also where malloc-backend itself is not found.
      'set="$("$@" env $WANTED)" && eval "$set" && exec echo ran',
    ];
    const ours = [process.execPath, cli];
    for (const shell of ['sh', ...(bash === undefined ? [] : [bash])])
      for (const form of forms) {
        const evaluated = (WANTED: string, env: Record<string, string> = {}, words = ours) =>
          run(shell, ['-c', form, shell, ...words], { env: { WANTED, ...env } });
        assert.equal((await evaluated('mimalloc')).stdout, 'ran\n', form);
        for (const [wanted, env] of [
          ['tcmalloc', {}],
          ['rust', {}],
          ['jemalloc', missing],
          ['mimalloc --set nonsense', {}],
          ['mimalloc --format yaml', {}],
          ['mimalloc --set show_errors=json --set x=1', {}],
          ['', {}],
        ] as const) {
          const { code, stdout, stderr } = await evaluated(wanted, env);
          assert.deepEqual([code !== 0, stdout], [true, ''], `${shell}: ${form}: ${wanted}`);
          assert.match(stderr, /^malloc-backend: /);
        }
        if (form === forms[0]) continue;
        const notFound = await evaluated('mimalloc', {}, ['no-such-command']);
        assert.deepEqual([notFound.code, notFound.stdout], [127, '']);
      }
    for (const format of ['docker', 'systemd', 'json'])
      assert.equal((await command(['env', 'rust', '--format', format])).stdout, '');
  });

  test('in each format, and nothing where nothing is to be changed', async () => {
    const lines: Record<string, RegExp> = {
      shell: /^export \w+='.*'$/,
      docker: /^ENV \w+=".*"$/,
      systemd: /^Environment="\w+=.*"$/,
    };
    for (const [format, line] of Object.entries(lines)) {
      const { stdout, code } = await command([
        'env',
        'mimalloc',
        '--preset',
        'low-rss',
        '--children',
        'none',
        '--format',
        format,
      ]);
      assert.equal(code, 0);
      const printed = stdout.trimEnd().split('\n');
      assert.ok(printed.length >= 2, stdout);
      for (const each of printed) assert.match(each, line);
      assert.equal((await command(['env', 'default', '--preset', 'none', '--format', format])).stdout, '');
    }
    assert.equal((await command(['env', 'default', '--preset', 'none', '--format', 'json'])).stdout, '{}\n');
    // In a switched environment: what begins elsewhere is not.
    const env = { LD_PRELOAD: shim('jemalloc') };
    assert.equal(
      (await command(['env', 'default', '--preset', 'none', '--format', 'docker'], { env })).stdout,
      '',
    );
    assert.equal(
      (await command(['env', 'default', '--preset', 'none'], { env })).stdout,
      'unset LD_PRELOAD\n',
    );
    assert.match(
      (await command(['env', 'jemalloc', '--preset', 'none'], { env })).stdout,
      /^export LD_PRELOAD=/,
    );
    assert.equal((await command(['env', 'rust'])).code, 126);
  });
});
