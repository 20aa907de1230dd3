// Idle release: on glibc's malloc and on mimalloc under low-rss, a process that has freed memory and does nothing gives it
// back. Where the thread for that starts and where not, and that nobody's memory is touched.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { environment, type Preset } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { givenBack, gunicornGivesBack } from './support/idle.js';
import { compiled } from './support/native.js';
import { fixture } from './support/programs.js';
import { noPython, pythons } from './support/pythons.js';
import { kill, run, start, succeed } from './support/run.js';
import { cannotPreload, isGlibc, notGlibc } from './support/shims.js';
import { describe, test } from './support/suite.js';

const BACKENDS = isGlibc ? (['default', 'mimalloc'] as const) : (['mimalloc'] as const);
type Backend = (typeof BACKENDS)[number];

/** The command before a program's. */
function on(backend: Backend, set: readonly string[] = [], preset: Preset = 'low-rss'): string[] {
  return ['run', backend, '--preset', preset, ...set.flatMap((each) => ['--set', each]), '--'];
}

for (const backend of BACKENDS)
  describe(`a process that frees and then does nothing, on ${backend}`, { skip: cannotPreload }, () => {
    for (const how of ['first', 'child', 'inherited', 'daemon', 'thread', 'threads'])
      test(how, async () => givenBack(start(tools.native, [...on(backend), await compiled('freed'), how])));

    test("Node's cluster", () =>
      givenBack(start(tools.native, [...on(backend), process.execPath, fixture('cluster.mjs')])));

    const { file: python = '' } = pythons.at(-1) ?? {};
    for (const method of ['first', 'fork', 'forkserver', 'spawn'])
      test(`Python: ${method}`, { skip: noPython }, () =>
        givenBack(start(tools.native, [...on(backend), python, fixture('spike.py'), method])),
      );

    const gunicorn = tools.which('gunicorn');
    test('gunicorn', { skip: gunicorn === undefined && 'gunicorn is not installed' }, () =>
      gunicornGivesBack(on(backend), gunicorn ?? ''),
    );
  });

for (const backend of BACKENDS)
  describe(`a thread that waits for an event, on ${backend}`, { skip: cannotPreload }, () => {
    const CASES: [title: string, what: string][] = [
      ['gives back what another thread frees meanwhile', 'freed'],
      ['waits as long as it is to', 'timeout'],
      ['gets an event that comes later', 'event'],
      ['is interrupted by a signal that comes later', 'signal'],
      ['is interrupted by a signal that only the wait lets through', 'masked'],
      ['can be cancelled', 'cancelled'],
      ['gets the error of a descriptor that is none', 'wrong'],
    ];
    for (const [title, what] of CASES)
      test(title, async () => {
        await succeed(tools.native, [...on(backend), await compiled('event_loop'), what]);
      });
  });

