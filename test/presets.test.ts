// The presets: each of their settings reaches the allocator, under its own name and with its own value.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type BackendOptions, type Preset, environment, fork, presets, spawn } from '../index.js';
import { linuxBinding } from '../src/native/loader.js';
import * as tools from './fixtures-ts/tools.js';
import { run, succeed } from './support/run.js';
import { cannotPreload, notGlibc, root } from './support/shims.js';
import { beforeAll, describe, test } from './support/suite.js';

const NAMES = ['low-rss', 'balanced', 'throughput'] as const;
const BACKENDS = ['default', 'jemalloc', 'mimalloc'] as const;
type Tuned = (typeof BACKENDS)[number];

const table = (backend: Tuned, preset: Preset) =>
  preset === 'none' ? [] : (presets[backend]?.[preset] ?? assert.fail(`${backend} has no ${preset}`));

/** The variables that a preset or single options set. */
function variables(backend: Tuned, preset: Preset, set: BackendOptions = {}, env: NodeJS.ProcessEnv = {}) {
  return environment(backend, { preset, set, env }) as Record<string, string>;
}

describe('the table', () => {
  test('has three presets for each backend that has options', () => {
    assert.deepEqual(Object.keys(presets).sort(), [...BACKENDS]);
    for (const backend of BACKENDS)
      assert.deepEqual(Object.keys(presets[backend] ?? {}).sort(), [...NAMES].sort());
  });

  test('has a reason for each setting, and no setting twice', () => {
    for (const backend of BACKENDS)
      for (const preset of NAMES) {
        const entries = table(backend, preset);
        const keys = entries.map(({ key }) => key);
        assert.equal(new Set(keys).size, keys.length, `${backend} ${preset}`);
        for (const { key, value, reason } of entries) {
          assert.match(key, /^[a-z][a-z0-9_.]*$/);
          assert.match(value, /^[^\s,:]+$/);
          assert.ok(reason.length > 10, `${backend} ${preset} ${key} has no reason`);
        }
      }
  });

  test('stands in docs/presets.md too', () => {
    const page = join(root, 'docs', 'presets.md');
    assert.ok(existsSync(page), 'docs/presets.md is missing');
    const text = readFileSync(page, 'utf8');
    for (const backend of BACKENDS)
      for (const preset of NAMES)
        for (const { key, value } of table(backend, preset))
          assert.match(text, new RegExp(`\\b${key}\\b[^\n]*${value}`), `${backend} ${preset} ${key}`);
  });
});

describe('in the environment', { skip: cannotPreload }, () => {
  test('balanced is meant where nothing is said, and none sets nothing', () => {
    for (const backend of BACKENDS) {
      assert.deepEqual(environment(backend, { env: {} }), variables(backend, 'balanced'));
      const { LD_PRELOAD: _, ...others } = variables(backend, 'none');
      assert.deepEqual(others, {});
    }
    assert.deepEqual(Object.keys(environment('snmalloc', { env: {} })), ['LD_PRELOAD']);
  });

  test('is what spawn, fork and run hand on', async () => {
    const expected = variables('jemalloc', 'low-rss', { narenas: '3' })['MALLOC_BACKEND_JEMALLOC'];
    const options = { backend: 'jemalloc', preset: 'low-rss', set: { narenas: '3' } } as const;
    const child = spawn('sh', ['-c', 'echo "$MALLOC_BACKEND_JEMALLOC"'], options);
    child.stdout?.setEncoding('utf8');
    const printed = new Promise((resolve) => child.stdout?.once('data', resolve));
    assert.equal(await printed, `${expected}\n`);
    const script = tools.file(
      'conf.cjs',
      'process.send(process.env.MALLOC_BACKEND_JEMALLOC); process.disconnect()',
    );
    const forked = fork(script, options);
    assert.equal(await new Promise((resolve) => forked.once('message', resolve)), expected);
    const args = [
      'run',
      'jemalloc',
      '--preset',
      'low-rss',
      '--set',
      'narenas=3',
      '--',
      'sh',
      '-c',
      'echo "$MALLOC_BACKEND_JEMALLOC"',
    ];
    assert.equal((await tools.command(args)).stdout, `${expected}\n`);
  });
});

