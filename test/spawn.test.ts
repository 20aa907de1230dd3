// spawn and fork: shaped like node:child_process, with a promise of the proof.

import assert from 'node:assert/strict';
import * as childProcess from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import {
  type Proof,
  type SwitchedChild,
  type SwitchedSpawnOptions,
  activeBackend,
  backends,
  fork,
  spawn,
} from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { SWITCHING, cannotPreload, emulated, notGlibc, shim, root } from './support/shims.js';
import { afterAll, describe, test } from './support/suite.js';

const ALL = ['default', ...SWITCHING] as const;
const child = join(root, 'dist', 'test', 'fixtures-ts', 'child.js');
const env = environment();

/** The package's promise, its streams and its end, bounded: a promise that stays open must not hang the tests. */
async function all(started: SwitchedChild) {
  tools.watched(started);
  const closed = once(started, 'close') as Promise<[number | null, string | null]>;
  const said = [started.stdout, started.stderr].map((stream) => (stream === null ? '' : text(stream)));
  const applied: Promise<unknown> = started.applied.catch((error: unknown) => error);
  const [[code, signal], [stdout = '', stderr = ''], proof] = await Promise.all([
    closed,
    Promise.all(said),
    applied,
  ]);
  return { code, signal, stdout, stderr, proof: proof as Proof, error: proof as Error & { code: string } };
}

const notRoot = process.getuid?.() !== 0 && 'only root can start a program as another user';

const maps =
  "console.log(/libmalloc_backend_[a-z]+/.exec(require('fs').readFileSync('/proc/self/maps', 'utf8'))?.[0])";

