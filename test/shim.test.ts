// The shims as files (what they export and need) and as guests of a process: what they tell of themselves, what
// they read from the environment, and that C++ programs and other libraries live with them.

import assert from 'node:assert/strict';
import { copyFile, mkdtemp, realpath, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { type Options, type Outcome, run, succeed } from './support/run.js';
import { cannotPreload, isGlibc, notGlibc, type Shim, shim, SWITCHING } from './support/shims.js';
import { beforeAll, describe, test } from './support/suite.js';

const ALL: readonly Shim[] = ['default', ...SWITCHING];

let inside: string, plugin: string, foreign: string;
beforeAll(async () => {
  if (cannotPreload !== false) return;
  [inside, plugin] = await Promise.all([compiled('inside'), compiled('plugin.so')]);
  if (isGlibc) foreign = await compiled('reference.so');
});

/** The answers of test/c/inside.c. */
function answers({ stdout }: Outcome): Record<string, string> {
  const lines = stdout.split('\n').filter((line) => line.includes('='));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

async function ask(preload: string, questions: string[], env: Record<string, string> = {}) {
  return answers(await succeed(inside, questions, { env: { LD_PRELOAD: preload, ...env } }));
}

describe('the files', { skip: cannotPreload }, () => {
  const FAMILY = (
    'malloc free calloc realloc reallocarray aligned_alloc posix_memalign memalign valloc pvalloc ' +
    'malloc_usable_size free_sized free_aligned_sized cfree ' +
    'malloc_trim mallinfo mallinfo2 mallopt malloc_info malloc_stats'
  ).split(' ');
  /** Every form of `operator new` and `delete`, as the Itanium C++ ABI names them. */
  const OPERATORS = [
    ...['nw', 'na'].flatMap((name) => [`_Z${name}m`, `_Z${name}mSt11align_val_t`]),
    ...['dl', 'da'].flatMap((name) =>
      ['Pv', 'Pvm', 'PvSt11align_val_t', 'PvmSt11align_val_t'].map((types) => `_Z${name}${types}`),
    ),
    ...['nwm', 'nam', 'dlPv', 'daPv'].flatMap((name) =>
      ['', 'St11align_val_t'].map((aligned) => `_Z${name}${aligned}RKSt9nothrow_t`),
    ),
  ];
  const JEMALLOC = (
    'mallctl mallctlnametomib mallctlbymib malloc_stats_print mallocx rallocx xallocx sallocx dallocx ' +
    'sdallocx nallocx'
  ).split(' ');
  /** Those at which its background threads start, step aside, or are not to start. */
  const THREADS = ['pthread_create', 'thrd_create', 'unshare', 'setns', 'capset', 'prctl'];

  /** Those in which a program waits: a time for the thread of idle release to start. */
  const WAITS = (
    'nanosleep clock_nanosleep sleep usleep poll ppoll select pselect epoll_wait epoll_pwait read recv recvfrom ' +
    'recvmsg accept accept4 pause sigsuspend sigwait sigwaitinfo sigtimedwait wait waitpid wait3 wait4 waitid ' +
    'sem_wait sem_timedwait'
  ).split(' ');
  if (isGlibc)
    WAITS.push('__poll_chk', '__ppoll_chk', '__read_chk', '__recv_chk', '__recvfrom_chk', 'sem_clockwait');
  const releases = (backend: Shim) => backend === 'mimalloc' || (backend === 'default' && isGlibc);

  /** Its own: nothing of a C++ library's, of Rust, or of an allocator's inside. */
  const exported = (backend: Shim) =>
    [
      'malloc_backend_shim',
      ...(backend === 'default' ? [] : [...FAMILY, ...OPERATORS]),
      ...(backend === 'jemalloc' ? JEMALLOC : []),
      ...(backend === 'jemalloc' || releases(backend) ? THREADS : []),
      ...(releases(backend) ? WAITS : []),
      // These two reserve memory beforehand.
      ...(backend === 'mimalloc' || backend === 'snmalloc' ? ['mlockall'] : []),
    ].sort();

  for (const backend of ALL) {
    test(`${backend} exports the interface of an allocator and nothing else`, async () => {
      const { stdout } = await succeed('nm', ['-D', '--defined-only', '--format=posix', shim(backend)]);
      const names = stdout.split('\n').flatMap((line) => line.match(/^[^\s@]+/) ?? []);
      assert.deepEqual(names.sort(), exported(backend));
    });

    test(`${backend} needs the C library alone`, async (t) => {
      const { stdout } = await succeed('readelf', ['-dW', shim(backend)]);
      const needed = [...stdout.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1]);
      assert.deepEqual(
        needed.filter((name) => !/^(libc\.|libpthread\.|libdl\.|ld-)/.test(name ?? '')),
        [],
      );
      assert.doesNotMatch(stdout, /TEXTREL/);
      assert.match(stdout, /\bNOW\b/, 'no lazy binding: it would allocate during the first calls');
      const imports = (await succeed('nm', ['-D', '--undefined-only', shim(backend)])).stdout;
      assert.doesNotMatch(imports, /\b_Z|_Unwind|__cxa_throw|__gxx/, 'no C++ runtime');
      const releases = [...imports.matchAll(/@GLIBC_(\d+)\.(\d+)/g)].map((match) => [
        Number(match[1]),
        Number(match[2]),
      ]);
      const highest = releases.reduce((a, b) => ((a[1] ?? 0) > (b[1] ?? 0) ? a : b), [2, 0]).join('.');
      await t.annotate(`needs glibc ${highest}`);
      // What is built for publishing must run on systems older than the one it was built on.
      const allowed = process.env['MALLOC_BACKEND_TEST_GLIBC'];
      if (allowed !== undefined)
        assert.ok(Number(highest.split('.')[1]) <= Number(allowed.split('.')[1]), highest);
    });

    test(`${backend} is laid out for being preloaded`, async () => {
      const { stdout } = await succeed('readelf', ['-lW', shim(backend)]);
      assert.match(stdout, /GNU_STACK.* RW /, 'the stack is not executable');
      if (backend === 'default') return;
      // Each access to thread-local memory by the fast model, without a call that may allocate.
      assert.match((await succeed('readelf', ['-dW', shim(backend)])).stdout, /STATIC_TLS/);
      const imports = (await succeed('nm', ['-D', '--undefined-only', shim(backend)])).stdout;
      assert.doesNotMatch(imports, /__tls_get_addr/);
    });
  }
});

describe('asked from inside', { skip: cannotPreload }, () => {
  for (const backend of ALL) {
    test(`${backend} says who it is`, async () => {
      const found = await ask(shim(backend), ['identity', 'owner']);
      assert.equal(found['abi'], '1');
      assert.equal(found['size'], found['own_size']);
      assert.equal(found['backend'], backend);
      // musl tells no program its version.
      const ofLibc = isGlibc ? /^glibc \d+\.\d+$/ : /^musl$/;
      assert.match(found['version'] ?? '', backend === 'default' ? ofLibc : /^\d+\.\d+\.\d+$/);
      assert.equal(await realpath(found['path'] ?? ''), await realpath(shim(backend)));
      const own = await realpath(shim(backend));
      for (const name of ['malloc', 'free', 'calloc', 'realloc', 'posix_memalign', 'malloc_usable_size']) {
        if (backend === 'default') assert.match(found[name] ?? '', /\/(libc|ld-musl)[^/]*$/, name);
        else assert.equal(found[name], own, name);
      }
    });

    test(`${backend} counts, and leaves out what it cannot tell`, async () => {
      const found = await ask(shim(backend), ['stats']);
      const figure = (name: string) =>
        found[name] === 'absent' ? undefined : Number(found[name] ?? assert.fail(`no ${name}`));
      const names = ['allocated', 'active', 'metadata', 'resident', 'mapped', 'retained'];
      const present = names.filter((name) => figure(`before.${name}`) !== undefined);
      const told = {
        default: isGlibc ? ['allocated', 'mapped'] : [],
        jemalloc: names,
        mimalloc: ['mapped'],
        snmalloc: ['active'],
      };
      assert.deepEqual(present, told[backend]);
      const spike = 128 * 2 ** 20;
      const occupied = (name: string) => figure(`occupied.${name}`) ?? Infinity;
      for (const name of ['allocated', 'active', 'resident', 'mapped'])
        assert.ok(occupied(name) >= spike, `occupied.${name} is ${occupied(name)}`);
      const kept = (figure('after.allocated') ?? 0) - (figure('before.allocated') ?? 0);
      assert.ok(kept < spike / 8, `allocated grew by ${kept}`);
    });
  }

  // Nothing is to be given back before it is asked for.
  const KEEP = { MALLOC_CONF: 'dirty_decay_ms:-1,muzzy_decay_ms:-1', MIMALLOC_PURGE_DELAY: '1000000' };
  for (const backend of ['jemalloc', 'mimalloc'] as const)
    for (const spike of ['release', 'release-threaded'])
      test(`${backend} gives a spike back: ${spike}`, async () => {
        const found = await ask(shim(backend), [spike], KEEP);
        const { start, occupied, vacated, released } = Object.fromEntries(
          Object.entries(found).map(([name, value]) => [name, Number(value) / 2 ** 20]),
        ) as Record<'start' | 'occupied' | 'vacated' | 'released', number>;
        assert.equal(found['result'], '0');
        assert.ok(occupied > start + 120, `${start} MiB rose to ${occupied}`);
        assert.ok(vacated > occupied - 16, `${vacated} of ${occupied} MiB were left before the release`);
        assert.ok(released < start + 32, `${released} MiB are left of ${occupied}`);
      });

  test('snmalloc says that it cannot', async () => {
    assert.equal((await ask(shim('snmalloc'), ['release']))['result'], '-1');
  });

  test('default trims', { skip: notGlibc }, async () => {
    assert.equal((await ask(shim('default'), ['release']))['result'], '0');
  });
});

describe("the allocators' own interfaces", { skip: cannotPreload }, () => {
  test("jemalloc's functions and MALLOC_CONF", async () => {
    const found = await ask(shim('jemalloc'), ['identity', 'jemalloc'], { MALLOC_CONF: 'narenas:3' });
    const { narenas, version = '', page, ...others } = found;
    assert.equal(narenas, '3');
    assert.match(version, /^5\.\d+\.\d+-/);
    assert.ok([4096, 16384, 65536].includes(Number(page)), page);
    const results = Object.entries(others).filter(([name]) => name.endsWith('.result'));
    assert.equal(results.length, 6);
    for (const [name, value] of results) assert.equal(value, name === 'unknown.result' ? '2' : '0', name);
    assert.equal(found['mallocx'], 'aligned and zeroed');
    assert.equal(found['sallocx'], 'nallocx');
    assert.equal(found['rallocx'], 'kept and zeroed');
    assert.equal(found['xallocx'], 'ok');
    assert.equal(found['small'], 'of 16 bytes');
    assert.equal(found['stats'], 'jemalloc statistics');
  });

  test('MALLOC_CONF=stats_print:true prints at the end, and a bad pair is named', async () => {
    const env = { LD_PRELOAD: shim('jemalloc'), MALLOC_CONF: 'stats_print:true,nonsense:1' };
    const { stderr } = await succeed(inside, ['owner'], { env });
    assert.match(stderr, /Begin jemalloc statistics/);
    assert.match(stderr, /Invalid conf pair: nonsense:1/);
  });

  test('the other shims have no mallctl', async () => {
    for (const backend of ['default', 'mimalloc', 'snmalloc'] as const) {
      const { code, stdout } = await run(inside, ['jemalloc'], { env: { LD_PRELOAD: shim(backend) } });
      assert.deepEqual([code, stdout], [1, 'missing=mallctl\n'], backend);
    }
  });

  test('MIMALLOC_SHOW_STATS and MIMALLOC_VERBOSE', async () => {
    const said = async (env: Record<string, string>) =>
      (await succeed(inside, ['owner'], { env: { LD_PRELOAD: shim('mimalloc'), ...env } })).stderr;
    assert.equal(await said({}), '');
    assert.match(await said({ MIMALLOC_SHOW_STATS: '1' }), /committed/);
    assert.match(await said({ MIMALLOC_VERBOSE: '1' }), /^mimalloc: /m);
    const options = await said({ MIMALLOC_VERBOSE: '1', MIMALLOC_PURGE_DELAY: '4711' });
    assert.match(options, /purge_delay': 4711/);
  });
});

describe('the environment at start', { skip: cannotPreload }, () => {
  const told = async (preload: string, env: Record<string, string> = {}, questions: string[] = []) => {
    const asked = questions.length > 0 ? questions : ['owner', 'environment', 'descriptors'];
    const options: Options = { env: { LD_PRELOAD: preload, ...env } };
    const outcome = await run(inside, asked, options);
    return { ...outcome, found: answers(outcome) };
  };

  for (const backend of ALL) {
    test(`${backend} reports, once, and takes the question away`, async () => {
      const again = ['exec', inside, 'owner', 'environment', 'descriptors'];
      for (const questions of [[], again]) {
        const env = { MALLOC_BACKEND_REPORT: `3:${process.pid}` };
        const { third, code, found } = await told(shim(backend), env, questions);
        assert.equal(code, 0);
        assert.match(third, /^[^\n]+\n$/, 'one line');
        const { pid, version, owner, ...report } = JSON.parse(third);
        assert.ok(Number.isInteger(pid) && pid > 1);
        assert.match(version, backend === 'default' && !isGlibc ? /^musl$/ : /\d+\.\d+/);
        assert.deepEqual(report, { backend, library: shim(backend), applied: true });
        const libc = /\/(libc|ld-musl)[^/]*$/;
        if (backend === 'default') assert.match(owner, libc);
        else assert.equal(owner, shim(backend));
        assert.equal(found['left'], undefined);
        assert.equal(found['descriptor.3'], undefined, 'the descriptor is closed');
        assert.equal(found['preload'], backend === 'default' ? '(unset)' : shim(backend));
      }
    });

    test(`${backend} is not upset by a descriptor that is none`, async () => {
      for (const descriptor of ['', 'x', '-1', '-99999999999', '777', '3.5', '99999999999999999999']) {
        const { code, stderr, found } = await told(shim(backend), { MALLOC_BACKEND_REPORT: descriptor });
        assert.deepEqual([code, stderr, found['left']], [0, '', undefined], descriptor);
      }
    });
  }

  test('what has the number of a report that is over is left alone', async () => {
    for (const backend of ALL)
      for (const report of ['3', '3:1', `3:${process.pid}:`, '3:0:0']) {
        const { third, code, found } = await told(shim(backend), { MALLOC_BACKEND_REPORT: report });
        assert.deepEqual([code, third, found['left']], [0, '', undefined], report);
        assert.notEqual(found['descriptor.3'], undefined, 'it stays open');
      }
    // A file of the program's, and a socket of another process's.
    const program = 'exec 3>"$1"; LD_PRELOAD="$2" "$3" owner; echo kept >&3; cat "$1"';
    const file = join(await mkdtemp(join(tmpdir(), 'malloc-backend-')), 'file');
    for (const backend of ALL) {
      const env = { MALLOC_BACKEND_REPORT: `3:${process.pid}` };
      const { stdout } = await succeed('sh', ['-c', program, 'sh', file, shim(backend), inside], { env });
      assert.match(stdout, /\nkept\n$/, backend);
    }
    await rm(file);
  });

  test('a report that nobody reads any more does not end the program', async () => {
    for (const backend of ALL) {
      const words = ['deaf', 'env', `LD_PRELOAD=${shim(backend)}`, inside, 'identity'];
      const found = answers(await succeed(inside, words));
      assert.equal(found['backend'], backend);
    }
  });

  test(
    'a foreign malloc is reported, and refused when the backend is required',
    { skip: notGlibc },
    async () => {
      for (const backend of ALL) {
        const preload = `${foreign}:${shim(backend)}`;
        const { third, code } = await told(preload, { MALLOC_BACKEND_REPORT: `3:${process.pid}` });
        const { applied, owner } = JSON.parse(third);
        assert.deepEqual([code, applied, owner], [0, false, foreign], backend);

        const both = { MALLOC_BACKEND_REPORT: `3:${process.pid}`, MALLOC_BACKEND_REQUIRE: '1' };
        const refused = await told(preload, both);
        assert.equal(refused.code, 126, backend);
        assert.equal(refused.stdout, '', 'main does not run');
        assert.match(refused.stderr, /^malloc-backend: .*\n$/);
        assert.ok(refused.stderr.includes(foreign) && refused.stderr.includes(backend), refused.stderr);
        assert.equal(JSON.parse(refused.third).applied, false);
      }
    },
  );

  test('what is required and there is not noticed', { skip: notGlibc }, async () => {
    for (const backend of ALL) {
      const env = { MALLOC_BACKEND_REQUIRE: '1' };
      const { code, stderr, found } = await told(shim(backend), env);
      assert.deepEqual([code, stderr, found['left']], [0, '', undefined], backend);
      if (backend === 'default') continue;
      const first = await told(`${shim(backend)}:${foreign}`, env);
      assert.deepEqual([first.code, first.stderr], [0, ''], `${backend} before a foreign one`);
    }
  });

  test('MALLOC_BACKEND_CHILDREN=none takes the library, and it alone, out of LD_PRELOAD', async () => {
    const env = { MALLOC_BACKEND_CHILDREN: 'none' };
    for (const backend of ALL) {
      const own = shim(backend);
      const after: [string, string][] = [
        [own, '(unset)'],
        [`${own}:${own}`, '(unset)'],
        [`${plugin}:${own}`, plugin],
        [`${own}:${plugin}`, plugin],
        [`${own} ${plugin}`, plugin],
        [`:${own}::`, '(unset)'],
      ];
      for (const [preload, left] of after) {
        const { code, found } = await told(preload, env);
        assert.equal(code, 0);
        assert.equal(found['preload'], left, `${backend}: ${preload}`);
        assert.equal(found['left'], undefined);
        if (backend !== 'default') assert.equal(found['malloc'], await realpath(own), 'itself it stays');
        const child = await told(preload, env, ['exec', inside, 'identity']);
        assert.equal(child.found['shim'], 'none', `${backend}: its child has the shim still`);
      }
    }
  });

  test('under another name it takes itself out too', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'malloc-backend-'));
    try {
      await symlink(shim('mimalloc'), join(folder, 'link.so'));
      await copyFile(shim('mimalloc'), join(folder, 'libcopy.so'));
      const env = { MALLOC_BACKEND_CHILDREN: 'none' };
      for (const preload of [join(folder, 'link.so'), `${folder}/../${folder.split('/').pop()}/libcopy.so`]) {
        assert.equal((await told(preload, env)).found['preload'], '(unset)', preload);
      }
      // A name without a slash is looked for in the library path.
      const named = await told('libcopy.so', { ...env, LD_LIBRARY_PATH: folder });
      assert.equal(named.found['preload'], '(unset)', 'libcopy.so');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('default takes itself out once a launcher has asked; the others stay for the children', async () => {
    const preload = ` ${plugin}::${shim('default')}`;
    for (const name of ['RESTORE', 'REGISTERED', 'CHILDREN', 'REQUIRE'])
      assert.equal((await told(preload, { [`MALLOC_BACKEND_${name}`]: '' })).found['preload'], plugin, name);
    assert.equal((await told(preload)).found['preload'], preload, 'not asked, it changes nothing');
    for (const backend of SWITCHING) {
      const child = await told(shim(backend), {}, ['exec', inside, 'identity']);
      assert.equal(child.found['backend'], backend);
    }
  });
});

describe('in company', { skip: cannotPreload }, () => {
  describe('a C++ program with exceptions, threads and aligned objects', () => {
    let runtime = '';
    let plain: Outcome;
    beforeAll(async () => {
      runtime = await compiled('runtime');
      plain = await run(runtime);
    });

    test('on the C library', () => {
      assert.equal(plain.code, 5);
      assert.match(plain.stdout, /refusals: std::bad_alloc, nothrow null, the new handler gave up after 3/);
      assert.match(plain.stdout, /exceptions: 200 caught/);
    });

    for (const backend of ALL)
      test(backend, async () =>
        assert.deepEqual(await run(runtime, [], { env: { LD_PRELOAD: shim(backend) } }), plain),
      );
  });

  test('a program that frees a block twice comes to its end', async () => {
    const program = tools.cc(
      'frees-twice',
      `#include <stdlib.h>
       int main(void) {
         void *all[1000];
         for (int i = 0; i < 1000; i++) all[i] = malloc(64);
         free(all[999]), free(all[999]);
         for (int i = 0; i < 1000; i += 2) free(all[i]);
         return 0;
       }`,
      ['-fno-builtin'],
    );
    // (jemalloc and snmalloc may end it by abort(3).)
    for (const backend of SWITCHING) {
      const { code, signal } = await run(program, [], { env: { LD_PRELOAD: shim(backend) } });
      assert.ok(code === 0 || signal === 'SIGABRT', `${backend}: ${code} ${signal}`);
    }
  });

  test('a library that allocates before main and frees after it', async () => {
    for (const backend of ALL)
      for (const preload of [`${plugin}:${shim(backend)}`, `${shim(backend)}:${plugin}`]) {
        const found = await ask(preload, ['owner', 'identity']);
        assert.equal(found['backend'], backend);
      }
  });

  test('a library opened with RTLD_DEEPBIND, which has the malloc of libc', { skip: notGlibc }, async () => {
    for (const backend of ALL)
      assert.equal((await ask(shim(backend), ['deep', plugin, 'own']))['own'], 'done');
  });
});
