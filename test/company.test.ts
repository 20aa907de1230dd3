// Each backend where somebody else's allocator is there too: named in LD_PRELOAD, in /etc/ld.so.preload, or linked.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { environment, spawn } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { python } from './support/pythons.js';
import { type Outcome, kill, run, start } from './support/run.js';
import { SWITCHING, cannotPreload, notGlibc, root, shim } from './support/shims.js';
import { beforeAll, describe, test } from './support/suite.js';

const ALL = ['default', ...SWITCHING] as const;
const { native, scratch } = tools;

const others = tools.foreignAllocators.map(([name, library, debianPackage]) => {
  const file = tools.systemLibrary(library);
  const skip = notGlibc || (file === undefined && `${debianPackage} is not installed`);
  return { name, library, file: file ?? library, skip };
});

/** They allocate and free in C++ and in C, in threads too, and print the same wherever they run. */
const NODE = `const zlib = require('node:zlib'), { Worker } = require('node:worker_threads');
  const text = Array.from({ length: 20000 }, (_, n) => ({ n, name: 'name ' + n }));
  const back = JSON.parse(zlib.gunzipSync(zlib.gzipSync(JSON.stringify(text))).toString());
  new Worker('new Intl.DateTimeFormat("en").format(0)', { eval: true }).on('exit', (code) => console.log(back.length, code));`;
const PYTHON = `import hashlib, json, re, threading, zlib
def work(): return len(zlib.decompress(zlib.compress(json.dumps([str(n) for n in range(20000)]).encode())))
threads = [threading.Thread(target=work) for _ in range(8)]
[each.start() for each in threads], [each.join() for each in threads]
print(work(), hashlib.sha256(b"x" * 100000).hexdigest()[:8], len(re.findall("a", "a" * 10000)))`;

let programs: Record<string, readonly string[]>;
beforeAll(async () => {
  if (notGlibc !== false) return;
  programs = {
    'a C++ program': [await compiled('operators')],
    Node: [process.execPath, '-e', NODE],
    ...(python === undefined ? {} : { Python: [python.file, '-c', PYTHON] }),
  };
});

/** Each program under `run`, started by those words. */
async function each(
  words: readonly string[],
  env: Record<string, string>,
  check: (found: Outcome, alone: Outcome) => void,
): Promise<void> {
  for (const [name, [program = '', ...args]] of Object.entries(programs)) {
    const alone = await run(program, args);
    assert.equal(alone.code, 0, alone.stderr);
    const [first = '', ...rest] = [...words, '--', program, ...args];
    const found = await run(first, rest, { env });
    check({ ...found, stderr: found.stderr && `${name}: ${found.stderr}` }, alone);
  }
}

const notice = (file: string, backend: string) =>
  `malloc-backend: LD_PRELOAD names another allocator, ${file}; this entry is removed, because the program runs on ` +
  `${backend === 'default' ? "libc's malloc" : backend}\n`;

