// Programs that a switched one starts and that bring an allocator of their own: they run as without the switch.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ProcessBackend, environment, spawn } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { run, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, machine, notGlibc, root, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

const BACKENDS = ['default', ...SWITCHING] as const;

/** An environment with as much in it as there can be. */
function switched(backend: ProcessBackend): Record<string, string> {
  const set = { default: { arena_max: '3' }, jemalloc: { narenas: '3' }, mimalloc: { purge_delay: '3' } };
  const options = backend === 'snmalloc' ? {} : { set: set[backend] };
  return environment(backend, { env: process.env, ...options }) as Record<string, string>;
}

describe('beside an allocator of their own', { skip: cannotPreload }, () => {
  const programs: [string, string[]][] = [
    ['redis-server', ['--version']],
    ['rustc', ['--version']],
    ['cargo', ['--version']],
  ];
  for (const [program, args] of programs)
    test(`${program} says what it says without`, { skip: missing(program) }, async () => {
      const without = await succeed(program, args);
      for (const backend of BACKENDS) {
        const { code, stdout, stderr } = await run(program, args, { env: switched(backend) });
        assert.deepEqual([code, stdout, stderr], [0, without.stdout, without.stderr], backend);
      }
    });

  const library = tools.systemLibrary('libjemalloc.so.2');

  test(
    "a program of another jemalloc's, which ends at an option that it does not know",
    { skip: library === undefined && 'libjemalloc2 is not installed' },
    async () => {
      const source = `#include <stdlib.h>
        const char *malloc_conf = "abort_conf:true";
        void *malloc(size_t n) { extern void *mallocx(size_t, int); return mallocx(n ? n : 1, 0); }
        int main(void) { return malloc(100) == 0; }`;
      const program = tools.cc('linked', source, ['-fno-builtin', library ?? '']);
      for (const backend of BACKENDS) {
        const { code, stderr } = await run(program, [], { env: switched(backend) });
        assert.deepEqual([code, stderr], [0, ''], backend);
      }
      const old = { MALLOC_CONF: 'calloc_madvise_threshold:1' };
      assert.notEqual((await run(program, [], { env: old })).code, 0, 'it would end');
    },
  );

  test('another mimalloc keeps its own options', { skip: missingMimalloc() }, async () => {
    const source = `#include <stdio.h>
      long mi_option_get(int);
      int main(void) { for (int i = 0; i < 30; i++) printf("%ld ", mi_option_get(i)); return 0; }`;
    const mimalloc = tools.systemLibrary('libmimalloc.so.2') ?? '';
    const program = tools.cc('mi-options', source, [mimalloc]);
    const without = await succeed(program);
    for (const backend of BACKENDS) {
      const { stdout, stderr } = await succeed(program, [], { env: switched(backend) });
      assert.deepEqual([stdout, stderr], [without.stdout, without.stderr], backend);
    }
  });
});

describe('beside libraries that stand in for functions of libc', { skip: notGlibc }, () => {
  /** By Debian's package: the file, and what it needs in the environment. */
  const LIBRARIES: [string, string, Record<string, string>][] = [
    ['fakechroot', 'fakechroot/libfakechroot.so', {}],
    ['libfakeroot', 'libfakeroot/libfakeroot-sysv.so', {}],
    ['libuid-wrapper', 'libuid_wrapper.so', { UID_WRAPPER: '1' }],
    ['torsocks', 'torsocks/libtorsocks.so', {}],
    ['libfaketime', 'faketime/libfaketime.so.1', { FAKETIME: '-1d' }],
    ['libfaketime', 'faketime/libfaketimeMT.so.1', { FAKETIME: '+1d' }],
    ['libeatmydata1', 'libeatmydata.so', {}],
  ];
  const folder = `/usr/lib/${machine}-linux-gnu`;
  for (const [name, library, variables] of LIBRARIES) {
    const file = join(folder, library);
    const skip = !existsSync(file) && `${name} is not installed`;
    test(library, { skip }, async () => {
      const env = { ...variables, LD_PRELOAD: file };
      const code = "setTimeout(() => console.log(new Date().getFullYear() > 2000, 'begun'), 10)";
      for (const backend of BACKENDS) {
        const outcome = await run(tools.native, ['run', backend, '--', process.execPath, '-e', code], {
          env,
        });
        assert.deepEqual([outcome.code, outcome.stdout, outcome.stderr], [0, 'true begun\n', ''], backend);
        const child = spawn(process.execPath, ['-e', code], { backend, env: { ...process.env, ...env } });
        assert.equal((await child.applied).backend, backend);
        await once(tools.watched(child), 'close');
      }
    });
  }

  test('the libraries leave no system call to others', () => {
    const own =
      /^(_*(cxa|gmon|ITM|errno|register_atfork|sched_cpucount|tls_get_addr).*|dl.*|pthread_.*|(secure_)?getenv|(un)?setenv|environ|std(err|out)|str.*|mem.*|bcmp|fputs|_exit|abort|malloc_usable_size|sysconf|sigfillset|signal|sbrk|sched_getcpu)$/;
    for (const backend of BACKENDS) {
      const lines = execFileSync('nm', ['-D', '--undefined-only', shim(backend)], { encoding: 'utf8' }).split(
        '\n',
      );
      const names = lines.map((line) => line.trim().split(/\s+/)[1]?.split('@')[0] ?? '').filter(Boolean);
      // (The probe stands beside libc's malloc, and asks that for memory.)
      const others = names.filter(
        (name) => !own.test(name) && !['free', 'malloc', 'posix_memalign', 'readlink'].includes(name),
      );
      assert.deepEqual(others, [], backend);
    }
  });

  test('a library that never lets the program begin ends the wait for `applied`', async () => {
    const source = (body: string) => `#include <unistd.h>
      __attribute__((constructor)) static void wait_for(void) { ${body} }`;
    const stuck = Object.entries({ sleeps: 'for (;;) pause();', works: 'for (;;) ;' }).map(([name, body]) =>
      tools.cc(`lib${name}.so`, source(body), ['-shared', '-fPIC']),
    );
    await Promise.all(
      stuck.map(async (file) => {
        const child = tools.watched(
          spawn('true', [], { backend: 'mimalloc', env: { ...process.env, LD_PRELOAD: file } }),
        );
        const what = file.includes('sleeps') ? /slept in \w+ for \d+ s/ : /used \d+ s of CPU time/;
        await tools.rejects(child.applied, 'ERR_NOT_APPLIED', what, new RegExp(file));
        child.kill('SIGKILL');
      }),
    );
  });
});