/** What is really set, by option: as far as it can be told, for the keys. */
type Asked = (env: Record<string, string>, keys: string[]) => Promise<Record<string, string | undefined>>;

/** The option that is this package's own: its library reads the last value. What the value does, test/idle.test.ts has. */
function released(env: Record<string, string>, variable: string): string | undefined {
  const value = [...(env[variable] ?? '').matchAll(/\bidle_release:(\d)/g)].at(-1)?.[1];
  return value === undefined ? undefined : String(value === '1');
}

/** Each preset as a whole, with `none` for comparison, and with something of the user's in between. */
function reaches(backend: Tuned, asked: Asked, options: () => BackendOptions, variable: string) {
  for (const preset of NAMES)
    test(`${backend} takes ${preset}`, async () => {
      const entries = table(backend, preset);
      const keys = entries.map(({ key }) => key);
      const found = await asked(variables(backend, preset), keys);
      for (const { key, value } of entries) assert.equal(found[key], value, key);
    });

  test(`${backend} takes single options, over the user's`, async () => {
    const [[key, value] = assert.fail()] = Object.entries(options());
    const users = variables(backend, 'none', { [key]: '5' });
    assert.equal((await asked(users, [key]))[key], '5');
    assert.equal((await asked(variables(backend, 'low-rss', { [key]: value }, users), [key]))[key], value);
    const own = { [variable]: backend === 'jemalloc' ? `${key}:6` : '6' };
    assert.equal((await asked(variables(backend, 'throughput', {}, own), [key]))[key], '6', 'the user wins');
    assert.equal((await asked(variables(backend, 'throughput', { [key]: value }, own), [key]))[key], value);
  });
}