describe('the proof', { skip: cannotPreload }, () => {
  for (const backend of ALL) {
    test(`of ${backend} says who serves`, async () => {
      const started = spawn(process.execPath, ['-e', 'process.exit(7)'], { backend, env });
      const { proof, code, signal, stdout, stderr } = await all(started);
      const { version } = backends().find((each) => each.backend === backend) ?? {};
      assert.deepEqual([code, signal, stdout, stderr], [7, null, '', '']);
      const owner = backend === 'default' ? activeBackend().owner : shim(backend);
      const expected: Proof = {
        pid: started.pid ?? 0,
        backend,
        version: version ?? '',
        library: shim(backend),
        owner,
      };
      assert.deepEqual(proof, expected);
    });
  }

  test('comes before the program begins, while it runs, and is kept', async () => {
    const started = spawn('cat', { backend: 'jemalloc', env });
    const { pid } = await started.applied;
    if (emulated === false) assert.equal(activeBackend(pid).backend, 'jemalloc');
    assert.equal(started.exitCode, null);
    started.stdin?.end('done');
    assert.equal(await text(started.stdout ?? assert.fail()), 'done');
    assert.equal((await started.applied).pid, pid);
  });

  test('comes from programs however short they live, many at once', async () => {
    for (let round = 0; round < 8; round++) {
      const children = Array.from({ length: 25 }, (_, n) => ({
        backend: ALL[n % 4] ?? 'default',
        started: spawn('true', { backend: ALL[n % 4] ?? 'default', env, stdio: 'ignore' }),
      }));
      const ends = await Promise.all(children.map(({ started }) => all(started)));
      ends.forEach(({ proof, code }, n) => {
        assert.deepEqual(
          [proof.backend, proof.pid, code],
          [children[n]?.backend, children[n]?.started.pid, 0],
        );
      });
    }
  });

  test('is refused where the loader ignores the library', async () => {
    const folder = tools.copyOfBinaries('not-libraries', ['libmalloc_backend_mimalloc.so']);
    tools.ignoredLibrary('not-libraries/libmalloc_backend_mimalloc.so');
    const outcome = await tools.evaluate<{ code: string; message: string; exit: number; stdout: string }>(
      `const child = m.spawn('echo', ['x'], { backend: 'mimalloc', stdio: ['ignore', 'pipe', 'ignore'] });
       let stdout = '';
       child.stdout.on('data', (chunk) => (stdout += chunk));
       const applied = child.applied.catch((error) => error);
       const [exit] = await new Promise((resolve) => child.on('close', (...end) => resolve(end)));
       const { code, message } = await applied;
       show({ code, message, exit, stdout })`,
      { env: { MALLOC_BACKEND_BINARY_DIR: folder } },
    );
    assert.equal(outcome.code, 'ERR_NOT_APPLIED');
    assert.match(outcome.message, /echo does not run on mimalloc: the preloaded library did not report/);
    assert.deepEqual([outcome.exit, outcome.stdout], [0, 'x\n']);
    // Nor does what such a program leaves behind, with the descriptor that nobody closed, keep the answer open.
    const left = await tools.evaluate<{ code: string; alive: boolean }>(
      `const child = m.spawn('sh', ['-c', 'sleep 1000 >&2 & echo $!'], { backend: 'mimalloc', stdio: ['ignore', 'pipe', 'ignore'] });
       const pid = new Promise((resolve) => child.stdout.once('data', (text) => resolve(Number(text))));
       const { code } = await child.applied.catch((error) => error);
       show({ code, alive: process.kill(await pid, 0) && process.kill(await pid) })`,
      { env: { MALLOC_BACKEND_BINARY_DIR: folder } },
    );
    assert.deepEqual(left, { code: 'ERR_NOT_APPLIED', alive: true });
  });

  test(
    'is refused while the program runs, where its user cannot read the library',
    { skip: notRoot },
    async () => {
      const folder = tools.copyOfBinaries('closed');
      chmodSync(folder, 0o700);
      const { code, message, running } = await tools.evaluate<
        Record<'code' | 'message' | 'running', unknown>
      >(
        `const child = m.spawn('cat', { backend: 'mimalloc', uid: 65534, gid: 65534, stdio: ['pipe', 'ignore', 'ignore'] });
       const { code, message } = await child.applied.catch((error) => error);
       show({ code, message, running: child.exitCode === null });
       child.stdin.end()`,
        { env: { MALLOC_BACKEND_BINARY_DIR: folder } },
      );
      assert.deepEqual([code, running], ['ERR_NOT_APPLIED', true]);
      assert.match(String(message), /cat does not run on mimalloc: the dynamic loader ignored the library/);
    },
  );

  test('is one although it was read late, and the program has become another', async () => {
    const code = `const child = m.spawn('sh', ['-c', 'exec cat'], { backend: 'mimalloc', children: 'none' });
      const watched = Date.now() + 1500;
      setImmediate(() => { while (Date.now() < watched); });
      show((await child.applied).backend);
      child.stdin.end();`;
    assert.equal(await tools.evaluate(code), 'mimalloc');
  });

  test(
    'does not wait for the end of a program that may not be looked into',
    { skip: tools.cannotBeNobody },
    async () => {
      // As root in a container: without what it takes to look into the processes of others.
      const looks = '-sys_ptrace,-sys_admin,-perfmon';
      const wrapper = ['setpriv', `--bounding-set=${looks}`, `--inh-caps=${looks}`];
      const code = `const stdio = ['pipe', 'ignore', 'ignore'];
      const child = m.spawn('cat', { backend: 'mimalloc', uid: 65534, gid: 65534, stdio });
      const { backend } = await child.applied;
      show({ backend, running: child.exitCode === null });
      child.stdin.end();`;
      assert.deepEqual(await tools.evaluate(code, { wrapper }), { backend: 'mimalloc', running: true });
    },
  );

  test('of another process is none', async () => {
    // The loader ignores the library, until the program has put another in its place.
    const folder = tools.copyOfBinaries('too-late', ['libmalloc_backend_mimalloc.so']);
    const library = tools.ignoredLibrary('too-late/libmalloc_backend_mimalloc.so');
    const script = `cp ${shim('mimalloc')} ${library}; cat /dev/null; true`;
    const { code, message } = await tools.evaluate<Record<'code' | 'message', string>>(
      `const options = { backend: 'mimalloc', stdio: ['ignore', 'inherit', 'ignore'] };
       const child = m.spawn('sh', ['-c', ${JSON.stringify(script)}], options);
       const { code, message } = await child.applied.catch((error) => error);
       show({ code, message })`,
      { env: { MALLOC_BACKEND_BINARY_DIR: folder } },
    );
    assert.equal(code, 'ERR_NOT_APPLIED');
    assert.match(message, /report is from process \d+, which the program started|ignored the library/);
  });

  test('is refused, with the reason, where there are no descriptors left', async () => {
    const code = `import { closeSync, openSync } from 'node:fs';
      const open = [];
      const fill = () => { try { for (;;) open.push(openSync('/dev/null')); } catch {} };
      const start = () => m.spawn('/bin/cat', { backend: 'mimalloc', stdio: 'ignore' });
      m.backends();
      fill();
      const first = attempt(start);
      // Enough to look into the program, and too few to start it.
      closeSync(open.pop());
      const child = start();
      const said = new Promise((resolve) => child.on('error', ({ code }) => resolve(code)));
      const { code, message } = await child.applied.catch((error) => error);
      open.forEach((fd) => closeSync(fd));
      show({ first, said: await said, code, message });`;
    const limited = ['sh', '-c', 'ulimit -n 64; exec "$@"', 'sh'];
    const { first, ...second } = await tools.evaluate<
      Record<'said' | 'code' | 'message', string> & { first: object }
    >(code, { env, wrapper: limited });
    assert.deepEqual([second.said, second.code], ['EMFILE', 'ERR_NOT_APPLIED']);
    assert.match(second.message, /cat does not run on mimalloc: .*EMFILE/);
    const { code: refused, message } = first as Record<string, string>;
    assert.equal(refused, 'ERR_SHIM_MISSING');
    assert.match(message ?? '', /cannot be read: Too many open files/);
  });

  test('a rejection that nobody handles ends the process', async () => {
    const folder = tools.scratch('not-libraries');
    const code = `import('${tools.index}').then(({ spawn }) => spawn('sleep', ['1'], { backend: 'mimalloc', stdio: 'ignore' }))`;
    const { status, stderr } = childProcess.spawnSync(process.execPath, ['-e', code], {
      env: environment({ MALLOC_BACKEND_BINARY_DIR: folder }),
      encoding: 'utf8',
    });
    assert.equal(status, 1);
    assert.match(stderr, /ERR_NOT_APPLIED/);
  });

  test('is refused where another malloc comes first, by name', { skip: notGlibc }, async () => {
    const own = tools.cc(
      'own',
      '#include <stddef.h>\nvoid *malloc(size_t n) { return 0; }\nint main() { return 0; }',
      ['-rdynamic'],
    );
    tools.refuses(
      () => spawn(own, { backend: 'mimalloc', env }),
      'ERR_CANNOT_SWITCH',
      /exports its own malloc/,
    );
    const { error } = await all(spawn(own, { backend: 'default', env }));
    assert.equal(error.code, 'ERR_NOT_APPLIED');
    assert.ok(error.message.includes(`it uses the malloc of ${own}`), error.message);
  });
});

