// malloc-backend/register: Node starts again in place, as the same process, with everything that it was given.

import assert from 'node:assert/strict';
import { fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { state } from './fixtures-ts/registered.js';
import * as tools from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { type Options, ended, run, start, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, notGlibc, root, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

type State = ReturnType<typeof state>;
const app = join(root, 'dist', 'test', 'fixtures-ts', 'registered.js');
const own = join(root, 'dist', 'test', 'fixtures-ts', 'child.js');
const FORMS = [`--import=${tools.register}`, `--require=${tools.register}`];
const IMPORT = FORMS[0] ?? '';
const none = { MALLOC_BACKEND_PRESET: 'none' };
const on = (backend: string, more: Record<string, string> = {}) => ({ MALLOC_BACKEND: backend, ...more });

/** Runs Node with `register`, and again without, for what must be the same. */
async function both(args: string[], options: Options & { env: Record<string, string> }, form = IMPORT) {
  const [registered, plain] = await Promise.all([
    run(process.execPath, [form, ...args], options),
    run(process.execPath, args, options),
  ]);
  return { registered, plain };
}

const library = `require('fs').readFileSync('/proc/self/maps', 'utf8').match(/libmalloc_backend_[a-z]+/)?.[0]`;

describe('register', { skip: cannotPreload }, () => {
  for (const backend of SWITCHING)
    for (const form of FORMS)
      test(`switches to ${backend}, ${form.split('=')[0]}`, async () => {
        const { registered, plain } = await both([app, 'a b', '--c', ''], { env: on(backend) }, form);
        assert.deepEqual([registered.code, registered.stderr], [0, '']);
        const { pid, library: found, preload, execArgv, ...others } = JSON.parse(registered.stdout) as State;
        const {
          pid: _pid,
          library: _library,
          preload: _preload,
          execArgv: _args,
          ...expected
        } = JSON.parse(plain.stdout) as State;
        assert.deepEqual(others, expected);
        assert.equal(found, `libmalloc_backend_${backend}`);
        assert.equal(preload, shim(backend));
        assert.deepEqual(execArgv, [form]);
        assert.ok(pid > 1);
      });

  test('is the same process', async () => {
    for (const form of FORMS) {
      const child = start(process.execPath, [form, app], { env: on('mimalloc') });
      child.stdin?.end();
      const { stdout } = await ended(child);
      const { pid, library: found } = JSON.parse(stdout) as State;
      assert.deepEqual([pid, found], [child.pid, 'libmalloc_backend_mimalloc']);
    }
  });

  test('hands on standard input, output and error, exit codes and signals', async () => {
    const input = 'x'.repeat(300_000);
    const program = `process.stdin.pipe(process.stdout).on('finish', () => {});
      process.stdin.on('end', () => { console.error('end'); process.exitCode = 7; });`;
    const { registered, plain } = await both(['-e', program], { env: on('jemalloc'), input });
    assert.deepEqual(registered, plain);
    assert.deepEqual(
      [registered.code, registered.stdout.length, registered.stderr],
      [7, input.length, 'end\n'],
    );
    const killed = await run(process.execPath, [IMPORT, '-e', "process.kill(process.pid, 'SIGTERM')"], {
      env: on('jemalloc'),
    });
    assert.equal(killed.signal, 'SIGTERM');
  });

  test('takes every way to give Node a program', async () => {
    const told = `console.log(JSON.stringify([${library}, process.argv.slice(1), process.execArgv.filter((arg) => !arg.includes('register'))]))`;
    mkdirSync(tools.scratch('ways'), { recursive: true });
    tools.file('ways/plain.cjs', told);
    const cwd = tools.scratch('ways');
    const ways: [string[], string?][] = [
      [['-e', told]],
      [['-e', told, 'a', '--b']],
      [['-e', told, '--', '--b', 'a']],
      [['--eval', told, '--', '--', '-p']],
      [['-p', told]],
      [['--input-type=commonjs', '-e', told]],
      [[], told],
      [['-'], told],
      [['-', '-x', '--y'], told],
      [['--no-warnings', '--max-old-space-size=200', 'plain.cjs', '--version']],
      [['./plain.cjs', '--', '-x']],
      [['--', 'plain.cjs', '-x']],
      [['--stack-size=900', 'plain.cjs']],
      [['-r', './plain.cjs', 'plain.cjs']],
    ];
    for (const [args, input] of ways) {
      const options = { env: on('mimalloc'), cwd, ...(input === undefined ? {} : { input }) };
      // Before --import Node reads the program from standard input (see below) and runs what is required.
      const form = input === undefined && args[0] !== '-r' ? IMPORT : FORMS[1];
      const { registered, plain } = await both(args, options, form);
      assert.deepEqual([registered.code, registered.stderr], [plain.code, plain.stderr], args.join(' '));
      assert.match(registered.stdout, /"libmalloc_backend_mimalloc"/, args.join(' '));
      assert.equal(
        registered.stdout.replaceAll('"libmalloc_backend_mimalloc"', 'null'),
        plain.stdout,
        args.join(' '),
      );
    }
  });

  test('from NODE_OPTIONS, and with bytes that are no text', async () => {
    const env = on('snmalloc', { NODE_OPTIONS: IMPORT });
    const { stdout } = await succeed(process.execPath, [app], { env });
    const { library: found, execArgv } = JSON.parse(stdout) as State;
    assert.deepEqual([found, execArgv], ['libmalloc_backend_snmalloc', []]);
    const bytes = `ODD="$(printf 'c\\377')" exec "$0" -e "$1" "$(printf 'a\\377')" "$(printf 'a\\376')"`;
    const program =
      "process.stdout.write(fs.readFileSync('/proc/self/cmdline', 'hex') + ' ' + fs.readFileSync('/proc/self/environ', 'hex'))";
    const odd = await succeed('sh', ['-c', bytes, process.execPath, program], { env });
    assert.match(odd.stdout, /0061ff0061fe00 /);
    assert.match(odd.stdout, new RegExp(Buffer.from('ODD=c').toString('hex') + 'ff00'));
  });

  test('where a variable is there twice', async () => {
    // Node reads the first, and the dynamic loader the last.
    const env = [`LD_PRELOAD=${shim('mimalloc')}`, 'LD_PRELOAD=', 'MALLOC_BACKEND=mimalloc'];
    const twice = tools.cc(
      'twice',
      `#include <unistd.h>
       int main(int n, char **words) {
         char *env[] = {${env.map((each) => JSON.stringify(each)).join()}, 0};
         return execve(words[1], words + 1, env);
       }`,
    );
    const seen = (args: string[]) => succeed(twice, [process.execPath, ...args, '-p', library]);
    assert.equal((await seen([])).stdout, 'undefined\n');
    for (const form of FORMS) assert.equal((await seen([form])).stdout, 'libmalloc_backend_mimalloc\n');
  });

  test('leaves workers alone', async () => {
    for (const env of [on('mimalloc'), on('mimalloc', { NODE_OPTIONS: IMPORT })]) {
      const args = 'NODE_OPTIONS' in env ? [] : [IMPORT];
      const { stdout } = await succeed(process.execPath, [...args, app, 'workers'], { env });
      const { workers } = JSON.parse(stdout) as { workers: number[] };
      assert.deepEqual(workers, [0, 0, 0]);
    }
  });

  test('does not ask for the port of the inspector twice', async () => {
    const program = `console.log(require('inspector').url(), ${library})`;
    const outcome = await succeed(process.execPath, ['--inspect=0', IMPORT, '-e', program], {
      env: on('mimalloc'),
    });
    assert.match(outcome.stdout, /^ws:\/\/127\.0\.0\.1:\d+\/\S+ libmalloc_backend_mimalloc\n$/);
    // A port of its own, which the first start had open.
    const port = /:(\d+)\//.exec(outcome.stdout)?.[1] ?? '';
    const fixed = await succeed(process.execPath, [`--inspect=${port}`, IMPORT, '-e', program], {
      env: on('mimalloc'),
    });
    assert.match(fixed.stdout, new RegExp(`:${port}/`));
    assert.doesNotMatch(fixed.stderr, /failed|in use/);
  });

  test('default: Node starts again only for the options of a preset', async () => {
    const { stdout } = await succeed(process.execPath, [IMPORT, app], { env: on('default', none) });
    assert.equal((JSON.parse(stdout) as State).library, 'none');
    const tuned = await succeed(process.execPath, [IMPORT, '-p', 'process.env.MALLOC_ARENA_MAX'], {
      env: on('default', { MALLOC_BACKEND_PRESET: 'low-rss' }),
    });
    assert.match(tuned.stdout, /^(\d+|undefined)\n$/);
  });

  const traced = ['-f', '-e', 'trace=execve', '-o', '/dev/stderr'];
  // A container may not allow to trace.
  const cannotTrace =
    spawnSync('strace', [...traced, 'true']).status !== 0 && 'strace(1) is not there or not allowed';
  test('starts Node again once, and for default not at all', { skip: cannotTrace }, async () => {
    const starts = async (env: Record<string, string>) => {
      const { stderr } = await succeed('strace', [...traced, process.execPath, IMPORT, app], { env });
      return stderr.match(/execve\(.* = 0/g)?.length;
    };
    assert.equal(await starts(on('default', none)), 1);
    assert.equal(await starts(on('mimalloc')), 2);
  });
});

describe('register does nothing', { skip: cannotPreload }, () => {
  test('where the process runs on the backend already', async () => {
    for (const backend of SWITCHING) {
      // Were it to start Node again, the variable that it leaves would be there.
      const program = 'process.stdout.write(String(process.env.MALLOC_BACKEND_REGISTERED))';
      const args = [tools.cli, 'run', backend, '--', process.execPath, IMPORT, '-e', program];
      const { stdout } = await succeed(process.execPath, args, { env: on(backend) });
      assert.equal(stdout, 'undefined');
      const { stdout: other } = await succeed(process.execPath, args, { env: on('default', none) });
      assert.match(other, /^\d+:\d+:inherit:default$/, 'from one backend to another it switches');
    }
  });

  test('in a worker of a process that was started without it', async () => {
    const worker = `{ eval: true, execArgv: [${JSON.stringify(IMPORT)}], env: { ...process.env, MALLOC_BACKEND: 'mimalloc' } }`;
    const program = `new (require('worker_threads').Worker)("console.log('worker')", ${worker}).on('exit', (code) => console.log(code, ${library}))`;
    const { stdout } = await succeed(process.execPath, ['-e', program]);
    assert.equal(stdout, 'worker\n0 undefined\n');
  });

  test('in the children of a process that wanted them left alone', async () => {
    for (const [children, expected] of [
      ['none', undefined],
      ['inherit', 'libmalloc_backend_mimalloc'],
    ] as const) {
      const env = on('mimalloc', { NODE_OPTIONS: IMPORT, MALLOC_BACKEND_CHILDREN: children });
      const child = `console.log(${library}, process.env.LD_PRELOAD, process.env.MALLOC_BACKEND_MIMALLOC)`;
      const program = `console.log(${library}); require('child_process').execFileSync(process.execPath, ['-e', ${JSON.stringify(child)}], { stdio: 'inherit' })`;
      const { stdout } = await succeed(process.execPath, ['-e', program], { env });
      const [parent, found = ''] = stdout.split('\n');
      assert.equal(parent, 'libmalloc_backend_mimalloc');
      assert.ok(found.startsWith(`${expected} `), found);
      if (children === 'none') assert.equal(found, 'undefined undefined undefined');
    }
    // One that is given a wish of its own has it granted.
    for (const own of [{ MALLOC_BACKEND: 'jemalloc' }, { MALLOC_BACKEND_CHILDREN: 'inherit' }]) {
      const env = on('mimalloc', { NODE_OPTIONS: IMPORT, MALLOC_BACKEND_CHILDREN: 'none' });
      const options = `{ stdio: 'inherit', env: { ...process.env, ...${JSON.stringify(own)} } }`;
      const program = `require('child_process').execFileSync(process.execPath, ['-p', ${JSON.stringify(library)}], ${options})`;
      const { stdout } = await succeed(process.execPath, ['-e', program], { env });
      assert.equal(stdout, `libmalloc_backend_${own.MALLOC_BACKEND ?? 'mimalloc'}\n`);
    }
  });
});

describe('register refuses', { skip: cannotPreload }, () => {
  const refused = async (env: Record<string, string>, code: string, pattern: RegExp, form = IMPORT) => {
    const outcome = await run(process.execPath, [form, '-e', "console.log('began')"], { env });
    assert.deepEqual([outcome.code, outcome.stdout], [1, ''], outcome.stderr);
    assert.match(outcome.stderr, pattern);
    assert.ok(outcome.stderr.includes(code), outcome.stderr);
  };

  test('to begin without a backend, or with what it does not know', async () => {
    for (const form of FORMS) {
      await refused({}, 'ERR_INVALID_ARGUMENT', /MALLOC_BACKEND is not set/, form);
      await refused(on(''), 'ERR_INVALID_ARGUMENT', /MALLOC_BACKEND is not set/, form);
      await refused(on('tcmalloc'), 'ERR_UNKNOWN_BACKEND', /"tcmalloc".*default, jemalloc, mimalloc/, form);
    }
    await refused(on('rust'), 'ERR_BACKEND_UNAVAILABLE', /uses malloc/);
    await refused(on('jemalloc', { MALLOC_BACKEND_PRESET: 'fast' }), 'ERR_UNKNOWN_PRESET', /"fast"/);
    await refused(on('jemalloc', { MALLOC_BACKEND_CHILDREN: 'some' }), 'ERR_INVALID_ARGUMENT', /children/);
    const missing = tools.copyOfBinaries('missing', ['libmalloc_backend_jemalloc.so']);
    await refused(
      on('jemalloc', { MALLOC_BACKEND_BINARY_DIR: missing }),
      'ERR_SHIM_MISSING',
      /does not exist/,
    );
  });

  test('where Node loads no addon, or may not read: with the remedy', async () => {
    const [major = 0] = process.versions.node.split('.').map(Number);
    const model = major >= 24 ? '--permission' : '--experimental-permission';
    const own = [`--allow-fs-read=${realpathSync(root)}/`];
    const elsewhere = tools.copyOfBinaries('unreadable');
    const cases: [string[], RegExp, string?][] = [
      [
        ['--no-addons'],
        /Node may not load addons here.*omit --no-addons, or start it with "malloc-backend run/,
      ],
      [[model, '--allow-fs-read=*'], /Node may not load addons here.*allow addons \(--allow-addons\)/],
      [
        [model, '--allow-addons', ...own],
        /does not let this process read \/proc\/self; allow it \(--allow-fs-read/,
      ],
      [
        [model, '--allow-addons', `--allow-fs-read=${realpathSync(root)}/dist/`],
        /does not let this process read @malloc-backend\/\S+; allow it/,
      ],
      [
        [model, '--allow-addons', ...own],
        new RegExp(`does not let this process read ${elsewhere}; allow it`),
        elsewhere,
      ],
    ];
    for (const [options, message, folder] of cases)
      for (const form of FORMS) {
        const words = [...options, form, '-e', "console.log('began')"];
        const env = on('mimalloc', folder === undefined ? {} : { MALLOC_BACKEND_BINARY_DIR: folder });
        const { code, stdout, stderr } = await run(process.execPath, words, { env });
        assert.deepEqual([code, stdout], [1, ''], stderr);
        assert.match(stderr, message);
        assert.match(stderr, /MallocBackendError.*[^]*code: 'ERR_NOT_PERMITTED'/);
      }
    // Where it may, it switches; and by the command it needs no right.
    const allowed = [model, '--allow-addons', '--allow-fs-read=*', IMPORT, '-p', library];
    assert.match(
      (await run(process.execPath, allowed, { env: on('mimalloc') })).stdout,
      /^libmalloc_backend_mimalloc$/m,
    );
    const look = 'process.env.LD_PRELOAD';
    const { stdout } = await succeed(tools.native, [
      'run',
      'mimalloc',
      '--',
      process.execPath,
      model,
      '-p',
      look,
    ]);
    assert.equal(stdout, `${shim('mimalloc')}\n`);
  });

  test('without /proc', { skip: tools.unshares('-m') }, async () => {
    const masked = ['-m', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh', process.execPath];
    for (const form of FORMS) {
      const { code, stdout, stderr } = await run('unshare', [...masked, form, '-e', "console.log('began')"], {
        env: on('mimalloc'),
      });
      assert.deepEqual([code, stdout], [1, ''], stderr);
      assert.match(
        stderr,
        /MallocBackendError: there is no \/proc.*mount \/proc.*or start Node with "malloc-backend run/,
      );
      assert.match(stderr, /code: 'ERR_CANNOT_SWITCH'/);
    }
  });

  test('to go on, or round, where the switch had no effect', async () => {
    const folder = tools.copyOfBinaries('no-library', ['libmalloc_backend_mimalloc.so']);
    tools.ignoredLibrary('no-library/libmalloc_backend_mimalloc.so');
    for (const form of FORMS)
      await refused(
        on('mimalloc', { MALLOC_BACKEND_BINARY_DIR: folder }),
        'ERR_NOT_APPLIED',
        /restarted for mimalloc, but still uses the malloc of/,
        form,
      );
    // The probe is ignored as well: that libc serves is seen all the same.
    tools.ignoredLibrary('no-library/libmalloc_backend_default.so');
    const env = on('default', { MALLOC_BACKEND_BINARY_DIR: folder, ...none });
    assert.equal((await run(process.execPath, [IMPORT, '-p', '1'], { env })).stdout, '1\n');
  });

  test('what --import finds read already, and --require does not', async () => {
    for (const args of [[], ['-'], ['-', 'a'], ['-p']]) {
      const options = { env: on('mimalloc'), input: "console.log('began')" };
      const { code, stdout, stderr } = await run(process.execPath, [IMPORT, ...args], options);
      assert.deepEqual([code, stdout], [1, ''], args.join(' '));
      assert.match(
        stderr,
        /the program from standard input before --import.*--require malloc-backend\/register/,
      );
      const required = await succeed(process.execPath, [FORMS[1] ?? '', ...args], options);
      assert.match(required.stdout, /^began\n/);
    }
  });

  test('only what it did itself: a mark of another process, of the same number or the same age, is none', async () => {
    const mark = `read -r line < /proc/$$/stat; set -- $line; shift 21; export MALLOC_BACKEND_REGISTERED=`;
    for (const stale of ['$$:1:inherit', '1:$1:inherit']) {
      const script = `${mark}${stale}; exec "$0" ${IMPORT} -p "${library.replaceAll('$', '\\$')}"`;
      const { stdout } = await succeed('sh', ['-c', script, process.execPath], { env: on('mimalloc') });
      assert.equal(stdout, 'libmalloc_backend_mimalloc\n');
    }
    const own = `${mark}$$:$1:inherit; exec "$0" ${IMPORT} -p 1`;
    const refusal = await run('sh', ['-c', own, process.execPath], { env: on('mimalloc') });
    assert.match(refusal.stderr, /ERR_NOT_APPLIED/);
  });
});

test('register leaves another allocator that is preloaded out', { skip: notGlibc }, async () => {
  const foreign = tools.foreignLibrary();
  for (const backend of ['default', 'mimalloc'] as const) {
    const { stdout, stderr } = await succeed(process.execPath, [IMPORT, app], {
      env: on(backend, { LD_PRELOAD: foreign }),
    });
    const { preload } = JSON.parse(stdout) as State;
    assert.equal(preload ?? '', backend === 'default' ? '' : shim(backend));
    assert.match(
      stderr,
      new RegExp(`^malloc-backend: LD_PRELOAD names another allocator, ${foreign};.*\\n$`),
    );
  }
});

describe('register on another system', () => {
  const elsewhere = (env: Record<string, string>, form = IMPORT) =>
    run(
      process.execPath,
      ['--require', tools.file('macos.cjs', tools.ELSEWHERE), form, '-e', "console.log('began')"],
      {
        env,
      },
    );

  test('refuses, unless it may leave the switch out: then it says so', async () => {
    for (const form of FORMS) {
      const refused = await elsewhere(on('mimalloc'), form);
      assert.deepEqual([refused.code, refused.stdout], [1, '']);
      assert.match(
        refused.stderr,
        /not on darwin; with MALLOC_BACKEND_IF_SUPPORTED=1, the program runs here without a/,
      );
      const left = await elsewhere(on('mimalloc', { MALLOC_BACKEND_IF_SUPPORTED: '1' }), form);
      assert.deepEqual([left.code, left.stdout], [0, 'began\n']);
      assert.match(
        left.stderr,
        /^malloc-backend: .* not on darwin; the program runs without a switch \(MALLOC_.*=1\)\n$/,
      );
    }
    // What is wrong everywhere is wrong there.
    for (const wrong of [
      { MALLOC_BACKEND: '' },
      { MALLOC_BACKEND: 'tcmalloc' },
      { MALLOC_BACKEND_IF_SUPPORTED: 'yes' },
    ])
      assert.equal((await elsewhere(on('mimalloc', { MALLOC_BACKEND_IF_SUPPORTED: '1', ...wrong }))).code, 1);
  });

  test('where there is a switch it changes nothing', { skip: cannotPreload }, async () => {
    const env = on('mimalloc', { MALLOC_BACKEND_IF_SUPPORTED: '1' });
    const { stdout, stderr } = await succeed(process.execPath, [IMPORT, '-p', library], { env });
    assert.deepEqual([stdout, stderr], ['libmalloc_backend_mimalloc\n', '']);
    const missing = {
      MALLOC_BACKEND_BINARY_DIR: tools.copyOfBinaries('gone', ['libmalloc_backend_mimalloc.so']),
    };
    const refused = await run(process.execPath, [IMPORT, '-p', '1'], { env: { ...env, ...missing } });
    assert.match(refused.stderr, /ERR_SHIM_MISSING/);
  });
});

describe('what runs before register', { skip: cannotPreload }, () => {
  test('runs twice, which is said', async () => {
    const early = tools.file('early.cjs', "console.log('early')");
    const late = tools.file('late.cjs', "console.log('late')");
    const [imported = '', required = ''] = FORMS;
    const cases: [words: string[], options: string, twice: boolean][] = [
      [[`--import=${early}`, imported], '', true],
      [['--import', `file://${early}`, imported], '', true],
      [['--require', early, imported], '', true],
      [[imported, '-r', early], '', true],
      [[imported], `--require "${early}"`, true],
      [[required], `--require ${early}`, true],
      [[required, '-r', early], '', false],
      [[required, `--import=${early}`], '', false],
      [[imported, `--import=${early}`], '', false],
      [[`--import=${early}`], required, false],
    ];
    for (const [words, NODE_OPTIONS, twice] of cases) {
      const env = on('mimalloc', { NODE_OPTIONS });
      const { stdout, stderr } = await succeed(process.execPath, [...words, late], { env });
      const name = `${NODE_OPTIONS} ${words.join(' ')}`;
      assert.equal(stdout, `${twice ? 'early\n' : ''}early\nlate\n`, name);
      if (!twice) assert.equal(stderr, '', name);
      else
        assert.match(
          stderr,
          /^malloc-backend: Node restarts for .* runs (file:\/\/)?\/.*early.cjs twice; to avoid this, name .* first/,
        );
    }
  });

  test('PM2’s cluster mode hands env over in one variable', async () => {
    const given = {
      MALLOC_BACKEND: 'mimalloc',
      MALLOC_BACKEND_PRESET: 'none',
      MIMALLOC_PURGE_DELAY: 7,
      env: {},
    };
    for (const form of FORMS) {
      const look = `${library} + process.env.MIMALLOC_PURGE_DELAY + process.env.MALLOC_BACKEND`;
      const { stdout } = await succeed(process.execPath, [form, '-p', look], {
        env: { pm2_env: JSON.stringify(given) },
      });
      // (The last PM2 would set now.)
      assert.equal(stdout, 'libmalloc_backend_mimalloc7mimalloc\n');
    }
    const other = await succeed(process.execPath, [IMPORT, '-p', library], {
      env: on('mimalloc', { pm2_env: 'text' }),
    });
    assert.equal(other.stdout, 'libmalloc_backend_mimalloc\n');
  });
});

test('register closes an inspector that another module has opened', { skip: cannotPreload }, async () => {
  const port = await tools.freePort();
  const opener = tools.file('opens.cjs', `require('inspector').open(${port}, '127.0.0.1')`);
  const { stderr } = await succeed(process.execPath, ['--require', opener, IMPORT, '-e', '0'], {
    env: on('mimalloc'),
  });
  assert.equal(stderr.match(/Debugger listening/g)?.length, 2, stderr);
});

describe('with a parent that listens', { skip: cannotPreload }, () => {
  for (const form of FORMS)
    test(`fork, ${form.split('=')[0]}`, async () => {
      for (const serialization of ['json', 'advanced'] as const) {
        const env = environment(on('mimalloc'));
        const child = tools.watched(fork(own, { execArgv: [form], env, serialization, silent: true }));
        const stdout = text(child.stdout ?? assert.fail());
        const stderr = text(child.stderr ?? assert.fail());
        // Its first word on standard output comes from the program: by then Node has started twice.
        await once(child.stdout ?? assert.fail(), 'data');
        const maps = readFileSync(`/proc/${child.pid}/maps`, 'utf8');
        assert.match(maps, /libmalloc_backend_mimalloc/);
        const message = serialization === 'json' ? { a: [1, null] } : { a: new Map([[1n, new Date(0)]]) };
        child.send(message);
        assert.deepEqual((await once(child, 'message'))[0], message);
        child.send('end');
        assert.deepEqual(await once(child, 'close'), [0, null]);
        assert.equal(await stderr, '');
        assert.match(await stdout, /"execArgv":\["--/);
      }
    });

  test('messages that were sent before the program began are read by it, or it does not begin', async () => {
    for (const form of FORMS) {
      const child = tools.watched(
        fork(own, { execArgv: [form], env: environment(on('mimalloc')), silent: true }),
      );
      child.stdout?.resume();
      const stderr = text(child.stderr ?? assert.fail());
      child.on('error', () => {}); // a message that is on its way when the child ends
      for (let n = 0; n < 20; n++) child.send({ n, text: 'x'.repeat(500) });
      const replies: unknown[] = [];
      child.on('message', ({ n }: { n: number }) => {
        if (replies.push(n) === 20) child.send('end');
      });
      const [code] = (await once(child, 'exit')) as [number];
      // With --import the first Node may have read them; with --require it never has.
      if (form === IMPORT && code === 1) {
        assert.match(await stderr, /messages of its parent before --import/);
        assert.deepEqual(replies, []);
        continue;
      }
      assert.equal(code, 0, await stderr);
      assert.deepEqual(replies, [...Array(20).keys()]);
    }
  });

  test('cluster workers share a port', async () => {
    for (const form of FORMS) {
      const program = tools.file(
        'cluster.cjs',
        `const cluster = require('cluster'), http = require('http');
        if (cluster.isPrimary) {
          let ready = 0;
          for (let i = 0; i < 2; i++) cluster.fork().on('listening', async ({ port }) => {
            if (++ready < 2) return;
            const seen = new Set([${library}]);
            for (let n = 0; n < 20; n++) seen.add(await (await fetch('http://127.0.0.1:' + port)).text());
            console.log(JSON.stringify([...seen]));
            cluster.disconnect();
          });
        } else http.createServer((_, response) => response.end(${library} ?? 'none')).listen(0, '127.0.0.1');`,
      );
      const { stdout, stderr } = await succeed(process.execPath, [form, program], { env: on('jemalloc') });
      assert.deepEqual([stdout, stderr], ['["libmalloc_backend_jemalloc"]\n', '']);
    }
  });
});