describe('named in LD_PRELOAD', { skip: notGlibc }, () => {
  for (const { name, library, file, skip } of others)
    for (const backend of ALL) {
      test(`${name} is left out for ${backend}`, { skip }, async () => {
        for (const entry of [file, library])
          await each([native, 'run', backend], { LD_PRELOAD: entry }, (found, alone) => {
            assert.deepEqual([found.code, found.signal, found.stdout], [0, null, alone.stdout], found.stderr);
            assert.ok(found.stderr.endsWith(`: ${notice(entry, backend)}`), found.stderr);
          });
      });
    }

  const { file, skip } = others[0] ?? { file: '', skip: 'there is none' };
  const plugin = async () => `${await compiled('plugin.so')}`;
  const SHOW = [
    'sh',
    '-c',
    'echo "${LD_PRELOAD-none} ${MALLOC_BACKEND_RESTORE-none}"; sh -c "echo \\${LD_PRELOAD-none}"',
  ];

  test('what else is named stays, and children that are not switched have it all', { skip }, async () => {
    const given = `${await plugin()}:${file}`;
    const kept = await plugin();
    for (const backend of ALL) {
      const inherited = await run(native, ['run', backend, ...SHOW], { env: { LD_PRELOAD: given } });
      const own = backend === 'default' ? kept : `${shim(backend)}:${kept}`;
      assert.match(inherited.stdout, new RegExp(`^${own} .*\n${own}\n$`));
      const alone = ['run', backend, '--children', 'none', ...SHOW];
      const { stdout, stderr } = await run(native, alone, { env: { LD_PRELOAD: given } });
      assert.deepEqual([stdout, stderr], [`${given} none\n${given}\n`, notice(file, backend)]);
    }
  });

  test('a switch within a switch begins with what was before the outer one', { skip }, async () => {
    const words = ['run', 'jemalloc', native, 'run', 'mimalloc', '--children', 'none', ...SHOW];
    const { stdout, stderr } = await run(native, words, { env: { LD_PRELOAD: file } });
    assert.equal(stdout, `${file} none\n${file}\n`);
    assert.equal(stderr, notice(file, 'jemalloc') + notice(file, 'mimalloc'));
  });

  test('env says it beside what it prints', { skip }, async () => {
    const { stdout, stderr } = await run(native, ['env', 'mimalloc'], { env: { LD_PRELOAD: file } });
    assert.match(stdout, new RegExp(`^export LD_PRELOAD='${shim('mimalloc')}'$`, 'm'));
    assert.equal(stderr, notice(file, 'mimalloc'));
  });

  test('the functions warn, once', { skip }, async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on('warning', listen);
    const env = { ...process.env, LD_PRELOAD: file };
    for (let n = 0; n < 3; n++)
      assert.equal(environment('mimalloc', { env })['LD_PRELOAD'], shim('mimalloc'));
    const child = spawn(process.execPath, ['-e', 'console.log(1)'], { backend: 'mimalloc', env });
    assert.equal((await child.applied).owner, shim('mimalloc'));
    process.off('warning', listen);
    const said = warnings.map(({ name, message }) => [name, `malloc-backend: ${message}\n`]);
    assert.deepEqual(said, [['MallocBackendWarning', notice(file, 'mimalloc')]]);
  });

  test('register says it', { skip }, async () => {
    const env = { LD_PRELOAD: file, MALLOC_BACKEND: 'mimalloc' };
    const words = ['--import', tools.register, '-e', 'console.log(process.env.LD_PRELOAD)'];
    const { stdout, stderr } = await run(process.execPath, words, { env });
    assert.deepEqual([stdout, stderr], [`${shim('mimalloc')}\n`, notice(file, 'mimalloc')]);
  });
});

/** A copy of /etc with that list, put in place for one command alone. */
const canMount = spawnSync('unshare', ['-m', 'true']).status === 0;
const noMounts = !canMount && 'unshare(1) is not there or not allowed';
let etc: string;
function withSystemList(entries: string): string[] {
  if (etc === undefined) {
    etc = scratch('etc');
    cpSync('/etc', etc, { recursive: true, verbatimSymlinks: true });
  }
  writeFileSync(join(etc, 'ld.so.preload'), entries);
  return ['unshare', '-m', 'sh', '-c', 'mount --bind "$0" /etc && exec "$@"', etc];
}

describe('named in /etc/ld.so.preload', { skip: notGlibc || noMounts }, () => {
  for (const { name, file, skip } of others) {
    for (const backend of SWITCHING)
      test(`${backend} serves before ${name}`, { skip }, async () => {
        const around = withSystemList(`# by the administrator\n${file}\n`);
        await each([...around, native, 'run', backend], {}, (found, alone) => {
          assert.deepEqual([found.code, found.signal, found.stdout], [0, null, alone.stdout], found.stderr);
          assert.equal(found.stderr, '');
        });
      });

    test(`default is refused, for ${name} serves every program`, { skip }, async () => {
      const around = withSystemList(`${file}\n`);
      await each([...around, native, 'run', 'default'], {}, ({ code, stdout, stderr }) => {
        assert.deepEqual([code, stdout], [126, '']);
        assert.match(
          stderr,
          /\/etc\/ld\.so\.preload names .*, which has its own malloc; remove this line from \/etc\/ld\.so\.preload\n$/,
        );
        assert.ok(stderr.includes(file), stderr);
      });
    });
  }

  test(
    'doctor names it, and says that default cannot be had',
    { skip: others[0]?.skip ?? 'there is none' },
    async () => {
      const { file = '' } = others[0] ?? {};
      const [program = '', ...args] = [
        ...withSystemList(`${file}\n`),
        process.execPath,
        tools.cli,
        'doctor',
        '--json',
      ];
      const found = JSON.parse((await run(program, args)).stdout) as {
        backends: { backend: string; version?: string; available: boolean; reason?: string }[];
        obstacles: { code: string; message: string }[];
      };
      const rows = found.backends.map(({ backend: named, reason: why }) => [named, why]);
      const reason = `/etc/ld.so.preload names ${file}, which has a malloc of its own`;
      assert.deepEqual(rows.slice(0, 2), [
        ['default', reason],
        ['jemalloc', undefined],
      ]);
      assert.deepEqual(
        found.obstacles.map(({ code }) => code),
        ['FOREIGN_PRELOAD'],
        'it is said once',
      );
      // Of a process that sees that list, and this one does not.
      const [other = '', ...words] = [...withSystemList(`${file}\n`), native, 'run', 'jemalloc', 'cat'];
      const child = start(other, words);
      try {
        child.stdin?.write('x');
        await once(child.stdout ?? assert.fail(), 'data');
        const { stdout } = await run(native, ['doctor', '--json', '--pid', `${child.pid}`]);
        const seen = JSON.parse(stdout) as typeof found;
        assert.deepEqual(
          seen.obstacles.map(({ code, message }) => [code, message]),
          [['FOREIGN_PRELOAD', reason]],
        );
        assert.deepEqual(
          seen.backends.map(({ available }) => available),
          [false, true, true, true, false],
        );
        assert.match(seen.backends[0]?.version ?? '', /^glibc \d/, 'that this machine has all the same');
      } finally {
        kill(child);
      }
    },
  );

  test('what is a comment there, or has no malloc, hinders nothing', async () => {
    const around = withSystemList(`# ${others[0]?.file}\n${await compiled('plugin.so')}\n`);
    await each([...around, native, 'run', 'default'], {}, ({ code, stderr }) =>
      assert.deepEqual([code, stderr], [0, '']),
    );
  });
});

