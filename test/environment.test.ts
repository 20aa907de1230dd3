// environment(): what is set, what of the user's stays, and what is refused.

import assert from 'node:assert/strict';
import { type EnvironmentOptions, type ProcessBackend, type Preset, environment } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { run, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, notGlibc, shim } from './support/shims.js';
import { describe, test } from './support/suite.js';

const PROCESS = ['default', ...SWITCHING] as const;
type Env = Record<string, string | undefined>;

/** Without a preset, whose options presets.test.ts looks at. */
const switched = (backend: ProcessBackend, env: Env = {}, more: EnvironmentOptions = {}) =>
  environment(backend, { preset: 'none', env, ...more });

/** What `sh` sees in the end: as the library leaves the environment to the program. */
async function seen(env: NodeJS.ProcessEnv): Promise<Record<string, string>> {
  const given = Object.fromEntries(Object.entries(env)) as Record<string, string>;
  const { stdout } = await succeed('env', [
    '-i',
    ...Object.entries(given).map((pair) => pair.join('=')),
    'env',
  ]);
  const lines = stdout.trimEnd().split('\n').filter(Boolean);
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

describe('what it sets', { skip: cannotPreload }, () => {
  test('the library, and nothing else, where nothing is to be tuned', () => {
    for (const backend of SWITCHING) assert.deepEqual(switched(backend), { LD_PRELOAD: shim(backend) });
    assert.deepEqual(switched('default'), {});
  });

  test('it starts from process.env and changes neither that nor what it is given', () => {
    const before = { ...process.env };
    const here = environment('mimalloc', { children: 'none', preset: 'low-rss', set: { purge_delay: '7' } });
    assert.deepEqual({ ...process.env }, before);
    assert.equal(here['PATH'], process.env['PATH']);
    const given = Object.freeze({ A: 'b', LD_PRELOAD: '/x.so', MALLOC_CONF: 'narenas:1' });
    const copy = { ...given };
    assert.notEqual(environment('jemalloc', { env: given, children: 'none' }), given);
    assert.deepEqual(given, copy);
    const options = Object.freeze({ env: given, set: Object.freeze({ narenas: '2' }) });
    assert.equal(environment('jemalloc', options)['A'], 'b');
  });

  test(
    'another allocator that is preloaded is left out, and other libraries are not',
    { skip: notGlibc },
    async () => {
      const foreign = tools.foreignLibrary();
      const plugin = await compiled('plugin.so');
      for (const backend of ['default', 'mimalloc'] as const) {
        const own = backend === 'default' ? [] : [shim(backend)];
        const left = (LD_PRELOAD: string) => switched(backend, { LD_PRELOAD })['LD_PRELOAD'];
        for (const only of [foreign, `${shim('jemalloc')}:${foreign}`]) assert.equal(left(only), own[0]);
        for (const other of [plugin, '/none.so'])
          assert.equal(left(`${other} ${foreign}`), [...own, other].join(':'));
        // By its name alone the loader looks for it in the system's folders.
        const known = tools.foreignAllocators.find(
          ([, library]) => tools.systemLibrary(library) !== undefined,
        );
        if (known !== undefined) assert.equal(left(known[1]), own[0]);
      }
    },
  );

  test('what is preloaded stays, behind the library, in its order', () => {
    const preload = (LD_PRELOAD: string) => switched('mimalloc', { LD_PRELOAD })['LD_PRELOAD'];
    const own = shim('mimalloc');
    assert.equal(preload('/a.so:/b.so'), `${own}:/a.so:/b.so`);
    assert.equal(preload(' /a.so  libb.so::'), `${own}:/a.so:libb.so`);
    assert.equal(preload(''), own);
    assert.equal(switched('default', { LD_PRELOAD: '' })['LD_PRELOAD'], undefined);
    assert.equal(switched('default', { LD_PRELOAD: '/a.so /b.so' })['LD_PRELOAD'], '/a.so:/b.so');
  });

  test('libraries of ours are replaced, those of another installation too', () => {
    const older = '/elsewhere/libmalloc_backend_snmalloc.so';
    const LD_PRELOAD = `/a.so:${older}:${shim('default')} ${shim('jemalloc')}:/libmalloc_backend_jemalloc.so.1`;
    const kept = '/a.so:/libmalloc_backend_jemalloc.so.1';
    assert.equal(switched('mimalloc', { LD_PRELOAD })['LD_PRELOAD'], `${shim('mimalloc')}:${kept}`);
    assert.equal(switched('default', { LD_PRELOAD })['LD_PRELOAD'], kept);
    assert.equal(switched('default', { LD_PRELOAD: older })['LD_PRELOAD'], undefined);
  });

  test('questions to the library that were meant for another process are taken out', () => {
    const env = { MALLOC_BACKEND_REPORT: '3', MALLOC_BACKEND_REQUIRE: '1', MALLOC_BACKEND_CHILDREN: 'none' };
    assert.deepEqual(switched('default', env), {});
    assert.deepEqual(switched('jemalloc', env), { LD_PRELOAD: shim('jemalloc') });
  });
});

describe('options', { skip: cannotPreload }, () => {
  const ALL = { preset: 'low-rss', set: {} } as const;

  test("jemalloc's and mimalloc's go by variables that no other allocator reads; the user's are not touched", () => {
    for (const [backend, variable, users, set] of [
      ['jemalloc', 'MALLOC_BACKEND_JEMALLOC', { MALLOC_CONF: 'narenas:7,' }, { narenas: '9' }],
      ['mimalloc', 'MALLOC_BACKEND_MIMALLOC', { MIMALLOC_PURGE_DELAY: '7' }, { purge_delay: '9' }],
    ] as const) {
      const LD_PRELOAD = shim(backend);
      const { [variable]: preset, ...others } = environment(backend, { ...ALL, env: users });
      assert.deepEqual(others, { ...users, LD_PRELOAD });
      const both = environment(backend, { ...ALL, env: users, set })[variable];
      assert.equal(both, `${preset};${Object.entries(set).join().replace(',', ':')}`);
      assert.deepEqual(switched(backend, users), { ...users, LD_PRELOAD });
    }
  });

  test("the user's MALLOC_ variables and glibc's tunables win over the preset, --set over them", () => {
    const set = environment('default', { ...ALL, env: {} });
    const names = Object.keys(set).filter((name) => /^MALLOC_(?!BACKEND)/.test(name));
    const mxfast = 'glibc.malloc.mxfast=7';
    const env = Object.fromEntries([...names.map((name) => [name, '77']), ['GLIBC_TUNABLES', mxfast]]);
    const result = environment('default', { ...ALL, env });
    for (const name of names) assert.equal(result[name], '77', name);
    assert.equal(result['GLIBC_TUNABLES'], mxfast);
    assert.equal(result['MALLOC_BACKEND_RESTORE'], undefined, 'nothing was changed');
    const tuned = environment('default', { ...ALL, env: { GLIBC_TUNABLES: 'glibc.malloc.arena_max=7' } });
    assert.equal(tuned['MALLOC_ARENA_MAX'], undefined);
    const forced = switched('default', { MALLOC_ARENA_MAX: '7' }, { set: { arena_max: '3' } });
    assert.equal(forced['MALLOC_ARENA_MAX'], '3');
    const GLIBC_TUNABLES = 'glibc.malloc.arena_max=7:glibc.malloc.top_pad=1';
    const over = switched('default', { GLIBC_TUNABLES }, { set: { arena_max: '3', perturb: '1' } });
    assert.equal(
      over['GLIBC_TUNABLES'],
      `${GLIBC_TUNABLES}:glibc.malloc.arena_max=3`,
      'they win over variables',
    );
  });

  test('an environment made from a switched one is as one made from the first', () => {
    const firsts: Env[] = [
      {},
      { MALLOC_CONF: 'narenas:7' },
      { MIMALLOC_PURGE_DELAY: '7', LD_PRELOAD: '/a.so' },
    ];
    const odd = {
      MALLOC_CONF: 'a;b|c%d e%20\u00a0\u2028é',
      GLIBC_TUNABLES: 'a;b|c%d e%20\u00a0\u2028é',
      MALLOC_ARENA_MAX: '',
    };
    for (const env of [...firsts, odd])
      for (const outer of PROCESS)
        for (const inner of PROCESS)
          for (const children of ['inherit', 'none'] as const) {
            const sets = {
              default: { arena_max: '3' },
              jemalloc: { narenas: '3' },
              mimalloc: { purge_delay: '3' },
            };
            const set = outer === 'snmalloc' ? {} : sets[outer];
            const tuned = (backend: ProcessBackend, preset: Preset) =>
              backend === 'snmalloc' ? {} : { preset };
            const between = environment(outer, { env, children, set, ...tuned(outer, 'throughput') });
            const nested = environment(inner, { env: between, ...tuned(inner, 'low-rss') });
            const direct = environment(inner, { env, ...tuned(inner, 'low-rss') });
            assert.deepEqual(nested, direct, `${inner} in ${outer}`);
          }
  });

  test('what the user changed within a switch stays changed', () => {
    const outer = switched('default', { MALLOC_ARENA_MAX: '5' }, { set: { arena_max: '3' } });
    assert.equal(switched('mimalloc', outer)['MALLOC_ARENA_MAX'], '5');
    assert.equal(switched('mimalloc', { ...outer, MALLOC_ARENA_MAX: '4' })['MALLOC_ARENA_MAX'], '4');
  });
});

describe("the program's own environment", { skip: cannotPreload }, () => {
  const options = { default: { arena_max: '3' }, jemalloc: { narenas: '3' }, mimalloc: { purge_delay: '3' } };

  test('with children: none is as if nothing had been set', async () => {
    const before = {
      HOME: '/',
      MALLOC_CONF: 'narenas:5,tcache:false',
      MALLOC_ARENA_MAX: '5',
      MIMALLOC_PURGE_DELAY: '5',
      ODD: 'a;b|c%41%d e\u00a0\u2028é=',
    };
    for (const env of [{ HOME: '/' }, before])
      for (const backend of PROCESS) {
        const set = backend === 'snmalloc' ? {} : options[backend];
        const given = environment(backend, { env, set, children: 'none' });
        if (backend !== 'snmalloc')
          assert.ok(Object.keys(given).some((name) => /^MALLOC_BACKEND_(RESTORE|.?.MALLOC)$/.test(name)));
        assert.deepEqual(await seen(given), env, backend);
      }
  });

  test("odd characters in the user's own options come back to the byte", async () => {
    const env = { GLIBC_TUNABLES: 'glibc.malloc.arena_max=7:a;b|c%41%d e\t\u00a0\u2028é' };
    const given = environment('default', { env, preset: 'none', set: { arena_max: '3' }, children: 'none' });
    assert.notEqual(given['GLIBC_TUNABLES'], env.GLIBC_TUNABLES);
    const { stdout } = await run('env', [
      '-i',
      ...Object.entries(given).map((pair) => pair.join('=')),
      'env',
    ]);
    assert.equal(stdout, `GLIBC_TUNABLES=${env.GLIBC_TUNABLES}\n`);
  });

  test('with children: none other preloads stay, and the program itself is switched', async () => {
    const plugin = await compiled('plugin.so');
    const { PATH = '' } = process.env;
    for (const backend of SWITCHING) {
      const env = environment(backend, { env: { PATH, LD_PRELOAD: plugin }, children: 'none' });
      assert.equal((await seen(env))['LD_PRELOAD'], plugin);
      const found = await tools.evaluate<[string, string]>(
        `import { execFileSync } from 'node:child_process';
         const child = "console.log(/libmalloc_backend_[a-z]+/.exec(require('fs').readFileSync('/proc/self/maps', 'utf8'))?.[0])";
         show([m.activeBackend().allocator, execFileSync(process.execPath, ['-e', child]).toString()])`,
        { env: env as Record<string, string> },
      );
      assert.deepEqual(found, [backend, 'undefined\n']);
    }
  });
});

describe('what it refuses', { skip: cannotPreload }, () => {
  const refused = (options: object, code: string, ...patterns: RegExp[]) =>
    tools.refuses(() => environment('mimalloc', options as EnvironmentOptions), code, ...patterns);

  test('rust, and what is no backend', () => {
    tools.refuses(
      () => environment('rust' as 'jemalloc'),
      'ERR_BACKEND_UNAVAILABLE',
      /uses malloc/,
      /choose jemalloc/,
    );
    for (const backend of ['Jemalloc', '', undefined, null, 3, {}])
      tools.refuses(() => environment(backend as 'jemalloc'), 'ERR_UNKNOWN_BACKEND');
  });

  test('what is no preset, no choice of children, no options', () => {
    const wrong = ['', 'Balanced', 'toString', null, NaN, 0, 1, true, {}, [], ['balanced'], 1n, Symbol('x')];
    for (const preset of wrong)
      refused(
        { preset },
        'ERR_UNKNOWN_PRESET',
        /low-rss, balanced, throughput, none|Did you mean balanced\?/,
      );
    for (const children of wrong) refused({ children }, 'ERR_INVALID_ARGUMENT', /'inherit' or 'none'/);
    refused({ chlidren: 'none' }, 'ERR_INVALID_ARGUMENT', /unknown option "chlidren".*children/);
    for (const set of ['a=b', null, 3, true, [], 1n]) refused({ set }, 'ERR_INVALID_ARGUMENT', /set/);
    for (const env of ['PATH=/', null, 3, [], true]) refused({ env }, 'ERR_INVALID_ARGUMENT', /env/);
    for (const options of [null, 'mimalloc', 3, true])
      refused(options as unknown as object, 'ERR_INVALID_ARGUMENT');
    assert.ok(
      environment('mimalloc', { preset: undefined, env: undefined } as unknown as EnvironmentOptions),
    );
  });

  test('a preset, where the backend has none', () => {
    for (const preset of ['low-rss', 'balanced', 'throughput'] as const)
      tools.refuses(
        () => environment('snmalloc', { env: {}, preset }),
        'ERR_UNKNOWN_PRESET',
        new RegExp(`${preset}.*snmalloc has no options`),
      );
    assert.deepEqual(
      environment('snmalloc', { env: {}, preset: 'none' }),
      environment('snmalloc', { env: {} }),
    );
  });

  test('an option that cannot be one', () => {
    const set = (key: string, value: unknown, ...patterns: RegExp[]) =>
      refused({ set: { [key]: value } }, 'ERR_UNKNOWN_OPTION', ...patterns);
    for (const key of ['', '1', 'a b', 'a=b', 'a:b', 'a,b', '__proto__x', 'a\0']) set(key, '1', /options/);
    const backends = {
      default: /arena_max/,
      jemalloc: /narenas/,
      snmalloc: /snmalloc has no options/,
    } as const;
    for (const [backend, reason] of Object.entries(backends))
      for (const key of ['nonsense', 'toString', 'constructor'])
        tools.refuses(
          () => environment(backend as 'default', { env: {}, set: { [key]: '1' } }),
          'ERR_UNKNOWN_OPTION',
          reason,
        );
  });

  test('a value that an option does not take', () => {
    const cases: [ProcessBackend, string, unknown[], unknown[]][] = [
      [
        'mimalloc',
        'purge_delay',
        ['', ' ', 'a,b', 'a b', 'a\nb', 'a\0b', '10ms', 'abc', '1.5', 1.5, NaN, null, undefined, {}, ['1']],
        ['10', '-1', 10, -1, '1', 0],
      ],
      ['mimalloc', 'arena_reserve', ['1X', 'K', '1GB2', -1.5], ['64', '1']],
      ['default', 'arena_max', ['two', '0', 0, '1M', '08', '1.5', true], ['1', 2]],
      [
        'default',
        'mmap_threshold',
        ['1M', 2 ** 25 + 1, '-1', '0x2000001', '0200000001'],
        [0, 2 ** 25, '0x2000000', '0200000000'],
      ],
      ['default', 'trim_threshold', ['-', '0x', `${2n ** 64n}`], ['-1', -1, `${2n ** 64n - 1n}`]],
      ['default', 'mmap_max', ['-1', 2 ** 31], [2 ** 31 - 1]],
      ['default', 'perturb', ['256'], ['255']],
      ['jemalloc', 'narenas', ['', 'a b', 'a,b', 'abc', '0', NaN, null], ['2', 2]],
    ];
    for (const [backend, key, wrong, right] of cases) {
      const switched = (value: unknown) => environment(backend, { env: {}, set: { [key]: value as string } });
      for (const value of wrong)
        tools.refuses(() => switched(value), 'ERR_INVALID_ARGUMENT', new RegExp(`"${key}".*must be`));
      for (const value of right) assert.ok(JSON.stringify(switched(value)).includes(String(value)));
    }
  });
});

describe('the libraries', { skip: cannotPreload }, () => {
  const attempt = (MALLOC_BACKEND_BINARY_DIR: string, backend = 'jemalloc') =>
    tools.evaluate<{ code?: string; message: string; value?: Record<string, string> }>(
      `show(attempt(() => m.environment('${backend}', { env: {}, preset: 'none' })))`,
      { env: { MALLOC_BACKEND_BINARY_DIR } },
    );

  test('one that is missing is named', async () => {
    const folder = tools.copyOfBinaries('incomplete', ['libmalloc_backend_jemalloc.so']);
    const { code, message } = await attempt(folder);
    assert.equal(code, 'ERR_SHIM_MISSING');
    assert.ok(message.includes(`${folder}/libmalloc_backend_jemalloc.so`), message);
    assert.deepEqual((await attempt(folder, 'mimalloc')).value, {
      LD_PRELOAD: `${folder}/libmalloc_backend_mimalloc.so`,
    });
  });

  test('in a folder that the loader cannot be pointed at, that is the reason', async () => {
    for (const name of ['with space', 'with:colon', 'with$dollar', 'with\ttab', 'with\nline']) {
      const { code, message } = await attempt(tools.copyOfBinaries(name));
      assert.equal(code, 'ERR_SHIM_MISSING', name);
      assert.match(message, /LD_PRELOAD cannot name .*MALLOC_BACKEND_BINARY_DIR/);
    }
    assert.equal((await attempt(tools.copyOfBinaries('äö'))).code, undefined);
  });
});
