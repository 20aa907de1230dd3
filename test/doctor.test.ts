// doctor: what it finds here and in other processes, and how it says so.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import {
  MemoryAllocatorBackend,
  type MemoryBreakdown,
  activeBackend,
  backends as packageBackends,
} from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { ended, kill, run, start, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, isGlibc, notGlibc, platform, shim } from './support/shims.js';

const { command, cli, native } = tools;

interface Malloc {
  owner: string;
  allocator: string;
  backend?: string;
  version?: string;
  path: string;
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
  after(() => children.forEach(kill));

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
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    return { ...diagnosis, codes: diagnosis.obstacles.map(({ code }) => code) };
  }

  test('says what this machine has', async () => {
    const { malloc, backends, codes, ...found } = await diagnose();
    assert.equal(found.platform, `${process.platform}-${process.arch}`);
    assert.equal(found.pageSize, Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' })));
    assert.equal(realpathSync(found.binaries), realpathSync(tools.binaries));
    assert.deepEqual([malloc.owner, malloc.backend, found.switchable], ['libc', 'default', true]);
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
    for (const text of [
      malloc.path,
      found.libc.name,
      `${found.pageSize}`,
      found.binaries,
      'Nothing stands in the way',
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
      [found.process?.pid, found.malloc.backend, found.malloc.path],
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
      assert.equal((await diagnose(['--pid', `${child.pid}`])).malloc.backend, 'jemalloc');
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
    assert.match(without.stderr, /--memory wants a process: --pid/);
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
        if (option === undefined) continue;
        const { stdout } = await run(native, ['doctor', '--pid', `${child.pid}`]);
        assert.match(stdout, new RegExp(`^options    \\w+=.*${option}`, 'm'));
        if (preset !== undefined) assert.match(stdout, new RegExp(`^preset     ${preset}$`, 'm'));
      }
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
    assert.match(stdout, new RegExp(`^\\d+\t${child.pid}\tjemalloc 5.*\t.*/cat$`, 'm'));
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

  test('from a copy of the platform’s folder, without Node', async () => {
    const folder = tools.copyOfBinaries('copied', [`malloc-backend.${platform}.node`]);
    const child = await waiting(`${folder}/malloc-backend`, ['run', 'snmalloc', '--', 'cat']);
    const words = ['doctor', '--pid', `${child.pid}`, '--expect', 'snmalloc'];
    const { code, stdout } = await run(`${folder}/malloc-backend`, words, { env: { PATH: '/usr/bin:/bin' } });
    assert.equal(code, 0);
    assert.ok(stdout.includes(`${folder}/libmalloc_backend_snmalloc.so`));
  });

  test('a foreign allocator', { skip: notGlibc }, async () => {
    const foreign = tools.foreignLibrary();
    const found = await diagnose([], { env: { LD_PRELOAD: foreign } });
    assert.deepEqual([found.malloc.owner, found.codes], ['foreign', ['FOREIGN_PRELOAD']]);
    assert.ok(found.obstacles[0]?.message.includes(foreign));
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
    for (const text of ['abc', '', '1e3', '-1', '1.5']) {
      const { code, stderr } = await command(['doctor', `--pid=${text}`]);
      assert.equal(code, 2);
      assert.equal(
        stderr,
        `malloc-backend: --pid wants a process id, a positive integer, not ${JSON.stringify(text)}\n`,
      );
    }
    assert.match((await command(['doctor', '--pid=0'])).stderr, /positive integer, not "0"$/m);
  });

  test('a limit of the address space, a static program, a library that is missing', async (t) => {
    const wrapper = ['sh', '-c', 'ulimit -v 100000000; exec "$@"', 'sh'];
    assert.deepEqual((await diagnose([], { wrapper })).codes, ['ADDRESS_SPACE']);
    const data = ['sh', '-c', 'ulimit -d 100000000; exec "$@"', 'sh'];
    assert.match((await diagnose([], { wrapper: data })).obstacles[0]?.message ?? '', /ulimit -d/);
    const folder = tools.copyOfBinaries('missing', ['libmalloc_backend_jemalloc.so']);
    const missing = await diagnose([], { env: { MALLOC_BACKEND_BINARY_DIR: folder } });
    assert.deepEqual(missing.codes, ['MISSING']);
    assert.match(missing.obstacles[0]?.message ?? '', /jemalloc: .*does not exist/);
    const program = tools.staticProgram('static', tools.ECHO);
    if (program === undefined) return t.diagnostic('no static C library');
    const child = start(program, []);
    children.push(child);
    child.stdin?.write('x');
    await once(child.stdout ?? assert.fail(), 'data');
    const found = await diagnose(['--pid', `${child.pid}`]);
    assert.deepEqual([found.malloc.owner, found.malloc.path, found.codes], ['static', program, ['STATIC']]);
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
    const env = { LD_PRELOAD: foreign };
    assert.deepEqual((await diagnose(['--pid', `${plain.pid}`], { env, wrapper: limit })).codes, []);
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
      assert.match(stderr, /^malloc-backend: cannot tell .*: there is no \/proc.*; mount it \(mount -t proc/);
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
      /mounted with hidepid and does not show it; ask as its user or as root with CAP_SYS_PTRACE/,
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
      /may not be looked into; it belongs to user 0: ask as that user or as root with CAP_SYS_P/,
    );
    // Root's, in a container that took the right away.
    const nobody = await waiting(other, [...tools.asNobody.slice(1), 'cat']);
    const without = ['--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace', native, 'doctor', '--pid'];
    const { code, stderr } = await run(other, [...without, `${nobody.pid}`]);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /belongs to user 65534.*CAP_SYS_PTRACE, which root has not here \(docker run --cap-add/,
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
      for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }])
        assert.doesNotMatch(await onTerminal(env), /\x1b/);
    },
  );
});
