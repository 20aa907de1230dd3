// doctor: what it finds here and in other processes, and how it says so.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, readlinkSync, realpathSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  MemoryAllocatorBackend,
  type MemoryBreakdown,
  activeBackend,
  backends as packageBackends,
} from '../index.js';
import { linuxBinding } from '../src/native/loader.js';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { ended, kill, run, start, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, isGlibc, notGlibc, platform, shim } from './support/shims.js';
import { afterAll, describe, test } from './support/suite.js';

const { command, cli, native } = tools;

interface Malloc {
  kind: string;
  allocator: string;
  backend?: string;
  version?: string;
  owner: string;
}

interface Diagnosis {
  platform: string;
  libc: { name: string; version?: string };
  pageSize: number;
  binaries: string;
  process?: {
    pid: number;
    program: string;
    node?: string;
    preset?: string;
    options?: Record<string, string>;
    memory?: Pick<MemoryBreakdown, 'rss' | 'parts'>;
    children: { pid: number; parent: number; malloc?: Malloc; error?: { code: string }; node?: string }[];
  };
  malloc: Malloc;
  expected?: { backend: string; met: boolean };
  switchable: boolean;
  backends: { backend: string; version?: string; available: boolean; reason?: string }[];
  obstacles: { code: string; message: string }[];
}