describe('jemalloc', { skip: cannotPreload }, () => {
  let options: string;
  beforeAll(() => {
    // An option's type shows in its size. Where calloc's threshold is cannot be asked: whether it is above 10 MiB shows
    // in the page faults that such a block has when it was used before.
    const source = `#include <dlfcn.h>
      #include <stdio.h>
      #include <stdlib.h>
      #include <string.h>
      #include <sys/prctl.h>
      #include <sys/resource.h>
      static long faults(void) {
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        return usage.ru_minflt;
      }
      static int writes(void) {
        enum { SIZE = 10 << 20 };
        static char *volatile block;
        long before = 0;
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
        for (int n = 0; n < 4; n++) {
          before = faults();
          block = calloc(1, SIZE);
          for (size_t at = 0; at < SIZE; at++) if (block[at] != 0) abort();
          memset(block, 1, SIZE);
          free(block);
        }
        return faults() - before < SIZE / 4096 / 2;
      }
      int main(int argc, char **argv) {
        int (*ctl)(const char *, void *, size_t *, void *, size_t) = dlsym(RTLD_DEFAULT, "mallctl");
        free(malloc(1));
        for (int i = 1; i < argc; i++) {
          char name[99];
          long value = 0;
          if (strcmp(argv[i], "calloc_madvise_threshold") == 0) {
            printf("%s=%s\\n", argv[i], writes() ? "1099511627776" : "8388608");
            continue;
          }
          snprintf(name, sizeof name, "opt.%s", argv[i]);
          for (size_t size = 1; size <= 8; size *= 2) {
            size_t got = size;
            value = 0;
            if (ctl(name, &value, &got, NULL, 0) == 0) {
              if (size == 1) printf("%s=%s\\n", argv[i], value ? "true" : "false");
              else printf("%s=%ld\\n", argv[i], size == 4 ? (long)(int)value : value);
              break;
            }
          }
        }
        return 0;
      }`;
    options = tools.cc('options', source);
  });

  const asked: Asked = async (env, keys) => {
    // With abort_conf, jemalloc ends the program at a setting that it does not understand.
    const checked = {
      ...env,
      MALLOC_CONF: ['abort_conf:true', env['MALLOC_CONF']].filter(Boolean).join(','),
    };
    const { stdout, stderr } = await succeed(options, keys, { env: checked });
    assert.equal(stderr, '');
    return Object.fromEntries(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.split('=')),
    );
  };

  reaches('jemalloc', asked, () => ({ narenas: '3' }), 'MALLOC_CONF');

  test('a preset that it did not understand would show', async () => {
    for (const MALLOC_CONF of ['nonsense:1', 'narenas:many', 'narenas']) {
      const env = { ...variables('jemalloc', 'none'), MALLOC_CONF: `abort_conf:true,${MALLOC_CONF}` };
      const { code, signal, stderr } = await run(options, [], { env });
      assert.ok(code !== 0 || signal !== null);
      assert.match(stderr, /conf/i);
    }
  });

  test("a comma at the end of the user's MALLOC_CONF loses nothing", async () => {
    for (const MALLOC_CONF of ['narenas:5,', ',', 'narenas:5,,']) {
      const env = { ...variables('jemalloc', 'low-rss', { narenas: '3' }), MALLOC_CONF };
      const { stdout } = await succeed(options, ['narenas', 'dirty_decay_ms'], { env });
      assert.equal(stdout, 'narenas=3\ndirty_decay_ms=500\n', MALLOC_CONF);
    }
  });

  describe('takes what is let through, and no other', () => {
    let names: string[];
    beforeAll(() => {
      const refusal = (): string => {
        try {
          environment('jemalloc', { env: {}, preset: 'none', set: { '?': '1' } });
        } catch (error) {
          return (error as Error).message;
        }
        return assert.fail('an option of that name is none');
      };
      names =
        refusal().split('has the options ')[1]?.split(', ') ?? assert.fail('it does not say which there are');
    });

    /** One value of each kind. */
    const VALUES = ['false', 'disabled', 'auto', 'default', 'alloc', '65536', '1', '0.25', '1-160:1', 'J'];
    const isTaken = (key: string, value: string) => {
      try {
        return variables('jemalloc', 'none', { [key]: value });
      } catch {
        return undefined;
      }
    };

    test('each option, and each kind of value', async () => {
      for (const key of names) {
        const taken = VALUES.filter((value) => isTaken(key, value));
        assert.notEqual(taken.length, 0, `no value for ${key}`);
        for (const value of taken) {
          const env = { ...isTaken(key, value), MALLOC_CONF: 'abort_conf:true' };
          const { code, stderr } = await run(options, [], { env });
          // What it prints about its own plight (a kernel without huge pages) ends nothing.
          assert.equal(code, 0, `${key}:${value} ${stderr}`);
          assert.doesNotMatch(stderr, /Invalid|Out-of-range/, `${key}:${value}`);
        }
      }
    });

    test('what is refused, jemalloc would refuse or not know', async () => {
      for (const key of [...names.filter((name) => !/^stats_.*_opts$/.test(name)), 'prof', 'narena']) {
        assert.equal(isTaken(key, '?'), undefined, key);
        const { stderr } = await run(options, [], {
          env: { LD_PRELOAD: variables('jemalloc', 'none')['LD_PRELOAD'] ?? '', MALLOC_CONF: `${key}:?` },
        });
        assert.match(stderr, new RegExp(`<jemalloc>: .*${key}:\\?`), key);
      }
    });

    test('all that it lists itself', async () => {
      const env = { ...variables('jemalloc', 'none'), MALLOC_CONF: 'stats_print:true' };
      const { stderr } = await succeed(options, [], { env });
      const listed = [...stderr.matchAll(/^ {2}opt\.(\w+):/gm)].map(([, name = '']) => name);
      assert.ok(listed.length > 30, String(listed.length));
      const isAbsent =
        /^(prof|lg_prof|utrace|xmalloc|log|experimental_infallible_new|lg_san_uaf_align|malloc_conf)/;
      for (const name of listed) if (!isAbsent.test(name)) assert.ok(names.includes(name), name);
    });
  });

  test('each preset bears threads, and an end', async () => {
    const code = `const { Worker } = require('worker_threads');
      for (let i = 0; i < 4; i++) new Worker("Array.from({ length: 2000 }, (_, n) => Buffer.alloc(n * 16))", { eval: true });`;
    for (const preset of [...NAMES, 'none'] as const) {
      const { stderr } = await succeed(process.execPath, ['-e', code], {
        env: variables('jemalloc', preset),
      });
      assert.equal(stderr, '', preset);
    }
  });
});

