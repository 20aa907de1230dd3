// Programs that a switched one starts and that bring an allocator of their own: they run as without the switch.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type MemoryAllocatorBackend, environment } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { run, succeed } from './support/run.js';
import { SWITCHING, cannotPreload } from './support/shims.js';

const BACKENDS = ['default', ...SWITCHING] as const;

/** An environment with as much in it as there can be. */
function switched(backend: MemoryAllocatorBackend): Record<string, string> {
  const set = { default: { arena_max: '3' }, jemalloc: { narenas: '3' }, mimalloc: { purge_delay: '3' } };
  const options = backend === 'snmalloc' || backend === 'rust' ? {} : { set: set[backend] };
  return environment(backend, { env: process.env, ...options }) as Record<string, string>;
}

describe('beside an allocator of their own', { skip: cannotPreload, timeout: 240_000 }, () => {
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

function missing(program: string): string | false {
  return tools.which(program) === undefined && `${program} is not installed`;
}

function missingMimalloc(): string | false {
  return tools.systemLibrary('libmimalloc.so.2') === undefined && 'libmimalloc2.0 is not installed';
}