describe('beside an auditor (LD_AUDIT)', { skip: notGlibc }, () => {
  const docs = readFileSync(join(root, 'docs', 'process.md'), 'utf8');
  const [, cure = ''] = /GLIBC_TUNABLES=(glibc\.rtld\.optional_static_tls=\d+)/.exec(docs) ?? [];
  const auditor = () =>
    tools.cc('audit.so', 'unsigned la_version(unsigned version) { return version; }', ['-shared', '-fPIC']);
  const served = 'grep -o "libmalloc_backend_[a-z]*" /proc/$$/maps | uniq';

  for (const backend of SWITCHING)
    test(`${backend} starts, with the tunable of docs/process.md`, async () => {
      const env = { LD_AUDIT: auditor(), GLIBC_TUNABLES: cure };
      const { code, stdout, stderr } = await run(tools.native, ['run', backend, '--', 'sh', '-c', served], {
        env,
      });
      assert.deepEqual([code, stdout, stderr], [0, `libmalloc_backend_${backend}\n`, '']);
    });

  test('without it, jemalloc finds too little room for its thread-local data', async () => {
    const env = { LD_AUDIT: auditor() };
    const { code, stdout, stderr } = await run(tools.native, ['run', 'jemalloc', '--', 'sh', '-c', served], {
      env,
    });
    assert.deepEqual([code, stdout], [127, '']);
    assert.match(stderr, /libmalloc_backend_jemalloc\.so: cannot allocate memory in static TLS block\n$/);
    const child = spawn('true', [], {
      backend: 'jemalloc',
      env: { ...process.env, ...env },
      stdio: 'ignore',
    });
    await tools.rejects(child.applied, 'ERR_NOT_APPLIED');
    const { stdout: found } = await run(tools.native, ['doctor'], { env });
    assert.match(found, /^jemalloc\t\tno: \/bin\/sh was started on it, and nothing was preloaded into it$/m);
    assert.match(found, /^snmalloc\t\S+\tyes$/m);
  });
});

describe('where the library does not fit', { skip: notGlibc }, () => {
  const source = readFileSync(join(root, 'test', 'c', 'foreign.c'), 'utf8');
  const kinds: [string, string, string[]][] = [
    ["a program of musl's", 'musl-gcc', []],
    ["a static program of musl's", 'musl-gcc', ['-static']],
    ["a static program of glibc's", 'cc', ['-static']],
    ['a program of 32 bits', 'cc', ['-m32']],
  ];
  for (const [what, compiler, flags] of kinds)
    test(`${what} runs as without`, async (t) => {
      const program = tools.scratch(`foreign${flags.join('')}-${compiler}`);
      const file = tools.file('foreign.c', source, 0o644);
      const made = spawnSync(compiler, ['-O1', '-pthread', ...flags, '-o', program, file], {
        encoding: 'utf8',
      });
      if (made.status !== 0) return t.skip(`cannot be built here: ${compiler} ${flags.join(' ')}`);
      const without = await succeed(program);
      for (const backend of BACKENDS)
        for (const children of ['inherit', 'none']) {
          // As a child: the shell is switched, and starts the program.
          const args = ['run', backend, '--children', children, '--', 'sh', '-c', `${program}; exit $?`];
          const { code, stdout, stderr } = await run(tools.native, args);
          assert.deepEqual([code, stdout], [0, without.stdout], `${backend} ${children} ${stderr}`);
          // glibc's loader for 32 bits says that it passes over the library. No other may.
          const isLoaders = flags.includes('-m32') && children === 'inherit' && backend !== 'default';
          const said =
            /^ERROR: ld\.so: object '[^']+' from LD_PRELOAD cannot be preloaded \(wrong ELF class.*: ignored\.\n$/;
          if (isLoaders) assert.match(stderr, said);
          else assert.equal(stderr, '', `${backend} ${children}`);
        }
    });
});

function missing(program: string): string | false {
  return tools.which(program) === undefined && `${program} is not installed`;
}

function missingMimalloc(): string | false {
  return tools.systemLibrary('libmimalloc.so.2') === undefined && 'libmimalloc2.0 is not installed';
}