describe('mimalloc', { skip: cannotPreload }, () => {
  const asked: Asked = async (env, keys) => {
    const { stderr } = await succeed('cat', [], { env: { ...env, MIMALLOC_VERBOSE: '1' } });
    assert.doesNotMatch(stderr, /invalid|unknown/i);
    const found = Object.fromEntries(
      [...stderr.matchAll(/option '(\w+)': (-?\d+)/g)].map(([, key = '', value]) => [key, value]),
    );
    const others = keys.filter((key) => key !== 'idle_release');
    for (const key of others) assert.ok(key in found, `mimalloc has no option ${key}`);
    const own = released(env, 'MALLOC_BACKEND_MIMALLOC');
    return own === undefined ? found : { ...found, idle_release: own };
  };

  reaches('mimalloc', asked, () => ({ purge_delay: '3' }), 'MIMALLOC_PURGE_DELAY');

  test('has the options that may be set, and no others', async () => {
    const found = Object.keys(await asked(variables('mimalloc', 'none'), []));
    assert.ok(found.includes('purge_delay'));
    const idle = /^(deprecated_.*|guarded_.*|os_tag|retry_on_oom)$/;
    for (const key of [...found, 'purge_dely', 'PURGE_DELAY', 'toString']) {
      const set = () => variables('mimalloc', 'none', { [key]: '1' });
      if (found.includes(key) && !idle.test(key))
        assert.equal(set()['MALLOC_BACKEND_MIMALLOC'], `;${key}:1`, key);
      else
        tools.refuses(set, 'ERR_UNKNOWN_OPTION', /mimalloc has (the options .*purge_delay|no such option)/);
    }
    tools.refuses(
      () => variables('mimalloc', 'none', { purge_dely: '1' }),
      'ERR_UNKNOWN_OPTION',
      /Did you mean purge_delay\?/,
    );
  });

  test('has each option under its own number', async () => {
    // In one: were two numbers mixed up, one of them would show.
    const keys = Object.keys(await asked(variables('mimalloc', 'none'), [])).filter(
      (key) => !/^(deprecated_.*|guarded_.*|os_tag|retry_on_oom|verbose|disallow_.*|reserve_.*)$/.test(key),
    );
    const set = Object.fromEntries(keys.map((key, at) => [key, key === 'arena_reserve' ? '77M' : at + 2]));
    const found = await asked(variables('mimalloc', 'none', set), keys);
    for (const key of keys)
      assert.equal(found[key], key === 'arena_reserve' ? `${77 * 1024}` : String(set[key]), key);
  });

  test('has them before its first block, also where that is before any constructor of the library', async () => {
    // A C++ program's runtime asks for memory first. What is asked of the kernel then shows in the end.
    const env = variables('mimalloc', 'none', { allow_thp: 'false', reserve_os_memory: '64MiB' });
    const code =
      "console.log(require('fs').readFileSync('/proc/self/status', 'utf8').match(/THP_enabled:\\s*(.)/)?.[1] ?? '0')";
    const { stdout, stderr } = await succeed(process.execPath, ['-e', code], {
      env: { ...env, MIMALLOC_VERBOSE: '1' },
    });
    assert.equal(stdout, '0\n');
    assert.match(stderr, /option 'reserve_os_memory': 65536 KiB/);
    assert.match(stderr, /reserved 65536 KiB memory/);
  });

  test("takes the user's older names, and any case", async () => {
    const older = {
      abandoned_page_reset: 'abandoned_page_purge',
      decommit_extend_delay: 'purge_extend_delay',
      eager_region_commit: 'arena_eager_commit',
      large_os_pages: 'allow_large_os_pages',
      limit_os_alloc: 'disallow_os_alloc',
      reset_decommits: 'purge_decommits',
      reset_delay: 'purge_delay',
    };
    for (const [old, key] of Object.entries(older)) {
      assert.equal(variables('mimalloc', 'none', { [old]: '0' })['MALLOC_BACKEND_MIMALLOC'], `;${key}:0`);
      for (const name of [`MIMALLOC_${old.toUpperCase()}`, `mimalloc_${old}`, `Mimalloc_${key}`])
        for (const preset of NAMES) {
          const env = variables('mimalloc', preset, {}, { [name]: '0' });
          assert.equal((await asked(env, [key]))[key], '0', `${name} and ${preset}`);
          if (preset !== 'low-rss') continue;
          const over = variables('mimalloc', preset, { [key]: '1' }, { [name]: '0' });
          // (Told to leave the system's memory alone, it would have none.)
          if (key !== 'disallow_os_alloc')
            assert.equal((await asked(over, [key]))[key], '1', `--set over ${name}`);
        }
    }
  });
});