describe('like child_process', { skip: cannotPreload }, () => {
  test('options and arguments of other types', async () => {
    const loose = { uid: null, gid: null, env: { ...env, LATER: 1, NONE: undefined } } as object;
    const words = [undefined, 'x', 1, null] as unknown as string[];
    const script = 'echo "$LATER-$NONE" "$@"';
    const child = spawn('sh', ['-c', script, 'sh', ...words], { ...loose, backend: 'mimalloc' });
    assert.equal(await text(child.stdout ?? assert.fail()), '1- undefined x 1 null\n');
    for (const wrong of [{ uid: 'x' }, { gid: {} }, { cwd: 1 }, { env: { ...env, PATH: Symbol('x') } }]) {
      const options = wrong as object;
      assert.throws(
        () => spawn('true', [], { env, ...options, backend: 'mimalloc' }),
        (error: NodeJS.ErrnoException) =>
          error instanceof TypeError || error.code === 'ERR_INVALID_ARGUMENT'
            ? true
            : assert.fail(String(error)),
      );
    }
    const symbol = [Symbol('x')] as unknown as string[];
    assert.throws(() => spawn('true', symbol, { backend: 'mimalloc' }), TypeError);
  });

  // Every shape of stdio: what the child has open, what the parent has, and what goes through.
  const here = openSync('/dev/null', 'r');
  afterAll(() => closeSync(here));
  const shapes: childProcess.StdioOptions[] = [
    'pipe',
    'ignore',
    [],
    ['pipe'],
    ['ignore', 'pipe'],
    ['pipe', 'pipe', 'ignore'],
    [null, undefined, 'pipe'],
    ['ignore', 'pipe', 'pipe', 'pipe'],
    ['ignore', 'pipe', 'ignore', null, 'pipe'],
    ['ignore', 'pipe', 'pipe', here, 'overlapped'],
    ['ignore', 'pipe', 'pipe', undefined, undefined, 'pipe'],
    ['ignore', 'pipe', 'pipe', 'ipc'],
    ['ignore', 'pipe', 'pipe', here, 'ipc', 'pipe'],
  ];

  for (const stdio of shapes)
    test(`stdio ${JSON.stringify(stdio)}`, async () => {
      // It says what it has open, by kind; and where there is a channel, whether it can send.
      const shell = `for fd in 0 1 2 3 4 5 6 7 8 9; do for kind in S c p f; do
        [ -$kind /proc/$$/fd/$fd ] && echo $fd $kind; done; done; echo error >&2`;
      const script = "console.log(typeof process.send); console.error('error'); process.disconnect();";
      const [program, args] = stdio.includes('ipc')
        ? [process.execPath, ['-e', script]]
        : ['sh', ['-c', shell]];
      const look = async (started: childProcess.ChildProcess) => {
        tools.watched(started);
        const closed = once(started, 'close');
        const texts = started.stdio
          .slice(1)
          .map((s) => (s !== null && s !== undefined ? text(s as Readable) : s));
        const shape = started.stdio.map((stream) =>
          stream === null || stream === undefined ? String(stream) : stream.constructor.name,
        );
        const same = [started.stdin === started.stdio[0], started.stdout === started.stdio[1]];
        started.stdin?.end();
        const end = await closed;
        return {
          length: started.stdio.length,
          shape,
          same,
          texts: await Promise.all(texts),
          end,
          connected: started.connected,
          send: typeof started.send,
        };
      };
      const plain = await look(childProcess.spawn(program, args, { env, stdio }));
      for (const backend of ['default', 'mimalloc'] as const) {
        const started = spawn(program, args, { env, stdio, backend });
        const [looked, proof] = await Promise.all([look(started), started.applied]);
        assert.equal(proof.backend, backend);
        assert.deepEqual(looked, plain);
      }
    });

  test('stdio inherit', async () => {
    const code = `const child = m.spawn(process.execPath, ['-e', "process.stdin.pipe(process.stdout)"], { backend: 'snmalloc', stdio: 'inherit' });
      await child.applied;
      await new Promise((resolve) => child.on('close', resolve));
      show(child.stdio);`;
    const found = await tools.evaluate(code, { env, input: '[1,\n' }).catch((error: Error) => error.message);
    assert.match(String(found), /JSON/, 'what the child copied stands before what the parent says');
    assert.deepEqual(await tools.evaluate(code, { env, input: '' }), [null, null, null]);
  });

  test('without arguments, in each of the forms', async () => {
    const options = { backend: 'mimalloc', env } as const;
    const started = [spawn('true', options), spawn('true', undefined, options), spawn('true', null, options)];
    for (const { code, proof } of await Promise.all(started.map(all)))
      assert.deepEqual([code, proof.backend], [0, 'mimalloc']);
  });

  test('cwd, env, argv0, arguments, exit codes and signals', async () => {
    const folder = tools.scratch('cwd');
    mkdirSync(folder, { recursive: true });
    const options: SwitchedSpawnOptions = {
      backend: 'mimalloc',
      env: { ...env, ODD: 'a b\nc' },
      argv0: 'other',
    };
    const program =
      'console.log(JSON.stringify([process.cwd(), process.env.ODD, process.argv0, process.argv.slice(1)]))';
    for (const cwd of [folder, pathToFileURL(folder)]) {
      const { stdout } = await all(
        spawn(process.execPath, ['-e', program, ' a', '', '$b'], { ...options, cwd }),
      );
      assert.deepEqual(JSON.parse(stdout), [folder, 'a b\nc', 'other', [' a', '', '$b']]);
    }
    const killed = await all(spawn('sh', ['-c', 'kill -TERM $$'], { backend: 'jemalloc', env }));
    assert.deepEqual([killed.code, killed.signal, killed.proof.backend], [null, 'SIGTERM', 'jemalloc']);
    // A relative command is found from the child's folder, and PATH is the child's.
    tools.file('cwd/here', '#!/bin/sh\necho here');
    for (const [command, path] of [
      ['./here', env['PATH']],
      ['here', folder],
    ] as const) {
      const { stdout } = await all(spawn(command, { backend: 'mimalloc', cwd: folder, env: { PATH: path } }));
      assert.equal(stdout, 'here\n');
    }
    tools.refuses(() => spawn('here', { backend: 'mimalloc', cwd: folder, env }), 'ERR_PROGRAM_NOT_FOUND');
  });

  test('a shell proves, and hands the switch on', async () => {
    const { stdout, proof } = await all(
      spawn(`"$NODE" -e "${maps}"; echo $((1 + 1))`, {
        backend: 'jemalloc',
        shell: true,
        env: { ...env, NODE: process.execPath },
      }),
    );
    assert.equal(stdout, 'libmalloc_backend_jemalloc\n2\n');
    assert.equal(proof.backend, 'jemalloc');
    const bash = await all(spawn('echo $0', { backend: 'jemalloc', shell: '/bin/bash', env }));
    assert.equal(bash.stdout, '/bin/bash\n');
    tools.refuses(
      () => spawn('true', { backend: 'jemalloc', shell: true, children: 'none', env }),
      'ERR_INVALID_ARGUMENT',
      /shell/,
    );
  });

  test('an AbortSignal and a timeout end the child', async () => {
    const controller = new AbortController();
    const started = spawn('cat', { backend: 'mimalloc', env, signal: controller.signal });
    const failed = once(started, 'error') as Promise<[Error]>;
    // (`once` of node:events would take the error for its own.)
    const closed = new Promise((resolve) => started.on('close', (...end) => resolve(end)));
    await started.applied;
    controller.abort();
    assert.equal((await failed)[0].name, 'AbortError');
    assert.deepEqual(await closed, [null, 'SIGTERM']);
    const timed = await all(spawn('cat', { backend: 'mimalloc', env, timeout: 500 }));
    assert.equal(timed.signal, 'SIGTERM');
    // Before it began: child_process says so by an event, and so there is no proof.
    const early = spawn('cat', { backend: 'mimalloc', env, signal: AbortSignal.abort() });
    early.on('error', () => {});
    await assert.rejects(early.applied, { code: 'ERR_NOT_APPLIED' });
  });

  test('an error of a child that runs is still the caller’s to hear', async () => {
    const code = `process.on('uncaughtException', ({ name }) => { show(name); process.exit(0); });
      const controller = new AbortController();
      const child = m.spawn('cat', { backend: 'mimalloc', signal: controller.signal });
      await child.applied;
      controller.abort();
      child.on('close', () => { show('nobody heard'); });`;
    assert.equal(await tools.evaluate(code, { env }), 'AbortError');
  });

  test('a folder that is none', () => {
    for (const cwd of [tools.scratch('no-such-folder'), process.execPath, pathToFileURL('/no-such-folder')])
      tools.refuses(() => spawn('true', { backend: 'mimalloc', env, cwd }), 'ERR_INVALID_ARGUMENT', /^cwd/);
  });

  test('an end that it shows by itself needs no handler for the proof', async () => {
    const end =
      "await new Promise((resolve) => child.on('close', resolve)); await undefined; show(child.signalCode)";
    for (const [options, kill] of [
      ['', 'child.kill()'],
      [', signal: aborter.signal', "child.on('error', () => {}); aborter.abort()"],
    ]) {
      const code = `const aborter = new AbortController();
        const child = m.spawn('sleep', ['1000'], { backend: 'mimalloc', stdio: 'ignore'${options} });
        ${kill}; ${end}`;
      assert.equal(await tools.evaluate(code), 'SIGTERM');
    }
  });

  test('what the system refuses rejects the proof too', { skip: notRoot }, async () => {
    const program = tools.file('of-root', '#!/bin/sh\n', 0o700);
    const options = { backend: 'mimalloc', env, uid: 65534, gid: 65534 } as const;
    const started = spawn(program, options);
    const [[error], proof] = await Promise.all([
      once(started, 'error') as Promise<[NodeJS.ErrnoException]>,
      started.applied.catch((thrown: Error & { code: string }) => thrown),
    ]);
    assert.deepEqual([error.code, (proof as { code: string }).code], ['EACCES', 'ERR_NOT_APPLIED']);
    // Who listens for errors has heard of it; who does not, of the proof.
    const code = (listener: string) =>
      `m.spawn(${JSON.stringify(program)}, ${JSON.stringify(options)})${listener}; process.on('exit', show)`;
    assert.equal(await tools.evaluate(code(".on('error', () => {})")), 0);
    await assert.rejects(tools.evaluate(code('')), /ERR_NOT_APPLIED.*EACCES|EACCES.*ERR_NOT_APPLIED/s);
  });
});