describe('doctor', { skip: cannotPreload }, () => {
  const children: ReturnType<typeof start>[] = [];
  afterAll(() => children.forEach(kill));

  /** A program that is started and shows it, and lives until the tests are done. */
  async function waiting(program: string, args: readonly string[]) {
    const child = start(program, [...args]);
    children.push(child);
    child.stdin?.write('x');
    await once(child.stdout ?? assert.fail(), 'data');
    return child;
  }

  async function diagnose(
    args: string[] = [],
    { env = {}, wrapper = [] }: { env?: Record<string, string>; wrapper?: readonly string[] } = {},
  ) {
    const [program = '', ...others] = [...wrapper, native, 'doctor', '--json', ...args];
    const { stdout } = await run(program, others, { env });
    assert.ok(stdout.endsWith('}\n'), 'a text of whole lines');
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    return { ...diagnosis, codes: diagnosis.obstacles.map(({ code }) => code) };
  }

  test('says what this machine has', async () => {
    const { malloc, backends, codes, ...found } = await diagnose();
    assert.equal(found.platform, `${process.platform}-${process.arch}`);
    assert.equal(found.pageSize, Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' })));
    assert.equal(realpathSync(found.binaries), realpathSync(tools.binaries));
    assert.deepEqual([malloc.kind, malloc.backend, found.switchable], ['libc', 'default', true]);
    assert.deepEqual(
      backends.map(({ backend, available }) => [backend, available]),
      Object.values(MemoryAllocatorBackend).map((name) => [name, name !== 'rust']),
    );
    const known = new Map(packageBackends().map(({ backend, version }) => [backend as string, version]));
    for (const backend of SWITCHING)
      assert.equal(backends.find((each) => each.backend === backend)?.version, known.get(backend));
    assert.ok(['glibc', 'musl'].includes(found.libc.name));
    if (isGlibc) assert.equal(malloc.version, found.libc.version);
    assert.deepEqual(codes, []);
    const { stdout } = await command(['doctor']);
    assert.deepEqual(await run(native, ['doctor']), await command(['doctor']));
    const libc = [found.libc.name, ...(found.libc.version === undefined ? [] : [found.libc.version])].join(
      ' ',
    );
    for (const text of [
      `malloc here: ${libc} (the C library's, not switched)\n  ${malloc.owner}\n`,
      `\nplatform   ${found.platform}, ${libc}, pages of ${found.pageSize} bytes\n`,
      `\nlibraries  ${found.binaries}\n`,
      '\nNothing stands in the way.\n',
      ...SWITCHING,
    ])
      assert.ok(stdout.includes(text), `${text} in ${stdout}`);
  });

  test('looks at another process', async () => {
    const child = start(process.execPath, [cli, 'run', 'snmalloc', '--', 'cat']);
    children.push(child);
    child.stdin?.write('x');
    await once(child.stdout ?? assert.fail(), 'data');
    const pid = child.pid ?? assert.fail();
    const found = await diagnose(['--pid', `${pid}`]);
    assert.deepEqual(found.malloc, activeBackend(pid));
    assert.deepEqual(
      [found.process?.pid, found.malloc.backend, found.malloc.owner],
      [pid, 'snmalloc', shim('snmalloc')],
    );
    const { stdout } = await command(['doctor', '--pid', `${pid}`]);
    assert.match(stdout, new RegExp(`^malloc in process ${pid}: snmalloc \\d.*switched by malloc-backend`));
    child.stdin?.end();
    await ended(child);
    const gone = await command(['doctor', '--pid', `${pid}`]);
    assert.deepEqual([gone.code, gone.stdout], [1, '']);
    assert.match(gone.stderr, new RegExp(`there is no process ${pid}`));
  });

  const perl = tools.which('perl');
  test(
    'a process that has written a title over its environment',
    { skip: perl === undefined && 'no perl' },
    async () => {
      const words = ['-e', '$0 = "a title"; $| = 1; print "x"; <STDIN>'];
      const child = start(process.execPath, [cli, 'run', 'jemalloc', '--', perl ?? '', ...words]);
      children.push(child);
      await once(child.stdout ?? assert.fail(), 'data');
      assert.doesNotMatch(readFileSync(`/proc/${child.pid}/environ`, 'latin1'), /LD_PRELOAD/);
      const found = await diagnose(['--pid', `${child.pid}`]);
      assert.deepEqual([found.malloc.backend, found.process?.options], ['jemalloc', undefined]);
      const { stdout } = await command(['doctor', '--pid', `${child.pid}`]);
      assert.match(stdout, /^options    cannot be told: the process has overwritten its environment$/m);
      if (!notGlibc) {
        const other = start(perl ?? '', words, { env: { LD_PRELOAD: tools.foreignLibrary() } });
        children.push(other);
        await once(other.stdout ?? assert.fail(), 'data');
        const { code, stderr } = await command(['doctor', '--pid', `${other.pid}`]);
        assert.equal(code, 1);
        assert.match(stderr, /has overwritten the environment/);
      }
    },
  );

  test('the sizes for people are those for programs', async () => {
    // It is stopped, so that nothing of it changes between two looks.
    const stopped = await waiting(process.execPath, [
      '-e',
      `console.log(1); process.kill(process.pid, 'SIGSTOP')`,
    ]);
    await tools.until('it to stop', () =>
      /^State:\s+T/m.test(readFileSync(`/proc/${stopped.pid}/status`, 'utf8')),
    );
    const of = ['doctor', '--memory', '--pid', `${stopped.pid}`];
    const { stdout: json } = await run(native, [...of, '--json']);
    const { rss, parts } = (JSON.parse(json) as Diagnosis).process?.memory ?? assert.fail(json);
    const { stdout } = await run(native, of);
    const lines = [...stdout.matchAll(/^.+\t([\d.]+) MiB\t([\d.]+) %$/gm)];
    const sizes = [...Object.values({ ...parts }), rss];
    assert.equal(lines.length, sizes.length, stdout);
    for (const [index, [line, mebibytes, percent]] of lines.entries()) {
      const size = sizes[index] ?? NaN;
      assert.ok(Math.abs(Number(mebibytes) - size / 2 ** 20) < 0.051, `${line} of ${size}`);
      assert.ok(Math.abs(Number(percent) - (100 * size) / rss) < 0.051, `${line} of ${size}`);
    }
  });

  test('where the memory is', async () => {
    const of = ['--pid', `${process.pid}`];
    const { memory } = (await diagnose([...of, '--memory'])).process ?? {};
    assert.ok(memory !== undefined);
    const { rss, parts } = memory;
    const sum = Object.values({ ...parts }).reduce((all, part) => all + part, 0);
    assert.ok(Math.abs(sum - rss) < 0.05 * rss, `${sum} of ${rss}`);
    assert.equal((await diagnose(of)).process?.memory, undefined, 'only where it was asked for');
    const { stdout } = await command(['doctor', '--memory', ...of]);
    const lines = stdout.split('\n').filter((line) => /\t[\d.]+ MiB\t[\d.]+ %$/.test(line));
    const names = lines.map((line) => line.split('\t')[0]);
    const heaps = isGlibc ? ['malloc'] : [];
    const expected = ['compiled code', ...heaps, 'mapped files', "threads' stacks", 'other', 'RSS'];
    assert.deepEqual(
      names.filter((name) => name !== 'V8 heap'),
      expected,
    );
    assert.match(lines.at(-1) ?? '', /100\.0 %$/);
    const without = await command(['doctor', '--memory']);
    assert.equal(without.code, 2, 'this command itself is nobody’s matter');
    assert.match(without.stderr, /--memory needs a process: --pid/);
  });

  test('the preset and the options that a process has', async () => {
    const cases: [string[], string | undefined, string | undefined][] = [
      [['jemalloc', '--preset', 'low-rss'], 'low-rss', 'narenas:2'],
      [['jemalloc'], 'balanced', 'dirty_decay_ms:1000'],
      [['jemalloc', '--set', 'narenas=3'], 'balanced', 'narenas:3'],
      [['jemalloc', '--preset', 'none'], 'none', undefined],
      [['mimalloc', '--preset', 'throughput'], 'throughput', 'purge_delay:1000'],
      [['mimalloc', '--preset', 'low-rss', '--set', 'purge_delay=7'], 'low-rss', 'purge_delay:7'],
      [['mimalloc', '--preset', 'none', '--set', 'purge_delay=7'], 'none', 'purge_delay:7'],
      ...(isGlibc
        ? [[['default', '--preset', 'balanced'], 'balanced', '2'] as [string[], string, string]]
        : []),
      [['snmalloc'], undefined, undefined],
    ];
    for (const [words, preset, option] of cases)
      for (const children of ['inherit', 'none']) {
        const child = await waiting(native, ['run', ...words, '--children', children, '--', 'cat']);
        const found = (await diagnose(['--pid', `${child.pid}`])).process;
        assert.equal(found?.preset, preset, words.join(' '));
        const values = Object.values(found?.options ?? {}).join();
        if (option === undefined) assert.equal(values, '');
        else assert.ok(values.includes(option), `${option} in ${values}`);
        const { stdout } = await run(native, ['doctor', '--pid', `${child.pid}`]);
        assert.match(stdout, /^children   none$/m);
        if (option === undefined) {
          assert.match(stdout, /^options    none$/m);
          continue;
        }
        assert.match(stdout, new RegExp(`^options    \\w+=.*${option}`, 'm'));
        if (preset !== undefined) assert.match(stdout, new RegExp(`^preset     ${preset}$`, 'm'));
      }
  });

  test('options that a process has by several variables', async () => {
    const env = { MIMALLOC_SHOW_ERRORS: '0' };
    const child = start(native, ['run', 'mimalloc', '--preset', 'low-rss', '--', 'cat'], { env });
    children.push(child);
    child.stdin?.write('x');
    await once(child.stdout ?? assert.fail(), 'data');
    const { options = {} } = (await diagnose(['--pid', `${child.pid}`])).process ?? {};
    assert.deepEqual(Object.keys(options).sort(), ['MALLOC_BACKEND_MIMALLOC', 'MIMALLOC_SHOW_ERRORS']);
    const { stdout } = await run(native, ['doctor', '--pid', `${child.pid}`]);
    for (const [name, value] of Object.entries(options))
      assert.ok(stdout.includes(`\noptions    ${name}=${value}\n`), stdout);
  });

  test('what a process has started, and the Node that it is', async () => {
    const script = tools.file(
      'parent.cjs',
      `const { spawn } = require('child_process');
      const own = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
      const env = { ...process.env };
      delete env.LD_PRELOAD;
      const other = spawn('sh', ['-c', 'cat; exit'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
      own.stdin.write('x'); other.stdin.write('x');
      own.stdout.once('data', () => other.stdout.once('data', () => process.stdout.write('x')));
      process.stdin.on('data', () => {});`,
    );
    // Under the name of another program, as process managers and npx have it.
    const child = await waiting(native, ['run', 'jemalloc', '--', process.execPath, '--title=app', script]);
    const found = await diagnose(['--pid', `${child.pid}`]);
    assert.equal(found.process?.node, process.version.slice(1));
    assert.equal(found.process?.program, realpathSync(process.execPath));
    const seen = found.process?.children.map(({ parent, malloc }) => [parent === child.pid, malloc?.backend]);
    assert.deepEqual(
      seen?.sort(),
      [
        [true, 'jemalloc'],
        [true, 'default'],
        [false, 'default'],
      ].sort(),
    );
    const { stdout } = await run(native, ['doctor', '--pid', `${child.pid}`]);
    assert.match(stdout, new RegExp(`^program    .*, Node ${process.version.slice(1)}$`, 'm'));
    assert.match(
      stdout,
      new RegExp(`^\\d+\t${child.pid}\tjemalloc 5\\S* \\(switched by malloc-backend\\)\t.*/cat$`, 'm'),
    );
    // What is no Node has no version of it, though Node asks.
    const plain = await waiting('cat', []);
    assert.equal((await diagnose(['--pid', `${plain.pid}`])).process?.node, undefined);
  });

  test('--expect: the exit status says whether the process is on that backend', async () => {
    const child = await waiting(native, ['run', 'mimalloc', '--', 'cat']);
    const plain = await waiting('cat', []);
    const asked = (pid: number | undefined, backend: string, ...more: string[]) =>
      run(native, ['doctor', '--pid', `${pid}`, '--expect', backend, ...more]);
    assert.deepEqual(
      [(await asked(child.pid, 'mimalloc')).code, (await asked(plain.pid, 'default')).code],
      [0, 0],
    );
    for (const [pid, backend, is] of [
      [child.pid, 'jemalloc', 'mimalloc'],
      [child.pid, 'default', 'mimalloc'],
      [plain.pid, 'mimalloc', activeBackend().allocator],
    ] as const) {
      const { code, stderr } = await asked(pid, backend);
      assert.deepEqual(
        [code, stderr],
        [1, `malloc-backend: process ${pid} runs on ${is}, not on ${backend}\n`],
      );
      const { code: same, stdout } = await asked(pid, backend, '--json');
      assert.equal(same, 1);
      assert.deepEqual((JSON.parse(stdout) as Diagnosis).expected, { backend, met: false });
    }
    // What is obstructed is no matter to a process that runs as it should.
    const limited = await waiting('sh', ['-c', 'ulimit -v 100000000; exec cat']);
    assert.equal((await asked(limited.pid, 'default')).code, 0);
    // Of a program that would be started here.
    const here = (LD_PRELOAD: string) =>
      run(native, ['doctor', '--expect', 'mimalloc'], { env: { LD_PRELOAD } });
    assert.deepEqual([(await here(shim('mimalloc'))).code, (await here('')).code], [0, 1]);
    for (const backend of ['rust', 'tcmalloc', '']) assert.equal((await asked(child.pid, backend)).code, 2);
  });

  test('an error is JSON where JSON is wanted', async () => {
    for (const [args, status, code] of [
      [['--pid', '2147483647'], 1, 'ERR_PROCESS_NOT_FOUND'],
      [['--pid', 'x'], 2, 'ERR_INVALID_ARGUMENT'],
      [['--fly'], 2, 'ERR_INVALID_ARGUMENT'],
      [['--expect', 'tcmalloc'], 2, 'ERR_UNKNOWN_BACKEND'],
    ] as const) {
      const said = await run(native, ['doctor', '--json', ...args]);
      const { error } = JSON.parse(said.stdout) as { error: { code: string; message: string } };
      assert.deepEqual([said.code, error.code, Object.keys(error)], [status, code, ['code', 'message']]);
      assert.equal(said.stderr, `malloc-backend: ${error.message}\n`);
      assert.equal((await run(native, ['doctor', ...args])).stdout, '');
    }
  });

  test('where every backend is obstructed the exit status is 1', async () => {
    const folder = tools.copyOfBinaries(
      'empty',
      SWITCHING.map((backend) => `libmalloc_backend_${backend}.so`),
    );
    const env = { MALLOC_BACKEND_BINARY_DIR: folder };
    const { code, stdout, stderr } = await run(native, ['doctor'], { env });
    assert.equal(code, 1);
    assert.match(stderr, /^malloc-backend: a program that is started here can be switched to no backend$/m);
    assert.match(stdout, /^jemalloc\t\tno: .*does not exist/m);
    // One backend is enough.
    const other = tools.copyOfBinaries(
      'one',
      ['jemalloc', 'snmalloc'].map((each) => `libmalloc_backend_${each}.so`),
    );
    assert.equal((await run(native, ['doctor'], { env: { MALLOC_BACKEND_BINARY_DIR: other } })).code, 0);
  });

  test('a library that does not take effect is found by trying it', async () => {
    const folder = tools.copyOfBinaries('ignored', ['libmalloc_backend_mimalloc.so']);
    tools.ignoredLibrary('ignored/libmalloc_backend_mimalloc.so');
    const found = await diagnose([], { env: { MALLOC_BACKEND_BINARY_DIR: folder } });
    const row = found.backends.find(({ backend }) => backend === 'mimalloc');
    assert.deepEqual([row?.available, found.codes], [false, ['MISSING']]);
    assert.match(row?.reason ?? '', /\/bin\/sh was started on it, and nothing was preloaded into it/);
  });

  test('so is one that says so itself, and one that hangs', { skip: notGlibc }, async () => {
    const folder = tools.copyOfBinaries('others', [
      'libmalloc_backend_mimalloc.so',
      'libmalloc_backend_snmalloc.so',
    ]);
    // As ours says it, in the place of a malloc that something else serves.
    const report = { pid: 1, backend: 'mimalloc', version: '1', library: '/l.so', owner: '/elsewhere.so' };
    const line = JSON.stringify({ ...report, applied: false });
    const library = (backend: string, constructor: string) =>
      tools.cc(
        `others/libmalloc_backend_${backend}.so`,
        `#include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        __attribute__((constructor)) static void begin(void) { ${constructor} }`,
        ['-shared', '-fPIC'],
      );
    library('mimalloc', `dprintf(atoi(getenv("MALLOC_BACKEND_REPORT")), "%s\\n", ${JSON.stringify(line)});`);
    library('snmalloc', 'for (;;) pause();');
    const { backends } = await diagnose([], { env: { MALLOC_BACKEND_BINARY_DIR: folder } });
    const reasons = new Map(backends.map(({ backend, reason }) => [backend, reason]));
    assert.equal(
      reasons.get('mimalloc'),
      '/bin/sh was started on it, and its malloc is still that of /elsewhere.so',
    );
    assert.match(reasons.get('snmalloc') ?? '', /^\/bin\/sh was started on it, and hung for \d+ s$/);
    assert.equal(reasons.get('jemalloc'), undefined);
  });

  test('from a copy of the platform’s folder, without Node', async () => {
    const folder = tools.copyOfBinaries('copied', [`malloc-backend.${platform}.node`]);
    const child = await waiting(`${folder}/malloc-backend`, ['run', 'snmalloc', '--', 'cat']);
    const words = ['doctor', '--pid', `${child.pid}`, '--expect', 'snmalloc'];
    const { code, stdout } = await run(`${folder}/malloc-backend`, words, { env: { PATH: '/usr/bin:/bin' } });
    assert.equal(code, 0);
    assert.ok(stdout.includes(`${folder}/libmalloc_backend_snmalloc.so`));
    // Of a library that is not the one here the version is not known.
    const { malloc } = await diagnose(['--pid', `${child.pid}`]);
    assert.deepEqual([malloc.backend, malloc.version], ['snmalloc', undefined]);
  });

  test('a process that sees other files', { skip: tools.unshares('-m') }, async () => {
    const folder = tools.copyOfBinaries('inside');
    const mounted = 'mount --bind "$0" "$1" && exec "$1/malloc-backend" run mimalloc -- cat';
    const child = await waiting('unshare', ['-m', 'sh', '-c', mounted, folder, tools.binaries]);
    const { malloc } = await diagnose(['--pid', `${child.pid}`]);
    assert.deepEqual(
      [malloc.backend, malloc.owner, malloc.version],
      ['mimalloc', join(realpathSync(tools.binaries), 'libmalloc_backend_mimalloc.so'), undefined],
      'what lies here under that name is another file',
    );
  });

  test('a foreign allocator', { skip: notGlibc }, async () => {
    const foreign = tools.foreignLibrary();
    const found = await diagnose([], { env: { LD_PRELOAD: foreign } });
    assert.deepEqual([found.malloc.kind, found.codes], ['foreign', ['FOREIGN_PRELOAD']]);
    const [{ message = '' } = {}] = found.obstacles;
    assert.ok(message.includes(foreign));
    assert.equal(found.malloc.allocator, 'unknown');
    // By another path, and by a name that the loader looks for.
    symlinkSync(tools.scratch('.'), tools.scratch('link'));
    for (const LD_PRELOAD of [join(tools.scratch('link'), basename(foreign)), basename(foreign)]) {
      const env = { LD_PRELOAD, LD_LIBRARY_PATH: dirname(foreign) };
      assert.deepEqual((await diagnose([], { env })).codes, ['FOREIGN_PRELOAD'], LD_PRELOAD);
    }
    const named = tools.scratch('libtcmalloc.so');
    copyFileSync(foreign, named);
    assert.equal((await diagnose([], { env: { LD_PRELOAD: named } })).malloc.allocator, 'tcmalloc');
    const { stdout } = await run(native, ['doctor'], { env: { LD_PRELOAD: foreign } });
    assert.match(stdout, /^malloc here: unknown \(an allocator that is not of this package\)\n/);
    assert.ok(stdout.includes(`\nIn the way:\n  - ${message}\n`), stdout);
    const behind = await diagnose([], { env: { LD_PRELOAD: `${shim('mimalloc')}:${foreign}` } });
    assert.deepEqual([behind.malloc.backend, behind.codes], ['mimalloc', ['FOREIGN_PRELOAD']]);
    const plugin = await compiled('plugin.so');
    assert.deepEqual((await diagnose([], { env: { LD_PRELOAD: plugin } })).codes, []);
  });

  test('default as a process that is switched to it has it', { skip: notGlibc }, async () => {
    const rowOf = async (options: { env?: Record<string, string>; wrapper?: readonly string[] }) => {
      const [program = '', ...args] = [...(options.wrapper ?? []), native, 'doctor'];
      const { stdout } = await succeed(program, args, { env: options.env ?? {} });
      return stdout
        .split('\n')
        .find((line) => line.startsWith('default\t'))
        ?.split('\t')
        .slice(1);
    };
    const { libc } = await diagnose();
    const glibc = `glibc ${libc.version}`;
    assert.deepEqual(await rowOf({}), [glibc, 'yes']);
    const wrapper = [native, 'run', 'jemalloc', '--'];
    assert.deepEqual(await rowOf({ wrapper }), [glibc, 'yes']);
    const foreign = tools.foreignLibrary();
    for (const LD_PRELOAD of [foreign, `${shim('mimalloc')}:${foreign}`]) {
      assert.deepEqual(await rowOf({ env: { LD_PRELOAD } }), [glibc, 'yes'], 'it is left out');
      const { code } = await command(['run', 'default', 'true'], { env: { LD_PRELOAD } });
      assert.equal(code, 0, 'as the row says');
      const { backends } = await diagnose([], { env: { LD_PRELOAD } });
      assert.deepEqual(
        backends.map(({ available }) => available),
        [true, true, true, true, false],
      );
    }
  });

  test('a folder that LD_PRELOAD cannot name', async () => {
    const folder = tools.copyOfBinaries('with space');
    const found = await diagnose([], { env: { MALLOC_BACKEND_BINARY_DIR: folder } });
    assert.deepEqual(found.codes, ['MISSING']);
    const [{ message = '' } = {}] = found.obstacles;
    assert.match(message, /^default, jemalloc, mimalloc, snmalloc: LD_PRELOAD cannot name .*with space/);
  });

  test('a process id that is none is shown as it was given', async () => {
    for (const text of ['abc', '', '1e3', '-1', '+1', '1.5']) {
      const { code, stderr } = await command(['doctor', `--pid=${text}`]);
      assert.equal(code, 2);
      assert.equal(
        stderr,
        `malloc-backend: --pid needs a process id, a positive integer, not ${JSON.stringify(text)}\n`,
      );
    }
    assert.match((await command(['doctor', '--pid=0'])).stderr, /positive integer, not "0"$/m);
  });

  test('a limit of the address space, a library that is missing', async () => {
    const wrapper = ['sh', '-c', 'ulimit -v 100000000; exec "$@"', 'sh'];
    assert.deepEqual((await diagnose([], { wrapper })).codes, ['ADDRESS_SPACE']);
    const data = ['sh', '-c', 'ulimit -d 100000000; exec "$@"', 'sh'];
    assert.match((await diagnose([], { wrapper: data })).obstacles[0]?.message ?? '', /ulimit -d/);
    const folder = tools.copyOfBinaries('missing', ['libmalloc_backend_jemalloc.so']);
    const missing = await diagnose([], { env: { MALLOC_BACKEND_BINARY_DIR: folder } });
    assert.deepEqual(missing.codes, ['MISSING']);
    assert.match(missing.obstacles[0]?.message ?? '', /jemalloc: .*does not exist/);
  });

  test('a static program', async (t) => {
    const program = tools.staticProgram('static', tools.ECHO);
    if (program === undefined) return t.skip('no static C library');
    const child = await waiting(program, []);
    const { malloc, codes, switchable } = await diagnose(['--pid', `${child.pid}`]);
    assert.deepEqual(malloc, { kind: 'static', allocator: 'unknown', owner: program });
    assert.deepEqual([codes, switchable], [['STATIC'], false]);
    const { code, stdout, stderr } = await run(native, ['doctor', '--pid', `${child.pid}`]);
    assert.deepEqual(
      [code, stderr],
      [1, `malloc-backend: process ${child.pid} can be switched to no backend\n`],
    );
    assert.match(stdout, /^malloc in process \d+: unknown \(a static program\)$/m);
  });

  test('a program for the other C library', { skip: notGlibc }, async () => {
    // A loader that is musl's by its name.
    const loader = tools.scratch('ld-musl-x.so.1');
    copyFileSync(linuxBinding().inspectProgram(process.execPath).interpreter ?? assert.fail(), loader);
    const child = await waiting(tools.cc('musl', tools.ECHO, [`-Wl,--dynamic-linker=${loader}`]), []);
    const { libc, codes, switchable, obstacles } = await diagnose(['--pid', `${child.pid}`]);
    assert.deepEqual([libc.name, codes, switchable], ['musl', ['LIBC'], false]);
    assert.match(
      obstacles[0]?.message ?? '',
      /^its C library is musl, and the libraries here are for glibc$/,
    );
  });

  test('of another process what stands in its way, and not in doctor’s', { skip: notGlibc }, async () => {
    const foreign = tools.foreignLibrary();
    const limit = ['sh', '-c', 'ulimit -v 100000000; exec "$@"', 'sh'];
    const child = start('sh', [...limit.slice(1), 'cat'], {
      env: { LD_PRELOAD: `${shim('mimalloc')}:${foreign}` },
    });
    children.push(child);
    child.stdin?.write('x');
    await once(child.stdout ?? assert.fail(), 'data');
    const found = await diagnose(['--pid', `${child.pid}`]);
    assert.deepEqual([found.malloc.backend, found.codes], ['mimalloc', ['FOREIGN_PRELOAD', 'ADDRESS_SPACE']]);
    const plain = start('cat', []);
    children.push(plain);
    plain.stdin?.write('x');
    await once(plain.stdout ?? assert.fail(), 'data');
    // One that ends every shell would have each library fail its trial.
    const ends = tools.cc(
      'ends-shells.so',
      `#include <unistd.h>
      #include <string.h>
      extern char *program_invocation_short_name;
      __attribute__((constructor)) static void end(void) {
        if (strcmp(program_invocation_short_name, "sh") == 0) _exit(0);
      }`,
      ['-shared', '-fPIC'],
    );
    assert.equal((await run('sh', ['-c', 'exit 7'], { env: { LD_PRELOAD: ends } })).code, 0);
    const LD_PRELOAD = `${foreign}:${ends}`;
    const own = ['sh', '-c', 'ulimit -v 100000000; LD_PRELOAD="$0" exec "$@"', LD_PRELOAD];
    const of = ['--pid', `${plain.pid}`];
    assert.deepEqual((await diagnose(of, { wrapper: own })).codes, []);
    const switched = { env: { LD_PRELOAD }, wrapper: [native, 'run', 'jemalloc', '--'] };
    assert.deepEqual((await diagnose(of, switched)).codes, []);
  });

  test('where there is no process surface', async () => {
    const words = ['--require', tools.file('macos.cjs', tools.ELSEWHERE), cli, 'doctor'];
    const { code, stdout } = await run(process.execPath, [...words, '--json']);
    const { platform: named, switchable, obstacles } = JSON.parse(stdout) as Diagnosis;
    assert.deepEqual(
      [code, named, switchable, obstacles.map((each) => each.code)],
      [1, `darwin-${process.arch}`, false, ['PLATFORM']],
    );
    const told = await run(process.execPath, words);
    assert.match(told.stdout, /^platform {3}darwin.*\n[^]*In the way:\n {2}- .*works on Linux only/);
  });

  test('without /proc', { skip: tools.unshares('-m') }, async () => {
    const masked = ['-m', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh', native, 'doctor'];
    for (const words of [[], ['--pid', '1']]) {
      const { code, stderr } = await run('unshare', [...masked, ...words]);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /^malloc-backend: cannot determine .*: there is no \/proc.*; mount it \(mount -t proc/,
      );
    }
  });

  test('where /proc hides the process', { skip: tools.cannotBeNobody || tools.unshares('-m') }, async (t) => {
    const hidden = 'mount -t proc -o hidepid=2 none /proc && exec "$@"';
    const words = [
      '-m',
      'sh',
      '-c',
      hidden,
      'sh',
      ...tools.asNobody,
      native,
      'doctor',
      '--pid',
      `${process.pid}`,
    ];
    const { code, stderr } = await run('unshare', words);
    if (code === 32) return t.skip(`/proc cannot be mounted so: ${stderr}`);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /mounted with hidepid, which hides the process; run this as its user or as root with CAP_SYS_PTRACE/,
    );
  });

  const setcap = tools.which('setcap');
  const noSecure = tools.cannotBeNobody || (setcap === undefined && 'setcap is not installed');
  test('more rights than its caller (AT_SECURE)', { skip: noSecure }, async (t) => {
    mkdirSync(tools.scratch('secure'), { recursive: true });
    const node = tools.scratch('secure/node');
    copyFileSync(readlinkSync('/proc/self/exe'), node);
    try {
      execFileSync(setcap ?? '', ['cap_net_raw+ep', node], { stdio: 'pipe' });
    } catch (error) {
      return t.skip(`the file system takes no capabilities: ${String(error)}`);
    }
    const [program = '', ...args] = [...tools.asNobody, node, '-e', 'process.stdin.pipe(process.stdout)'];
    const secure = await waiting(program, args);
    const found = await diagnose(['--pid', `${secure.pid}`]);
    assert.deepEqual([found.codes, found.switchable], [['SECURE'], false]);
  });

  test('a process of another user', { skip: tools.cannotBeNobody }, async () => {
    const [other = '', ...others] = [...tools.asNobody, native, 'doctor', '--pid', `${process.pid}`];
    const denied = await run(other, others);
    assert.deepEqual([denied.code, denied.stdout], [1, '']);
    assert.match(
      denied.stderr,
      /no permission to inspect it; it belongs to user 0: run this as that user or as root with CAP_SYS_P/,
    );
    // Root's, in a container that took the right away.
    const nobody = await waiting(other, [...tools.asNobody.slice(1), 'cat']);
    const without = ['--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace', native, 'doctor', '--pid'];
    const { code, stderr } = await run(other, [...without, `${nobody.pid}`]);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /belongs to user 65534.*CAP_SYS_PTRACE, which root lacks here \(docker run --cap-add/,
    );
    // Of a child that may not be looked into it is said which, and the rest is shown.
    const parent = await waiting(other, [
      ...without.slice(0, 2),
      'sh',
      '-c',
      `${tools.asNobody.join(' ')} cat; exit`,
    ]);
    const shown = await run(other, [...without, `${parent.pid}`, '--json']);
    assert.deepEqual(
      (JSON.parse(shown.stdout) as Diagnosis).process?.children.map(({ error }) => error?.code),
      ['ERR_PROCESS_ACCESS'],
    );
    const { stdout: told } = await run(other, [...without, `${parent.pid}`]);
    assert.match(
      told,
      new RegExp(`^\\d+\t${parent.pid}\tcannot determine which malloc process \\d+ uses: .*\t$`, 'm'),
    );
  });

  test(
    'colour and a table on a terminal only',
    { skip: tools.which('script') === undefined && 'script(1) is not installed' },
    async () => {
      const onTerminal = async (env: Record<string, string>) =>
        (
          await succeed('script', ['-qec', `${native} doctor`, '/dev/null'], {
            env: { TERM: 'xterm', ...env },
          })
        ).stdout;
      const plain = (await command(['doctor'], { env: { TERM: 'xterm', FORCE_COLOR: '1' } })).stdout;
      assert.doesNotMatch(plain, /\x1b/);
      assert.match(plain, /^jemalloc\t\d/m);
      const colour = await onTerminal({});
      assert.match(colour, /\x1b\[1m/);
      assert.match(colour, /^\S*backend\s+version/m);
      assert.match(colour, /^jemalloc {2,}\d/m);
      const column = (backend: string) =>
        new RegExp(`^${backend} +(?=\\d|glibc|musl)`, 'm').exec(colour)?.[0].length;
      assert.equal(column('default'), column('jemalloc'), colour);
      assert.match(await onTerminal({ NO_COLOR: '' }), /\x1b\[1m/);
      for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }])
        assert.doesNotMatch(await onTerminal(env), /\x1b/);
    },
  );
});
