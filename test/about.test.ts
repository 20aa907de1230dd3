// glibc's functions about malloc, under each backend: what programs read there, and that malloc_trim gives memory back.

import assert from 'node:assert/strict';
import * as tools from './fixtures-ts/tools.js';
import { noPython, python } from './support/pythons.js';
import { run, succeed } from './support/run.js';
import { SWITCHING, notGlibc, shim } from './support/shims.js';
import { beforeAll, describe, test } from './support/suite.js';

const MiB = 2 ** 20;
/** Nothing is to go back before it is asked for. */
const KEEP = {
  MALLOC_CONF: 'dirty_decay_ms:-1,muzzy_decay_ms:-1',
  MIMALLOC_PURGE_DELAY: '1000000',
};

// By name: glibc has mallinfo2 since 2.33.
const SOURCE = `#define _GNU_SOURCE
  #include <dlfcn.h>
  #include <malloc.h>
  #include <stdio.h>
  #include <stdlib.h>
  #include <string.h>
  #include <unistd.h>
  struct info2 { size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost; };
  static void *blocks[1000];
  static long resident(void) {
    long size, pages;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (fscanf(statm, "%ld %ld", &size, &pages) != 2) abort();
    fclose(statm);
    return pages * sysconf(_SC_PAGESIZE);
  }
  static void say(const char *when) {
    struct info2 i = ((struct info2 (*)(void))dlsym(RTLD_DEFAULT, "mallinfo2"))();
    struct mallinfo old = mallinfo();
    printf("%s arena=%zu uordblks=%zu fordblks=%zu keepcost=%zu old=%d rss=%ld\\n", when, i.arena, i.uordblks, i.fordblks,
           i.keepcost, old.uordblks, resident());
  }
  int main(void) {
    say("start");
    for (int i = 0; i < 1000; i++) memset(blocks[i] = malloc(128 << 10), 1, 128 << 10);
    say("occupied");
    for (int i = 0; i < 1000; i++) free(blocks[i]);
    say("vacated");
    int first = malloc_trim(0), again = malloc_trim(0);
    printf("trim=%d\\nagain=%d\\n", first, again);
    say("trimmed");
    printf("mallopt=%d info=%d\\n", mallopt(M_ARENA_MAX, 1), malloc_info(1, stdout));
    printf("zero=%d\\n", malloc_info(0, stdout));
    fflush(stdout);
    malloc_stats();
    return 0;
  }`;

let program: string;
beforeAll(() => {
  if (notGlibc === false) program = tools.cc('about', SOURCE, ['-fno-builtin', '-ldl']);
});

async function asked(backend: (typeof SWITCHING)[number]) {
  const { stdout, stderr } = await succeed(program, [], { env: { LD_PRELOAD: shim(backend), ...KEEP } });
  const line = (when: string) => {
    const pairs = new RegExp(`^${when} (.*)$`, 'm').exec(stdout)?.[1] ?? assert.fail(stdout);
    return Object.fromEntries(
      pairs.split(' ').map((pair) => [pair.split('=')[0], Number(pair.split('=')[1])]),
    );
  };
  const [start, occupied, vacated, trimmed] = ['start', 'occupied', 'vacated', 'trimmed'].map(line);
  return { stdout, stderr, start, occupied, vacated, trimmed } as Record<
    'start' | 'occupied' | 'vacated' | 'trimmed',
    Record<string, number>
  > & { stdout: string; stderr: string };
}

describe('functions about malloc', { skip: notGlibc }, () => {
  for (const backend of SWITCHING) {
    test(`mallinfo2 and its kind on ${backend}`, async () => {
      const { stdout, stderr, start, occupied, vacated, trimmed } = await asked(backend);
      for (const told of [start, occupied, vacated, trimmed]) {
        assert.equal(told['arena'], (told['uordblks'] ?? 0) + (told['fordblks'] ?? 0));
        assert.ok((told['keepcost'] ?? Infinity) <= (told['fordblks'] ?? 0));
        assert.ok(Math.abs((told['old'] ?? 0) - (told['uordblks'] ?? 0)) < MiB);
      }
      assert.ok((occupied['uordblks'] ?? 0) >= 125 * MiB, stdout);
      assert.match(stdout, /^mallopt=0 info=22$/m, 'nothing was set, and other options are EINVAL');
      assert.match(
        stdout,
        new RegExp(`^<malloc version="1">\n<backend name="${backend}" version="[\\d.]+"/>\n`, 'm'),
      );
      assert.match(stdout, /<system type="current" size="\d+"\/>\n[^]*<\/malloc>\nzero=0\n$/);
      assert.match(stderr, new RegExp(`^${backend} [\\d.]+, bytes:\n(\\w+ += +\\d+\n)+$`));
      if (backend !== 'jemalloc') return;
      // What is free shows where live blocks are counted.
      assert.ok((vacated['uordblks'] ?? Infinity) < 16 * MiB, stdout);
      assert.ok(
        (vacated['keepcost'] ?? 0) > 100 * MiB && (trimmed['keepcost'] ?? Infinity) < 16 * MiB,
        stdout,
      );
    });

    test(`malloc_trim on ${backend}`, async () => {
      const { stdout, vacated, trimmed } = await asked(backend);
      const gave = (vacated['rss'] ?? 0) - (trimmed['rss'] ?? 0);
      // snmalloc gives memory back by itself, and has no function to make it.
      if (backend === 'snmalloc') assert.match(stdout, /^trim=0$/m);
      else {
        assert.match(stdout, /^trim=1$/m);
        assert.ok(gave > 100 * MiB, `${gave} bytes`);
      }
      assert.match(stdout, /^again=0$/m, 'there was nothing left');
    });

    test(`ctypes' malloc_trim(0) on ${backend}`, { skip: noPython }, async () => {
      const code = `import ctypes, resource
libc = ctypes.CDLL("libc.so.6")
all = ctypes.CDLL(None)
def rss(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
blocks = [bytes(200000) + bytes([n % 256]) for n in range(600)]
full = rss()
del blocks
print(all.malloc_trim(0), full - rss())`;
      const options = { env: { LD_PRELOAD: shim(backend), ...KEEP } };
      const { code: status, stdout } = await run(python?.file ?? '', ['-c', code], options);
      assert.equal(status, 0);
      const [result, bytes] = stdout.split(' ').map(Number);
      assert.equal(result, backend === 'snmalloc' ? 0 : 1);
      if (backend !== 'snmalloc') assert.ok((bytes ?? 0) > 64 * MiB, stdout);
    });
  }
});