describe("the child's children", { skip: cannotPreload }, () => {
  test('inherit the switch, or are left alone', async () => {
    for (const backend of ALL)
      for (const children of ['inherit', 'none'] as const) {
        const look = 'for of in $$ self; do grep -o "libmalloc_backend_[a-z]*" /proc/$of/maps | uniq; done';
        const { stdout, proof } = await all(spawn('sh', ['-c', `${look}; true`], { backend, children, env }));
        const inherited = backend !== 'default' && children === 'inherit';
        assert.equal(stdout, `libmalloc_backend_${backend}\n`.repeat(inherited ? 2 : 1), children);
        assert.equal(proof.backend, backend);
      }
  });

  test('a script that goes through env is switched itself', async () => {
    const nested = `console.log(require('child_process').execFileSync(process.execPath, ['-e', ${JSON.stringify(maps)}]).toString().trim())`;
    const script = tools.file(
      'script',
      `#!/usr/bin/env node\n${maps};${nested};console.log(process.argv.slice(2))`,
    );
    const PATH = `${join(process.execPath, '..')}:${env['PATH']}`;
    for (const children of ['inherit', 'none'] as const) {
      const options = { backend: 'mimalloc', children, env: { ...env, PATH } } as const;
      const { stdout, proof } = await all(spawn(script, ['-x', 'y'], options));
      const own = 'libmalloc_backend_mimalloc';
      assert.equal(stdout, `${own}\n${children === 'none' ? 'undefined' : own}\n[ '-x', 'y' ]\n`, children);
      assert.equal(proof.backend, 'mimalloc');
    }
  });
});