describe('default', { skip: notGlibc }, () => {
  const loader = linuxBinding().inspectProgram(process.execPath).interpreter ?? '';

  /** glibc's loader lists its tunables, as the environment has set them. */
  const asked: Asked = async (env, keys) => {
    const { stdout } = await succeed(loader, ['--list-tunables'], { env });
    const found = keys.map((key) => {
      if (key === 'idle_release') return [key, released(env, 'MALLOC_BACKEND_DEFAULT')];
      const [, value] = new RegExp(`^glibc\\.malloc\\.${key}: (\\w+)`, 'm').exec(stdout) ?? [];
      return [key, value === undefined ? undefined : String(BigInt(value))];
    });
    return Object.fromEntries(found) as Record<string, string>;
  };

  reaches('default', asked, () => ({ arena_max: '3' }), 'MALLOC_ARENA_MAX');

  test('has no options on musl', async () => {
    // A Node whose loader is musl's by its name, in a path no longer than that of glibc's.
    const folder = mkdtempSync('/tmp/m');
    try {
      const named = join(folder, 'ld-musl');
      symlinkSync(loader, named);
      const node = readFileSync(process.execPath);
      node.write(named.padEnd(loader.length, '\0'), node.indexOf(`${loader}\0`), 'latin1');
      const code = `import * as m from ${JSON.stringify(tools.index)};
        const options = [{}, { set: { arena_max: '3' } }, { preset: 'low-rss' }].map((more) => ({ env: {}, ...more }));
        const attempt = (each) => { try { return m.environment('default', each); } catch ({ message }) { return message; } };
        console.log(JSON.stringify(options.map(attempt)));`;
      const args = ['--input-type=module', '-e', code];
      const { stdout } = await succeed(tools.file('node-of-musl', node), args);
      const [nothing, set, preset] = JSON.parse(stdout) as [object, string, string];
      assert.deepEqual(nothing, {});
      assert.match(preset, /low-rss would do nothing: musl's malloc.* has no options/);
      assert.match(set, /cannot set the option "arena_max": musl's malloc.* has no options/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a single option wins over the user's tunables too", async () => {
    const GLIBC_TUNABLES = 'glibc.malloc.arena_max=7:glibc.malloc.top_pad=1';
    const set = variables('default', 'none', { arena_max: '3' }, { GLIBC_TUNABLES });
    assert.deepEqual(await asked(set, ['arena_max', 'top_pad']), { arena_max: '3', top_pad: '1' });
    const user = variables('default', 'low-rss', {}, { GLIBC_TUNABLES });
    assert.equal((await asked(user, ['arena_max']))['arena_max'], '7');
  });

  test('a threshold is one that glibc accepts, not only lists', async () => {
    // Which of its own limits a release has does not show in the list.
    const source = `#include <malloc.h>
      #include <stdio.h>
      #include <stdlib.h>
      int main(void) { char *volatile block = malloc(20 << 20); printf("%d", mallinfo().hblks); return !block; }`;
    const maps = tools.cc('maps', source);
    for (const preset of [...NAMES, 'none'] as const) {
      const threshold = Number(
        table('default', preset).find(({ key }) => key === 'mmap_threshold')?.value ?? 0,
      );
      const { stdout } = await succeed(maps, [], { env: variables('default', preset) });
      assert.equal(
        stdout,
        threshold > 20 << 20 ? '0' : '1',
        `${preset}: blocks that are mapped for themselves`,
      );
    }
  });
});