for (const backend of BACKENDS)
  describe(`the thread, on ${backend}`, { skip: cannotPreload }, () => {
    const idle = async (words: string, set: readonly string[] = [], preset: Preset = 'low-rss') => {
      const args = [...on(backend, set, preset), await compiled('idle'), ...words.split(' ')];
      const { stdout, stderr } = await succeed(tools.native, args);
      assert.equal(stderr, '');
      return stdout.trim().split('\n').join(' ');
    };
    const noUser = tools.unshares('-U');

    /** What the program does, and what it says of its threads. */
    const CASES: [title: string, words: string, expected: string][] = [
      ['starts when the program waits', 'take free count wait count', '1 2'],
      ['starts when the program makes a thread', 'count thread count', '1 2'],
      ['does not start in a small program', 'wait count', '1'],
      ['does not start in a signal handler', 'take free handler count', '1'],
      ['does not start in a process that confines itself', 'confine take free wait count', '1'],
      ['ends in a process that confines itself', 'take free wait count confine count', '2 1'],
      ['starts in a forked child', 'take free wait count fork count take free wait count', '2 1 2'],
      ['does not start in the child of one that confines itself', 'confine fork take free wait count', '1'],
    ];
    for (const [title, words, expected] of CASES)
      test(title, async () => assert.equal(await idle(words), expected));

    test('steps aside for a new user namespace', { skip: noUser }, async () => {
      assert.equal(await idle('take free wait count unshare count'), '2 0 2');
    });

    test('blocks all signals, and opens nothing', async () => {
      const [, blocked = '', descriptors] =
        (await idle('take free wait settle idle')).match(/^SigBlk:\s*(\w+) (\d+)$/) ??
        assert.fail('there is no thread of that name');
      // All but those that cannot be blocked: SIGKILL, SIGSTOP, and libc's own from 32.
      const all = (1n << 31n) - 1n - (1n << 8n) - (1n << 18n);
      assert.equal(BigInt(`0x${blocked}`) & all, all);
      assert.equal(descriptors, await idle('take free wait idle', ['idle_release=false']));
    });

    test('does not start where the option is off, or the preset another', async () => {
      assert.equal(await idle('take free thread wait count', ['idle_release=false']), '1');
      for (const preset of ['none', 'balanced', 'throughput'] as const)
        assert.equal(await idle('take free thread wait count', [], preset), '1', preset);
      assert.equal(
        await idle('thread count', ['idle_release=true'], 'none'),
        '2',
        'where only the option asks',
      );
    });

    test('does not start in a program with a malloc of its own', async () => {
      const source = `#include <stddef.h>
        #include <stdio.h>
        #include <unistd.h>
        #include <sys/stat.h>
        static _Alignas(16) char heap[64 << 20];
        static size_t used;
        void *malloc(size_t size) { void *block = heap + used; used += (size + 31) & ~(size_t)15; return block; }
        void free(void *block) { (void)block; }
        void *calloc(size_t count, size_t size) { return malloc(count * size); }
        void *realloc(void *block, size_t size) {
          char *to = malloc(size);
          for (size_t at = 0; block != NULL && at < size; at++) to[at] = ((char *)block)[at];
          return to;
        }
        int main(void) {
          struct stat task;
          sbrk(40 << 20);
          usleep(1000);
          return stat("/proc/self/task", &task) != 0 || task.st_nlink != 3;
        }`;
      const program = tools.cc(`own-malloc-${backend}`, source, ['-fno-builtin']);
      const env = environment(backend, { preset: 'low-rss', env: {} }) as Record<string, string>;
      await succeed(program, [], { env });
    });

    test('ends with the main thread', async () => {
      for (const how of ['exit', 'thrd', 'cancel', 'worker', 'fork', 'clone']) {
        // (That run does not end is the fault: see support/run.ts.)
        const { code } = await run(tools.native, [...on(backend), await compiled('last_thread'), how]);
        assert.equal(code, 0, how);
      }
    });

    test('changes no memory that is in use', () => idle('take wait check'));

    test('survives forks at any time', () => idle('take wait forks'));

    const code = `import os
pid = os.fork()
if pid == 0: os._exit(0)
print(os.waitpid(pid, 0)[1], len(os.listdir('/proc/self/task')))`;
    for (const { file, version } of pythons.filter((each) => each.minor >= 12))
      test(`Python ${version} has one thread, and warns of none`, { skip: notGlibc }, async () => {
        const args = [...on(backend), file, '-W', 'always', '-c', code];
        const { stdout, stderr } = await succeed(tools.native, args);
        assert.deepEqual([stdout, stderr], ['0 1\n', '']);
      });
  });

describe('default', { skip: notGlibc }, () => {
  test("is glibc's own malloc, in children too, with the library beside it", async () => {
    const maps = "grep -o 'libmalloc_backend_[a-z]*' /proc/self/maps | sort -u; :";
    const says = async (...args: string[]) =>
      (await succeed(tools.native, ['run', 'default', ...args, '--', 'sh', '-c', maps])).stdout.trim();
    assert.equal(await says('--preset', 'low-rss'), 'libmalloc_backend_default');
    assert.equal(await says('--preset', 'low-rss', '--children', 'none'), '');
    assert.equal(await says('--preset', 'low-rss', '--set', 'idle_release=false'), '');
    assert.equal(await says('--preset', 'balanced'), '');
  });

  test('gives memory back with several arenas too, where nothing else runs', async () => {
    const { stdout } = await succeed(tools.native, [
      ...on('default', ['arena_max=8']),
      await compiled('idle'),
      'thread',
      'take',
      'free',
      'settle',
      'count',
    ]);
    assert.equal(stdout, '2\n');
  });

  test('is what the doctor sees', async () => {
    const child = start(tools.native, [...on('default'), 'cat']);
    try {
      child.stdin?.write('x');
      await once(child.stdout ?? assert.fail(), 'data');
      const environ = readFileSync(`/proc/${child.pid}/environ`, 'utf8');
      assert.match(environ, /MALLOC_BACKEND_DEFAULT=idle_release:1/);
      const { stdout } = await tools.command(['doctor', '--pid', String(child.pid), '--json']);
      const { process: seen } = JSON.parse(stdout) as {
        process: { preset?: string; options?: Record<string, string> };
      };
      assert.equal(seen.preset, 'low-rss');
      assert.equal(seen.options?.['MALLOC_BACKEND_DEFAULT'], 'idle_release:1');
    } finally {
      child.stdin?.end();
      kill(child);
    }
  });
});
