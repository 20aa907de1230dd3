// The five backends by name, what this build has of them, and whose malloc a process runs on.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import {
  type ActiveBackend,
  MallocBackendError,
  MemoryAllocatorBackend,
  activeBackend,
  backends,
  isBackend,
  preferredBackend,
  environment,
  parseBackend,
  rustGlobalAllocator,
} from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { kill, run, start } from './support/run.js';
import { type Shim, SWITCHING, cannotPreload, emulated, isGlibc, notGlibc, shim } from './support/shims.js';
import { afterAll, beforeAll, describe, test } from './support/suite.js';

const FIVE = ['default', 'jemalloc', 'mimalloc', 'snmalloc', 'rust'];
const linux = process.platform === 'linux';

describe('the enum', () => {
  test('is a plain object of the five strings', () => {
    assert.deepEqual(MemoryAllocatorBackend, {
      Default: 'default',
      Jemalloc: 'jemalloc',
      Mimalloc: 'mimalloc',
      Snmalloc: 'snmalloc',
      Rust: 'rust',
    });
    assert.deepEqual(FIVE.map(parseBackend), FIVE);
    assert.ok(FIVE.every(isBackend));
  });

  test('what is none of them is named, with the five or the nearest', () => {
    const strings = ['', 'Jemalloc', ' jemalloc', 'jemalloc\n', 'toString', '__proto__', 'libc', '0'];
    const others = [undefined, null, 1, NaN, true, {}, ['jemalloc'], 5n, Symbol('x'), parseBackend];
    for (const name of [...strings, ...others]) {
      assert.equal(isBackend(name), false);
      tools.refuses(
        () => parseBackend(name),
        'ERR_UNKNOWN_BACKEND',
        typeof name === 'string' && /jemalloc/i.test(name)
          ? /\. Did you mean jemalloc\?$/
          : new RegExp(`; it must be one of: ${FIVE.join(', ')}$`),
        ...(typeof name === 'string' ? [] : [new RegExp(name === null ? 'null' : typeof name)]),
      );
    }
    tools.refuses(() => parseBackend('tcmalloc'), 'ERR_UNKNOWN_BACKEND', /"tcmalloc"/);
  });

  test('its default value is jemalloc where there is one', () => {
    assert.equal(preferredBackend(), process.platform === 'win32' ? 'default' : 'jemalloc');
    assert.ok(FIVE.includes(rustGlobalAllocator()));
  });
});

describe('backends()', () => {
  test('has the five in their order, each with its version and where it can serve', () => {
    const found = backends();
    assert.deepEqual(
      found.map(({ backend }) => backend),
      FIVE,
    );
    for (const { backend, available, reason, version, surfaces } of found) {
      const isAbsent = process.platform === 'win32' && backend === 'jemalloc';
      assert.equal(available, !isAbsent, backend);
      if (isAbsent) assert.equal(reason, 'jemalloc does not exist on this platform');
      else assert.equal(reason, undefined, backend);
      if (isAbsent) assert.equal(version, undefined);
      else if (SWITCHING.includes(backend as 'jemalloc'))
        assert.match(version ?? '', /^\d+\.\d+\.\d+$/, backend);
      const { process: served } = surfaces;
      assert.equal(served.available, linux && backend !== 'rust', backend);
      if (served.available) assert.equal(served.reason, undefined);
      else {
        const reason = linux ? /global allocator uses malloc/ : /works on Linux only for now, not on /;
        assert.match(served.reason ?? '', reason);
      }
    }
  });

  test('the list is the caller’s own', () => {
    backends().length = 0;
    assert.equal(backends().length, 5);
  });

  test('default has no version where a foreign malloc serves', { skip: notGlibc }, async () => {
    const look = "show(m.backends().find(({ backend }) => backend === 'default').version)";
    assert.notEqual(await tools.evaluate(look), null);
    assert.equal(await tools.evaluate(look, { env: { LD_PRELOAD: tools.foreignLibrary() } }), null);
  });

  test('a folder that LD_PRELOAD cannot name is a reason', { skip: cannotPreload }, async () => {
    const folder = tools.copyOfBinaries('with space');
    const found = await tools.evaluate<ReturnType<typeof backends>>('show(m.backends())', {
      env: { MALLOC_BACKEND_BINARY_DIR: folder },
    });
    for (const { backend, surfaces } of found) {
      const { process: served, allocator } = surfaces;
      assert.deepEqual([served.available, allocator.available], [false, true], backend);
      if (backend !== 'rust')
        assert.match(served.reason ?? '', /^LD_PRELOAD cannot name ".*with space": .*_DIR$/);
    }
    const hook = 'libmalloc_backend_python_hook.so';
    copyFileSync(join(tools.binaries, hook), join(folder, hook));
    const look = 'show(m.backends().map(({ surfaces }) => surfaces.python.reason))';
    const reasons = await tools.evaluate<string[]>(look, { env: { MALLOC_BACKEND_BINARY_DIR: folder } });
    for (const reason of reasons) assert.match(reason, /^LD_PRELOAD cannot name/);
  });

  test('a library that is not there is a reason', { skip: cannotPreload }, async () => {
    const missing = 'libmalloc_backend_mimalloc.so';
    const env = { MALLOC_BACKEND_BINARY_DIR: tools.copyOfBinaries('incomplete', [missing]) };
    const found = await tools.evaluate<ReturnType<typeof backends>>('show(m.backends())', { env });
    for (const { backend, surfaces } of found.filter((each) => each.backend !== 'rust')) {
      assert.equal(surfaces.process.available, backend !== 'mimalloc', backend);
      if (backend === 'mimalloc') assert.ok(surfaces.process.reason?.includes(missing));
    }
  });
});