const flags = (file: string) => ['-Wl,--no-as-needed', file, '-Wl,--as-needed'];
const cxx = (name: string, file: string) => {
  const source = join(root, 'test', 'c', 'operators.cpp');
  const words = ['-std=c++17', '-O1', '-w', '-pthread', source, '-o', scratch(name), ...flags(file)];
  execFileSync(process.env['CXX'] ?? 'g++', words);
  return scratch(name);
};

/** Allocators that others have, and a call of each that no other has. */
const PRIVATE: Record<string, string> = {
  jemalloc: 'void *mallocx(unsigned long, int); void *own(void) { return mallocx(100, 0); }',
  mimalloc: 'void *mi_malloc(unsigned long); void *own(void) { return mi_malloc(100); }',
  tcmalloc: 'void *tc_malloc(unsigned long); void *own(void) { return tc_malloc(100); }',
};
const FREES = `
  #include <stdio.h>
  void *own(void); void free(void *);
  int main(void) { for (int n = 0; n < 1000; n++) free(own()); puts("freed"); return 0; }`;

describe('linked', { skip: cannotPreload || notGlibc }, () => {
  for (const { name, file, skip } of others) {
    test(`each backend serves before ${name}; default is not libc's`, { skip }, async () => {
      const program = cxx(`linked-${name}`, file);
      for (const backend of SWITCHING) {
        const { code, signal, stdout, stderr } = await run(native, ['run', backend, program]);
        assert.deepEqual([code, signal, stderr], [0, null, ''], backend);
        assert.match(stdout, /^(\d+) of \1\n$/);
      }
      const { code, stdout, stderr } = await run(native, ['run', 'default', program]);
      assert.deepEqual([code, stdout], [126, '']);
      assert.match(stderr, new RegExp(`this program's malloc is that of .*${name}`));
    });

    test(`a call of ${name}'s own functions is refused where they are not there`, { skip }, async () => {
      const calls = PRIVATE[name] ?? '';
      const itself = tools.cc(`calls-${name}`, calls + FREES, flags(file));
      const library = tools.cc(`libcalls-${name}.so`, calls, ['-shared', '-fPIC', ...flags(file)]);
      const needs = tools.cc(`needs-${name}`, FREES, [library, '-Wl,-rpath,$ORIGIN']);
      for (const program of [itself, needs])
        for (const backend of SWITCHING) {
          const { code, stdout, stderr } = await run(native, ['run', backend, program]);
          if (name === 'jemalloc' && backend === 'jemalloc') {
            assert.deepEqual([code, stdout, stderr], [0, 'freed\n', '']);
            continue;
          }
          assert.deepEqual([code, stdout], [126, ''], stderr);
          const caller = program === needs ? library : program;
          const reason = `: ${caller} calls (mallocx|mi_malloc|tc_malloc) of .*${name}.*, and the ${backend} library does not have this function`;
          assert.match(stderr, new RegExp(reason));
          tools.refuses(() => spawn(program, { backend }), 'ERR_CANNOT_SWITCH', new RegExp(reason));
        }
    });
  }
});