describe('fork', { skip: cannotPreload }, () => {
  for (const backend of ALL)
    test(`has a channel on ${backend}`, async () => {
      for (const serialization of ['json', 'advanced'] as const) {
        const started = tools.watched(fork(child, ['a', 'b'], { backend, env, serialization, silent: true }));
        const plain = tools.watched(
          childProcess.fork(child, ['a', 'b'], { env, serialization, silent: true }),
        );
        const answers = await Promise.all(
          [started, plain].map(async (each) => {
            const message = serialization === 'json' ? { n: 1 } : { n: 1n, map: new Map([[1, new Date(0)]]) };
            for (let i = 0; i < 20; i++) each.send(message);
            const replies: unknown[] = [];
            each.on('message', (reply) => {
              if (replies.push(reply) === 20) each.send('end');
            });
            const stdout = text(each.stdout ?? assert.fail());
            const stderr = text(each.stderr ?? assert.fail());
            const end = await once(each, 'close');
            return { replies, end, said: [await stdout, await stderr], length: each.stdio.length };
          }),
        );
        assert.deepEqual(answers[0], answers[1]);
        assert.equal(answers[0]?.replies.length, 20);
        const proof = await started.applied;
        assert.deepEqual([proof.backend, proof.pid], [backend, started.pid]);
      }
    });

  test('takes stdio, execArgv and execPath', async () => {
    const stdio = ['ignore', 'pipe', 'ignore', 'pipe', 'ipc'] as const;
    const started = fork(pathToFileURL(child), {
      backend: 'jemalloc',
      env,
      stdio: [...stdio],
      execArgv: ['--no-warnings'],
      execPath: process.execPath,
    });
    assert.equal(started.stdio.length, 5);
    started.send('end');
    const { stdout, code, proof } = await all(started);
    assert.deepEqual(JSON.parse(stdout), { argv: [], execArgv: ['--no-warnings'] });
    assert.deepEqual([code, proof.backend], [0, 'jemalloc']);
    tools.refuses(
      () => fork(child, { backend: 'jemalloc', env, execPath: 'no-such-node' }),
      'ERR_PROGRAM_NOT_FOUND',
    );
  });
});