describe('activeBackend() here', { skip: cannotPreload }, () => {
  const here = (env: Record<string, string> = {}) =>
    tools.evaluate<ActiveBackend>('show(m.activeBackend())', { env });

  test('assertBackend() passes on that backend alone', async () => {
    const asserts = (backend: string, env: Record<string, string>) =>
      tools.evaluate<string | null>(
        `try { m.assertBackend('${backend}'); show(null) } catch (error) { show(error.code + ' ' + error.message) }`,
        { env },
      );
    for (const backend of ['default', ...SWITCHING]) {
      const env = backend === 'default' ? {} : { LD_PRELOAD: shim(backend as 'jemalloc') };
      assert.equal(await asserts(backend, env), null);
      const other = backend === 'mimalloc' ? 'jemalloc' : 'mimalloc';
      const said = (await asserts(other, env)) ?? '';
      assert.match(
        said,
        new RegExp(`^ERR_NOT_APPLIED this process runs on .* and not on ${other}; start it by`),
      );
    }
    assert.match((await asserts('tcmalloc', {})) ?? '', /^ERR_UNKNOWN_BACKEND/);
  });

  test('is libc unswitched, and under the probe, and with a library that has no malloc', async () => {
    const plugin = await compiled('plugin.so');
    for (const env of [{}, { LD_PRELOAD: shim('default') }, { LD_PRELOAD: plugin }]) {
      const { kind, backend, allocator, version, owner } = await here(env);
      assert.deepEqual([kind, backend], ['libc', 'default']);
      assert.match(basename(owner), /^(libc\.|ld-musl)/);
      if (!isGlibc) {
        const { version: ofBackend } = backends().find((each) => each.backend === 'default') ?? {};
        assert.deepEqual([allocator, version, ofBackend], ['musl', undefined, 'musl']);
        continue;
      }
      assert.equal(allocator, 'glibc');
      const { header } = process.report.getReport() as { header: { glibcVersionRuntime: string } };
      assert.equal(version, header.glibcVersionRuntime);
    }
  });

  for (const backend of SWITCHING) {
    test(`is ${backend} under its library`, async () => {
      const { version } = backends().find((each) => each.backend === backend) ?? {};
      const expected = { kind: 'shim', allocator: backend, backend, version, owner: shim(backend) };
      assert.deepEqual(await here({ LD_PRELOAD: shim(backend) }), expected);
    });
  }

  test('is whichever library comes first', { skip: notGlibc }, async () => {
    const foreign = tools.foreignLibrary();
    assert.deepEqual(await here({ LD_PRELOAD: `${foreign}:${shim('mimalloc')}` }), {
      kind: 'foreign',
      allocator: 'unknown',
      owner: foreign,
    });
    assert.equal((await here({ LD_PRELOAD: `${shim('mimalloc')}:${foreign}` })).kind, 'shim');
    assert.equal((await here({ LD_PRELOAD: `${shim('jemalloc')}:${shim('mimalloc')}` })).backend, 'jemalloc');
  });

  for (const [allocator, library, debianPackage] of tools.foreignAllocators) {
    const path = tools.systemLibrary(library);
    const skip = path === undefined && `${debianPackage} is not installed`;
    test(`is a foreign ${allocator}, by name and version`, { skip }, async () => {
      const { version, ...found } = await here({ LD_PRELOAD: path ?? '' });
      assert.deepEqual(found, { kind: 'foreign', allocator, owner: path });
      assert.match(version ?? '', /^\d+\.\d+/);
    });
  }
});

