// The command `env`: what it prints for whom.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import * as dotenv from 'dotenv';
import { parse } from 'yaml';
import { activeBackend } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { run, succeed } from './support/run.js';
import { compiled } from './support/native.js';
import { cannotPreload, isGlibc, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

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

  /** What is hard to quote, as far as a file's name can have it. */
  const hard = `it's"x"\\\\%n\`y`;

  /** What the format prints for a folder with such a name, and what it is to come to. */
  async function elsewhere(format: string, { name = hard, option = 'bin_shards=1-160:16|161-256:4' } = {}) {
    const folder = tools.copyOfBinaries(name);
    const args = ['env', 'jemalloc', '--preset=none', `--set=${option}`, '--format'];
    // What this shell has set is not what the container or the unit will have.
    const env = { MALLOC_BACKEND_BINARY_DIR: folder, MALLOC_CONF: 'tcache:false' };
    const [{ code, stdout, stderr }, { stdout: json }] = await Promise.all([
      command([...args, format], { env }),
      command([...args, 'json'], { env }),
    ]);
    const expected = JSON.parse(json) as Record<string, string>;
    assert.equal(expected['LD_PRELOAD'], `${folder}/libmalloc_backend_jemalloc.so`);
    assert.ok(!JSON.stringify(expected).includes('tcache'), json);
    return { code, stdout, stderr, expected };
  }

  const lines = (expected: Record<string, string>, line: (name: string, value: string) => string) =>
    `${Object.entries(expected)
      .map(([name, value]) => line(name, value.replace(/[\\"]/g, '\\$&')))
      .join('\n')}\n`;

  test('docker: of the options alone, and quoted', async () => {
    const { stdout, expected } = await elsewhere('docker');
    assert.equal(
      stdout,
      lines(expected, (name, v) => `ENV ${name}="${v.replaceAll('$', '\\$')}"`),
    );
  });

  const analyze = tools.which('systemd-analyze');
  test('systemd: lines of a unit', async () => {
    const { stdout, expected } = await elsewhere('systemd');
    assert.equal(
      stdout,
      lines(expected, (name, v) => `Environment="${name}=${v.replaceAll('%', '%%')}"`),
    );
  });

  test(
    'systemd: systemd takes them',
    { skip: analyze === undefined && 'systemd is not installed' },
    async () => {
      const { stdout } = await elsewhere('systemd');
      const unit = (environment: string) =>
        tools.file('a.service', `[Service]\n${environment}ExecStart=/bin/true\n`, 0o644);
      const verified = await succeed(analyze ?? '', ['verify', '--man=no', unit(stdout)]);
      assert.equal(verified.stderr, '');
      // (That says so where it does not.)
      assert.match(
        (await run(analyze ?? '', ['verify', '--man=no', unit('Environment="A=%"x\n')])).stderr,
        /a\.service:2: /,
      );
    },
  );

  test('systemd-file: as a shell reads it', async () => {
    const { stdout, expected } = await elsewhere('systemd-file');
    for (const [name, value] of Object.entries(expected)) {
      const script = `unset LD_PRELOAD; ${stdout}\nprintf %s "$${name}"`;
      assert.equal((await succeed('sh', ['-c', script])).stdout, value, stdout);
    }
  });

  const generator = [
    '/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator',
    '/lib/systemd/user-environment-generators/30-systemd-environment-d-generator',
  ].find((file) => existsSync(file));
  test(
    'systemd-file: as systemd reads such files',
    { skip: generator === undefined && 'systemd is not installed' },
    async () => {
      const { stdout, expected } = await elsewhere('systemd-file');
      mkdirSync(tools.scratch('environment.d'), { recursive: true });
      tools.file('environment.d/it.conf', stdout, 0o644);
      const env = { XDG_CONFIG_HOME: tools.scratch('.') };
      const { stdout: printed } = await succeed(generator ?? '', [], { env });
      // It prints what a shell reads.
      for (const [name, value] of Object.entries(expected)) {
        const read = await succeed('sh', ['-c', `${printed}\nprintf %s "$${name}"`], { env: {} });
        assert.equal(read.stdout, value, printed);
      }
    },
  );

  test('dotenv: as its readers have it', async () => {
    for (const name of ['plain', 'a"b%c#d`e&f']) {
      const { stdout, expected } = await elsewhere('dotenv', { name });
      assert.deepEqual(dotenv.parse(stdout), expected, stdout);
      const file = tools.file('.env', stdout, 0o644);
      const script = 'process.stdout.write(JSON.stringify(process.env))';
      const node = await succeed(process.execPath, [`--env-file=${file}`, '-e', script], {
        env: { LD_PRELOAD: '' },
      });
      const shell = await succeed('sh', [
        '-c',
        `set -a; . "$0"; exec env -u LD_PRELOAD "$1" -e "$2"`,
        file,
        process.execPath,
        script,
      ]);
      const { LD_PRELOAD: _, ...others } = expected;
      for (const { stdout: seen } of [node, shell]) {
        const found = JSON.parse(seen) as Record<string, string>;
        for (const [name, value] of Object.entries(others)) assert.equal(found[name], value, name);
      }
    }
    // What they differ on.
    for (const name of [hard, "a'b", 'a\\nb', 'ä']) {
      const { code, stdout, stderr } = await elsewhere('dotenv', { name });
      assert.deepEqual([code, stdout], [2, ''], name);
      assert.match(stderr, /dotenv has no form of LD_PRELOAD=.*use another format/);
    }
  });

  test('compose: the environment of a service', async () => {
    const { stdout, expected } = await elsewhere('compose');
    const { environment } = parse(stdout) as { environment: Record<string, string> };
    assert.deepEqual(environment, expected);
  });

  test('k8s: env of a container', async () => {
    const { stdout, expected } = await elsewhere('k8s');
    const { env } = parse(stdout) as { env: { name: string; value: string }[] };
    assert.deepEqual(Object.fromEntries(env.map(({ name, value }) => [name, value])), expected);
  });

  const kubectl = tools.which('kubectl');
  test('k8s, as kubectl reads it', { skip: kubectl === undefined && 'no kubectl' }, async () => {
    const { stdout, expected } = await elsewhere('k8s');
    const indented = stdout.replace(/^/gm, '      ');
    const pod = `apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec:\n  containers:\n    - name: a\n      image: a\n${indented}`;
    const args = ['set', 'env', '--local', '--list', '-f', tools.file('pod.yaml', pod, 0o644)];
    const { stdout: listed } = await succeed(kubectl ?? '', args);
    for (const [name, value] of Object.entries(expected))
      assert.ok(listed.includes(`\n${name}=${value}\n`), listed);
  });

  test(
    'text alone where the format is text',
    { skip: !existsSync('/proc/self/fd') && 'there is no /proc' },
    async () => {
      const odd = tools.copyOfBinaries('text');
      const script = `folder="$2/$(printf 'a\\377')"; mv "$1" "$folder"; MALLOC_BACKEND_BINARY_DIR="$folder" exec "$0" env mimalloc --preset=none --format "$3"`;
      for (const [format, status] of [
        ['docker', 0],
        ['json', 2],
      ] as const) {
        const { code, stderr } = await run('sh', [
          '-c',
          script,
          tools.native,
          odd,
          tools.scratch('.'),
          format,
        ]);
        assert.equal(code, status, stderr);
        if (status === 2) assert.match(stderr, /is not UTF-8; use the format shell/);
        execFileSync('sh', ['-c', `mv "$0"/a?* "$1" 2>/dev/null; :`, tools.scratch('.'), odd]);
      }
    },
  );

  test('--if-supported: on another system nothing is set, and a line says so', async () => {
    const preload = ['--require', tools.file('macos.cjs', tools.ELSEWHERE), cli, 'env', 'mimalloc'];
    const refused = await run(process.execPath, preload);
    assert.deepEqual([refused.code, refused.stdout], [126, 'false\n']);
    assert.match(refused.stderr, /works on Linux only for now, not on darwin; with --if-supported/);
    for (const [format, expected] of [
      ['shell', ''],
      ['json', '{}\n'],
      ['k8s', 'env: []\n'],
      ['compose', 'environment: {}\n'],
    ] as const) {
      const { code, stdout, stderr } = await run(process.execPath, [
        ...preload,
        '--if-supported',
        '--format',
        format,
      ]);
      assert.deepEqual([code, stdout], [0, expected]);
      assert.match(stderr, /^malloc-backend: .*not on darwin; nothing is to be set \(--if-supported\)\n$/);
    }
    // Where it is supported it is as without.
    assert.deepEqual(
      await command(['env', 'mimalloc', '--if-supported']),
      await command(['env', 'mimalloc']),
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
    for (const format of ['docker', 'systemd', 'systemd-file', 'dotenv', 'compose', 'k8s', 'json'])
      assert.equal((await command(['env', 'rust', '--format', format])).stdout, '');
  });

  test('in each format, and nothing where nothing is to be changed', async () => {
    const forms: Record<string, RegExp> = {
      shell: /^export \w+='.*'$/,
      'systemd-file': /^\w+=".*"$/,
      dotenv: /^\w+=\S+$/,
      docker: /^ENV \w+=".*"$/,
      systemd: /^Environment="\w+=.*"$/,
    };
    for (const [format, line] of Object.entries(forms)) {
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
    for (const [format, empty] of [
      ['json', '{}'],
      ['compose', 'environment: {}'],
      ['k8s', 'env: []'],
    ] as const) {
      const { stdout } = await command(['env', 'default', '--preset', 'none', '--format', format]);
      assert.equal(stdout, `${empty}\n`);
    }
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
    // What stood beside the switch stands there alone again.
    const plugin = await compiled('plugin.so');
    assert.equal(
      (
        await command(['env', 'default', '--preset', 'none'], {
          env: { LD_PRELOAD: `${shim('jemalloc')}:${plugin}` },
        })
      ).stdout,
      `export LD_PRELOAD='${plugin}'\n`,
    );
  });

  test('of what this shell has set, nothing for what begins elsewhere', async () => {
    const plugin = await compiled('plugin.so');
    const env = {
      LD_PRELOAD: `${shim('jemalloc')}:${plugin}`,
      MALLOC_ARENA_MAX: '3',
    };
    const of = async (...words: string[]) =>
      JSON.parse((await command(['env', ...words, '--format', 'json'], { env })).stdout) as object;
    assert.deepEqual(await of('jemalloc', '--preset', 'none'), { LD_PRELOAD: shim('jemalloc') });
    if (isGlibc) {
      const restore = { MALLOC_BACKEND_RESTORE: 'MALLOC_ARENA_MAX|3' };
      const set = ['--preset', 'none', '--set', 'arena_max=3'];
      assert.deepEqual(await of('default', ...set), { MALLOC_ARENA_MAX: '3', ...restore });
    }
  });
});