describe('what is thrown', { skip: cannotPreload }, () => {
  test('leaves nothing behind', () => {
    const open = () => readdirSync('/proc/self/fd').length;
    const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8');
    const [fds, before] = [open(), children()];
    const file = tools.scratch('was-here');
    rmSync(file, { force: true });
    const command = ['touch', [file]] as const;
    const cases: [object | undefined, string, string?][] = [
      [{ backend: 'tcmalloc' }, 'ERR_UNKNOWN_BACKEND'],
      [{ backend: 'rust' }, 'ERR_BACKEND_UNAVAILABLE'],
      [{}, 'ERR_UNKNOWN_BACKEND'],
      [undefined, 'ERR_INVALID_ARGUMENT'],
      [{ backend: 'mimalloc', preset: 'fast' }, 'ERR_UNKNOWN_PRESET'],
      [{ backend: 'mimalloc', children: 'some' }, 'ERR_INVALID_ARGUMENT'],
      // What child_process does not know it would pass over.
      [{ backend: 'mimalloc', presset: 'low-rss' }, 'ERR_INVALID_ARGUMENT'],
      [{ presset: 'low-rss' }, 'ERR_INVALID_ARGUMENT'],
      [{ preset: 'low-rss' }, 'ERR_UNKNOWN_BACKEND'],
      [{ backend: 'snmalloc', preset: 'low-rss' }, 'ERR_UNKNOWN_PRESET'],
      [{ backend: 'jemalloc', set: { narena: '1' } }, 'ERR_UNKNOWN_OPTION'],
      [{ backend: 'jemalloc', set: { narenas: 'abc' } }, 'ERR_INVALID_ARGUMENT'],
      [{ backend: 'snmalloc', set: { a: 'b' } }, 'ERR_UNKNOWN_OPTION'],
      [{ backend: 'mimalloc' }, 'ERR_PROGRAM_NOT_FOUND', 'no-such-command'],
      [{ backend: 'mimalloc' }, 'ERR_PROGRAM_NOT_EXECUTABLE', '/'],
      [{ backend: 'mimalloc' }, 'ERR_INVALID_ARGUMENT', ''],
    ];
    for (const [options, code, program = command[0]] of cases)
      tools.refuses(
        () => spawn(program, command[1], (options && { env, ...options }) as SwitchedSpawnOptions),
        code,
      );
    const options = { backend: 'mimalloc', env } as const;
    // As untyped callers would.
    type Call = (...args: unknown[]) => unknown;
    const calls: [Call, ...unknown[]][] = [
      [spawn as Call],
      [spawn as Call, 'touch', null],
      [spawn as Call, 'touch', [file], null],
      [spawn as Call, 'touch', file, options],
      [spawn as Call, undefined, [file], options],
      [spawn as Call, ['touch', file], options],
      [spawn as Call, 'touch', [file], { ...options, stdio: null }],
      [spawn as Call, 'touch', [file], { ...options, stdio: 3 }],
      [fork as Call],
      [fork as Call, file, null],
      [fork as Call, file, [], { ...options, presset: 'low-rss' }],
      [fork as Call, undefined, [], options],
      [fork as Call, file, [], { ...options, stdio: null }],
    ];
    for (const [call, ...args] of calls) tools.refuses(() => call(...args), 'ERR_INVALID_ARGUMENT');
    assert.deepEqual([open(), children()], [fds, before]);
    assert.throws(() => readFileSync(file), { code: 'ENOENT' });
  });
});