describe('activeBackend(pid)', { skip: cannotPreload || emulated }, () => {
  const children: ReturnType<typeof start>[] = [];
  afterAll(() => children.forEach(kill));
  let echo: string;
  beforeAll(() => void (echo = tools.cc('echo', tools.ECHO)));

  /** A program that has begun: it answers what it is given. */
  async function running(env: Record<string, string> = {}, program = echo, args: string[] = []) {
    const child = start(program, args, { env });
    children.push(child);
    child.stdin?.write('x\n');
    await once(child.stdout ?? assert.fail(), 'data');
    return child.pid ?? assert.fail();
  }

  test('says of another process what that says of itself', async () => {
    for (const backend of SWITCHING) {
      const pid = await running({ LD_PRELOAD: shim(backend) });
      const { version } = backends().find((each) => each.backend === backend) ?? {};
      const expected = { kind: 'shim', allocator: backend, backend, version, owner: shim(backend) };
      assert.deepEqual(activeBackend(pid), expected);
    }
    const plain = activeBackend(await running());
    assert.deepEqual([plain.kind, plain.backend], ['libc', 'default']);
    assert.deepEqual({ ...plain, owner: realpathSync(plain.owner) }, plain);
    const probed = activeBackend(await running({ LD_PRELOAD: shim('default') }));
    assert.deepEqual(probed, plain, 'the probe replaces nothing');
    assert.deepEqual(activeBackend(process.pid), activeBackend());
  });

  test('sees the library of a process whose children are left alone', async () => {
    const env = environment('snmalloc', { children: 'none', env: {} }) as Record<string, string>;
    assert.equal(activeBackend(await running(env)).backend, 'snmalloc');
  });

  test('knows the version of libc from a switched process, and of no other installation’s library', async () => {
    const pid = await running();
    const version = (env: Record<string, string>, of: number) =>
      tools.evaluate<string | null>(`show(m.activeBackend(${of}).version)`, { env });
    assert.equal(await version({ LD_PRELOAD: shim('jemalloc') }, pid), activeBackend(pid).version ?? null);
    const elsewhere = tools.copyOfBinaries('elsewhere');
    const other = await running({ LD_PRELOAD: `${elsewhere}/libmalloc_backend_mimalloc.so` });
    const { backend, version: unknown } = activeBackend(other);
    assert.deepEqual([backend, unknown], ['mimalloc', undefined]);
    // To that installation it is its own.
    const mimalloc = backends().find((each) => each.backend === 'mimalloc');
    assert.equal(await version({ MALLOC_BACKEND_BINARY_DIR: elsewhere }, other), mimalloc?.version);
  });

  test('a library that is opened later serves nobody', { skip: notGlibc }, async (t) => {
    const python = tools.which('python3');
    if (python === undefined) return t.skip('python3 is not installed');
    const opens = `import ctypes, sys\nctypes.CDLL('${tools.foreignLibrary()}')\nfor line in sys.stdin: print(line, flush=True)`;
    assert.equal(activeBackend(await running({}, python, ['-c', opens])).kind, 'libc');
  });

  test('goes by the order of the preloads', { skip: notGlibc }, async () => {
    const foreign = tools.foreignLibrary();
    const first = activeBackend(await running({ LD_PRELOAD: `${foreign}:${shim('mimalloc')}` }));
    assert.deepEqual(first, { kind: 'foreign', allocator: 'unknown', owner: foreign });
    const second = activeBackend(await running({ LD_PRELOAD: `${shim('mimalloc')} ${foreign}` }));
    assert.equal(second.backend, 'mimalloc');
  });

  test('finds an allocator that is linked, not preloaded', { skip: notGlibc }, async () => {
    const foreign = tools.foreignLibrary();
    const linked = tools.cc('linked', tools.ECHO, ['-Wl,--no-as-needed', foreign]);
    const linkedOwner = { kind: 'foreign', allocator: 'unknown', owner: foreign };
    assert.deepEqual(activeBackend(await running({}, linked)), linkedOwner);
    assert.equal(activeBackend(await running({ LD_PRELOAD: shim('jemalloc') }, linked)).backend, 'jemalloc');
  });

  test('finds a malloc in the program itself', { skip: notGlibc }, async () => {
    const own = tools.cc('own', `#include <stddef.h>\nvoid *malloc(size_t n) { return 0; }\n${tools.ECHO}`, [
      '-rdynamic',
    ]);
    const expected = { kind: 'foreign', allocator: 'unknown', owner: own };
    assert.deepEqual(activeBackend(await running({ LD_PRELOAD: shim('jemalloc') }, own)), expected);
  });

  for (const [allocator, library, debianPackage] of tools.foreignAllocators) {
    const path = tools.systemLibrary(library);
    const skip = path === undefined && `${debianPackage} is not installed`;
    test(`names a foreign ${allocator}`, { skip }, async () => {
      const found = activeBackend(await running({ LD_PRELOAD: path ?? '' }));
      assert.deepEqual(found, { kind: 'foreign', allocator, owner: realpathSync(path ?? '') });
    });
  }

  test('a static program does not show what it contains', async (t) => {
    const program = tools.staticProgram('static', tools.ECHO);
    if (program === undefined) return t.skip('no static C library');
    const expected = { kind: 'static', allocator: 'unknown', owner: program };
    assert.deepEqual(activeBackend(await running({}, program)), expected);
    assert.deepEqual(activeBackend(await running({ LD_PRELOAD: shim('mimalloc') }, program)), expected);
  });

  test('a program that is not position-independent', async () => {
    // It takes malloc's address, so that dlsym finds its linkage table and not the library (crates/backend/src/owner.rs).
    const source = `#include <stdlib.h>\nvoid *(*volatile taken)(size_t) = malloc;\n${tools.ECHO}`;
    const fixed = tools.cc('fixed', source, ['-no-pie', '-fno-pic']);
    const candidates: [string, string[]][] = [[fixed, []]];
    const python = tools.which('/usr/bin/python3');
    if (python !== undefined)
      candidates.push([python, ['-c', 'import sys\nfor line in sys.stdin: print(line, flush=True)']]);
    for (const [program, args] of candidates)
      for (const backend of ['default', ...SWITCHING] as Shim[]) {
        const preload = shim(backend);
        assert.equal(activeBackend(await running({ LD_PRELOAD: preload }, program, args)).backend, backend);
        // The library looks from inside.
        const env = {
          LD_PRELOAD: preload,
          MALLOC_BACKEND_REQUIRE: '1',
          MALLOC_BACKEND_REPORT: `3:${process.pid}`,
        };
        const { code, third, stderr } = await run(program, args, { env });
        assert.deepEqual([code, stderr], [0, ''], `${program} on ${backend}`);
        assert.equal(JSON.parse(third).applied, true);
      }
  });

  test('what is no process id is refused', () => {
    const bad = [NaN, -1, 0, 1.5, 2 ** 31, 2 ** 40, Infinity, null, '1', {}, true, 1n];
    for (const pid of bad)
      tools.refuses(() => activeBackend(pid as number), 'ERR_INVALID_ARGUMENT', /process id/);
    tools.refuses(() => activeBackend(2 ** 31 - 1), 'ERR_PROCESS_NOT_FOUND', /2147483647/);
  });

  test('a process that has ended, but that nobody has waited for', async () => {
    const source = `#include <stdio.h>
      #include <unistd.h>
      int main(void) {
        pid_t child = fork();
        if (child == 0) _exit(0);
        printf("%d\\n", child);
        fflush(stdout);
        return pause();
      }`;
    const child = start(tools.cc('leaves-a-zombie', source), []);
    children.push(child);
    const [said] = (await once(child.stdout ?? assert.fail(), 'data')) as [Buffer];
    const zombie = Number(said.toString());
    const error = await tools.until('the zombie', () => {
      try {
        activeBackend(zombie);
        return undefined;
      } catch (thrown) {
        return thrown as MallocBackendError;
      }
    });
    assert.ok(error instanceof MallocBackendError);
    assert.equal(error.code, 'ERR_PROCESS_ACCESS');
    kill(child);
    await once(child, 'exit');
    await tools.until('the end of the zombie', () => {
      try {
        activeBackend(zombie);
        return undefined;
      } catch (thrown) {
        return (thrown as MallocBackendError).code === 'ERR_PROCESS_NOT_FOUND';
      }
    });
  });

  test('a kernel thread has no malloc', async (t) => {
    const { stdout } = await run('sh', ['-c', 'head -n1 /proc/2/comm 2>&1']);
    if (stdout !== 'kthreadd\n') return t.skip('no kernel threads to be seen: in a container');
    tools.refuses(() => activeBackend(2), 'ERR_PROCESS_ACCESS', /maps no file/);
  });

  test("another user's process", { skip: tools.cannotBeNobody }, async () => {
    const found = await tools.evaluate<{ code: string; message: string }>(
      `show(attempt(() => m.activeBackend(${process.pid})))`,
      { wrapper: tools.asNobody },
    );
    assert.equal(found.code, 'ERR_PROCESS_ACCESS');
    assert.match(
      found.message,
      /it belongs to user \d+: run this as that user or as root with CAP_SYS_PTRACE$/,
    );
  });
});
