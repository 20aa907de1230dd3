// doctor: what it finds here and in other processes, and how it says so.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import {
  type ActiveBackend,
  type BackendInfo,
  MemoryAllocatorBackend,
  type MemoryBreakdown,
  activeBackend,
} from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { ended, kill, run, start, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, isGlibc, notGlibc, platform, root, shim } from './support/shims.js';

const { command, cli } = tools;

interface Diagnosis {
  platform: string;
  node: string;
  libc: { name: string; version?: string };
  pageSize: number;
  binaries: string;
  pid: number;
  malloc: ActiveBackend;
  backends: BackendInfo[];
  obstacles: { code: string; message: string }[];
  memory?: MemoryBreakdown;
}

describe('doctor', { skip: cannotPreload }, () => {
  const children: ReturnType<typeof start>[] = [];
  after(() => children.forEach(kill));

  async function diagnose(
    args: string[] = [],
    { env = {}, wrapper = [] }: { env?: Record<string, string>; wrapper?: readonly string[] } = {},
  ) {
    const [program = '', ...others] = [...wrapper, process.execPath, cli, 'doctor', '--json', ...args];
    const { stdout } = await succeed(program, others, { env });
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    return { ...diagnosis, codes: diagnosis.obstacles.map(({ code }) => code) };
  }

  test('says what this machine has', async () => {
    const { malloc, backends, codes, ...found } = await diagnose();
    assert.equal(found.platform, `${process.platform}-${process.arch}`);
    assert.equal(found.node, process.version);
    assert.equal(found.pageSize, Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' })));
    assert.equal(realpathSync(found.binaries), realpathSync(tools.binaries));
    assert.deepEqual([malloc.owner, malloc.backend], ['libc', 'default']);
    assert.deepEqual(
      backends.map(({ backend }) => backend),
      Object.values(MemoryAllocatorBackend),
    );
    assert.ok(['glibc', 'musl'].includes(found.libc.name));
    assert.deepEqual(codes, platform.endsWith('musl') ? ['MUSL'] : []);
    const { stdout } = await command(['doctor']);
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
      [found.pid, found.malloc.backend, found.malloc.path],
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

  test('where the memory is, of this process and of another', async () => {
    const { memory, pid } = await diagnose(['--memory']);
    assert.ok(memory !== undefined);
    const { rss, parts } = memory;
    const sum = Object.values({ ...parts }).reduce((all, part) => all + part, 0);
    assert.equal(memory.pid, pid);
    assert.ok(Math.abs(sum - rss) < 0.05 * rss, `${sum} of ${rss}`);
    assert.ok('v8Heap' in parts && 'arrayBuffers' in parts);
    assert.equal('memory' in (await diagnose()), false, 'only where it was asked for');
    const { stdout } = await command(['doctor', '--memory', '--pid', `${process.pid}`]);
    const lines = stdout.split('\n').filter((line) => /\t[\d.]+ MiB\t[\d.]+ %$/.test(line));
    const names = lines.map((line) => line.split('\t')[0]);
    const heaps = isGlibc ? ['malloc'] : [];
    const expected = ['compiled code', ...heaps, 'mapped files', "threads' stacks", 'other', 'RSS'];
    assert.deepEqual(
      names.filter((name) => name !== 'V8 heap'),
      expected,
    );
    assert.match(lines.at(-1) ?? '', /100\.0 %$/);
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
      const [program = '', ...args] = [...(options.wrapper ?? []), process.execPath, cli, 'doctor'];
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
    const wrapper = [process.execPath, cli, 'run', 'jemalloc', '--'];
    assert.deepEqual(await rowOf({ wrapper }), [glibc, 'yes']);
    const foreign = tools.foreignLibrary();
    for (const LD_PRELOAD of [foreign, `${shim('mimalloc')}:${foreign}`]) {
      assert.deepEqual(await rowOf({ env: { LD_PRELOAD } }), [glibc, 'yes'], 'it is left out');
      const { code } = await command(['run', 'default', 'true'], { env: { LD_PRELOAD } });
      assert.equal(code, 0, 'as the row says');
      const { backends } = await diagnose([], { env: { LD_PRELOAD } });
      assert.deepEqual(
        backends.map(({ surfaces }) => surfaces.process.available),
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
    assert.match((await command(['doctor', '--pid=0'])).stderr, /positive integer, not 0$/m);
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

  test('what can be shown where there is no process surface', async () => {
    // The addon as it is on macOS, by its name and by what it has not.
    const declarations = readFileSync(join(root, 'src', 'binding.ts'), 'utf8');
    const LINUX_ONLY = [...declarations.matchAll(/^ {2}(\w+)\?\(/gm)].map(([, name]) => name);
    assert.ok(LINUX_ONLY.includes('host'));
    const folder = tools.copyOfBinaries('macos');
    copyFileSync(
      `${folder}/malloc-backend.${platform}.node`,
      `${folder}/malloc-backend.darwin-${process.arch}.node`,
    );
    const elsewhere = `Object.defineProperty(process, 'platform', { value: 'darwin' });
      const { dlopen } = process;
      process.dlopen = (module, ...rest) => {
        dlopen.call(process, module, ...rest);
        for (const name of ${JSON.stringify(LINUX_ONLY)}) delete module.exports[name];
      };`;
    const preload = ['--require', tools.file('macos.cjs', elsewhere)];
    const env = { MALLOC_BACKEND_BINARY_DIR: folder };
    const { stdout } = await succeed(process.execPath, [...preload, cli, 'doctor', '--json'], { env });
    const { malloc, obstacles, ...found } = JSON.parse(stdout) as Diagnosis;
    assert.deepEqual(
      [malloc, obstacles.map(({ code }) => code), found.platform, found.backends.length],
      [undefined, ['PLATFORM'], `darwin-${process.arch}`, 5],
    );
    const told = await succeed(process.execPath, [...preload, cli, 'doctor'], { env });
    assert.match(told.stdout, /^platform {3}darwin.*\n[^]*In the way:\n {2}- .*works on Linux only/);
  });

  const setcap = tools.which('setcap');
  const noSecure = tools.cannotBeNobody || (setcap === undefined && 'setcap is not installed');
  test(
    'more rights than the caller (AT_SECURE), and a process of another user',
    { skip: noSecure },
    async (t) => {
      mkdirSync(tools.scratch('secure'), { recursive: true });
      const node = tools.scratch('secure/node');
      copyFileSync(readlinkSync('/proc/self/exe'), node);
      try {
        execFileSync(setcap ?? '', ['cap_net_raw+ep', node], { stdio: 'pipe' });
      } catch (error) {
        return t.skip(`the file system takes no capabilities: ${String(error)}`);
      }
      const [program = '', ...args] = [...tools.asNobody, node, cli, 'doctor', '--json'];
      const found = JSON.parse((await succeed(program, args)).stdout) as Diagnosis;
      assert.deepEqual(
        found.obstacles.map(({ code }) => code),
        ['SECURE'],
      );
      // Of another process that runs so, as root sees it.
      const secure = start(tools.asNobody[0] ?? '', [
        ...tools.asNobody.slice(1),
        node,
        '-e',
        'process.stdin.pipe(process.stdout)',
      ]);
      children.push(secure);
      secure.stdin?.write('x');
      await once(secure.stdout ?? assert.fail(), 'data');
      assert.deepEqual((await diagnose(['--pid', `${secure.pid}`])).codes, ['SECURE']);
      const [other = '', ...others] = [
        ...tools.asNobody,
        process.execPath,
        cli,
        'doctor',
        '--pid',
        `${process.pid}`,
      ];
      const denied = await run(other, others);
      assert.deepEqual([denied.code, denied.stdout], [1, '']);
      assert.match(denied.stderr, /may not be looked into/);
    },
  );

  test(
    'colour and a table on a terminal only',
    { skip: tools.which('script') === undefined && 'script(1) is not installed' },
    async () => {
      const onTerminal = async (env: Record<string, string>) =>
        (
          await succeed('script', ['-qec', `${process.execPath} ${cli} doctor`, '/dev/null'], {
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
