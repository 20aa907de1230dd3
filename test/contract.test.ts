// The contract of the malloc family, told from C inside a process (test/c/contract*.c), under each shim.

import assert from 'node:assert/strict';
import { compiled } from './support/native.js';
import { run } from './support/run.js';
import { cannotPreload, emulated, notGlibc, shim, SWITCHING } from './support/shims.js';
import { describe, test } from './support/suite.js';

interface Check {
  name: string;
  failure?: string;
  skipped?: string;
}

interface Verdict {
  checks: Check[];
  failed: string[];
  /** The program came to its end: as many checks as it announced, and a status that agrees with them. */
  complete: boolean;
  output: string;
}

/** An emulator takes more than ten times as long as the processor. */
const FEWER: Record<string, string> = emulated === false ? {} : { CONTRACT_OPERATIONS: '50000' };

/** Why what is the same on each processor does not run once more there; false where it does. */
const tooSlow: string | false = emulated && 'it would take minutes in an emulator';

async function judge(names: string[], { env }: { env: Record<string, string> }): Promise<Verdict> {
  const { stdout, stderr, code } = await run(contract, names, { env: { ...env, ...FEWER } });
  const checks: Check[] = [];
  for (const line of stdout.split('\n')) {
    const [, verdict, name, why] = /^(ok|not ok|skip) ([\w-]+)(?:: (.*))?$/.exec(line) ?? [];
    if (name === undefined) continue;
    if (verdict === 'ok') checks.push({ name });
    else if (verdict === 'skip') checks.push({ name, skipped: why ?? '' });
    else checks.push({ name, failure: why ?? '' });
  }
  const failed = checks.filter((check) => check.failure !== undefined).map((check) => check.name);
  const planned = Number(/^1\.\.(\d+)/.exec(stdout)?.[1]);
  const complete = checks.length === planned && code === (failed.length === 0 ? 0 : 1);
  return { checks, failed, complete, output: stdout + stderr };
}

/** Each check as a test of its own: the program runs before there are tests, for only it knows their names. */
async function holds(
  title: string,
  env: () => Record<string, string>,
  names: string[] = [],
  skip: string | false = cannotPreload,
): Promise<void> {
  if (skip !== false) return test(title, { skip }, () => {});
  const { checks, complete, output } = await judge(names, { env: env() });
  describe(title, () => {
    for (const { name, failure, skipped } of checks)
      test(name, { skip: skipped ?? false }, () => assert.equal(failure, undefined));
    test('the program comes to its end', () => assert.ok(complete, output));
  });
}

const contract = cannotPreload === false ? await compiled('contract') : '';

for (const backend of SWITCHING)
  await holds(`the contract under ${backend}`, () => ({ LD_PRELOAD: shim(backend) }));

// Options that send the allocator down other paths: memory goes back to the system with each free, and threads
// share what is otherwise theirs.
const OTHERWISE = [
  ['jemalloc', 'MALLOC_CONF', 'dirty_decay_ms:0,muzzy_decay_ms:0'],
  ['jemalloc', 'MALLOC_CONF', 'narenas:1,tcache:false,background_thread:true,dirty_decay_ms:10'],
  ['mimalloc', 'MIMALLOC_PURGE_DELAY', '0'],
  ['mimalloc', 'MIMALLOC_PURGE_DECOMMITS', '0'],
] as const;

for (const [backend, name, value] of OTHERWISE) {
  const checks = ['realloc-failure', 'huge-sizes', 'free-errno', 'free-errno-refused'];
  const threads = ['foreign-free', 'ended-threads', 'short-threads', 'thread-exit', 'model'];
  await holds(
    `the contract under ${backend} with ${name}=${value}`,
    () => ({ LD_PRELOAD: shim(backend), [name]: value }),
    [...checks, ...threads],
    cannotPreload || tooSlow,
  );
}

for (const seed of ['1', '0xC0FFEE'])
  for (const backend of SWITCHING)
    await holds(
      `the model with another seed, ${seed}, under ${backend}`,
      () => ({ LD_PRELOAD: shim(backend), CONTRACT_SEED: seed, CONTRACT_OPERATIONS: '200000' }),
      ['model'],
      cannotPreload || tooSlow,
    );

const noReference = notGlibc || tooSlow;
const reference = noReference === false ? await compiled('reference.so') : '';
await holds('the contract under glibc, made to keep it', () => ({ LD_PRELOAD: reference }), [], noReference);

describe('the checks bite', { skip: noReference }, () => {
  // What glibc does otherwise, by its documentation or its age. The first three it does in every release.
  const ALWAYS = ['model', 'realloc-zero', 'reallocarray-zero'];
  const BY_RELEASE = [
    'alignment-errors', // since 2.38 its aligned_alloc refuses an alignment that is no power of two
    'free-errno', // as the next two: before 2.43 it has no free_sized, since 2.26 no cfree to link with
    'free-errno-refused',
    'free-null',
  ];

  test('glibc fails where the contract differs from it, and nowhere else', async () => {
    const { failed, complete, output } = await judge([], { env: {} });
    assert.ok(complete, output);
    assert.deepEqual(
      failed.filter((name) => !BY_RELEASE.includes(name)).sort(),
      ALWAYS,
      `glibc itself gave\n${output}`,
    );
    const replaced = await judge([], { env: { LD_PRELOAD: shim('default') } });
    assert.deepEqual(replaced.failed, failed, 'the default shim replaces nothing');
  });

  // The mistakes of test/c/reference.c, each with the check that is there to find it.
  const MISTAKES: Record<string, string> = {
    'align-4096': 'aligned-blocks',
    'align-8': 'alignment-16',
    'calloc-dirty': 'calloc-zeroes',
    'calloc-overflow': 'calloc-overflow',
    'free-errno': 'free-errno',
    'free-errno-large': 'free-errno',
    'free-errno-refused': 'free-errno-refused',
    'free-sized-errno': 'free-errno',
    'memalign-odd': 'aligned-blocks',
    'memalign-refuses': 'alignment-errors',
    'no-enomem': 'huge-sizes',
    'posix-memalign-any': 'posix-memalign-errors',
    'posix-memalign-errno': 'posix-memalign-errors',
    'posix-memalign-writes': 'posix-memalign-errors',
    'pvalloc-overflow': 'huge-sizes',
    'pvalloc-short': 'whole-pages',
    'realloc-dangles': 'realloc-zero',
    'realloc-fail-frees': 'realloc-failure',
    'realloc-loses-tail': 'realloc-keeps-contents',
    'realloc-null': 'realloc-null',
    'realloc-zero': 'realloc-zero',
    'reallocarray-fail-frees': 'reallocarray-overflow',
    'reallocarray-overflow': 'reallocarray-overflow',
    'thread-dead': 'thread-exit',
    'thread-limit': 'short-threads',
    'thread-takes-along': 'ended-threads',
    twice: 'model',
    'twice-in-threads': 'foreign-free',
    'usable-less': 'usable-size',
    'usable-more': 'usable-size',
    'usable-null': 'usable-size',
    'valloc-plain': 'whole-pages',
    'zero-null': 'zero-sizes',
    'zero-shared': 'zero-sizes',
  };

  for (const [mistake, check] of Object.entries(MISTAKES)) {
    test(`${mistake} fails ${check}`, async () => {
      const env = { LD_PRELOAD: reference, MISTAKE: mistake };
      const { failed, output } = await judge([check], { env });
      assert.deepEqual([...new Set(failed)], [check], output);
    });
  }
});
