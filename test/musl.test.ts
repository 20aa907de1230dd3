// musl as the C library of a program, also beside a service on glibc. The compiler for it is musl-gcc, or on musl itself the
// machine's own.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { activeBackend, memory } from '../index.js';
import { linuxBinding } from '../src/native/loader.js';
import * as tools from './fixtures-ts/tools.js';
import { kill, run, start } from './support/run.js';
import { cannotPreload, emulated, isGlibc } from './support/shims.js';
import { afterAll, describe, test } from './support/suite.js';

const MiB = 2 ** 20;
const compiler = isGlibc ? 'musl-gcc' : (process.env['CC'] ?? 'cc');
const missing =
  cannotPreload || emulated || (tools.which(compiler) === undefined && `${compiler} is not installed`);

/** Starts a program of musl's from a source that lets it wait for its input, when it has said a word. */
async function waiting(name: string, source: string, flags: string[] = []) {
  const from = tools.file(`${name}.c`, source, 0o644);
  const program = tools.scratch(name);
  execFileSync(compiler, ['-O1', '-w', '-pthread', from, '-o', program, ...flags]);
  const child = start(program, []);
  children.push(child);
  child.stdin?.write('x');
  await once(child.stdout ?? assert.fail(), 'data');
  return { program, pid: child.pid ?? assert.fail() };
}

const children: ReturnType<typeof start>[] = [];
afterAll(() => children.forEach(kill));

/** A thread with 2 of 4 MiB of stack in use, and blocks of 60 MiB that lie around it. */
const THREAD = `#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int ready[2];
static void *deep(void *unused) {
  char used[2 << 20];
  memset(used, 1, sizeof used);
  write(ready[1], used, 1);
  pause();
  return (void *)(size_t)used[sizeof used - 1];
}
static void blocks(void) {
  for (int n = 0; n < 100; n++) memset(malloc(300000), 1, 300000);
}
int main(void) {
  pthread_attr_t attributes;
  pthread_t thread;
  char c;
  pipe(ready);
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 4 << 20);
  blocks();
  pthread_create(&thread, &attributes, deep, 0);
  blocks();
  read(ready[0], &c, 1);
  while (read(0, &c, 1) > 0) write(1, &c, 1);
  return 0;
}`;

describe("a program of musl's", { skip: missing }, () => {
  test("is known to run on musl's malloc", async () => {
    const { pid } = await waiting('echo', tools.ECHO);
    const { kind, allocator, backend, owner } = activeBackend(pid);
    assert.deepEqual([kind, allocator, backend], ['libc', 'musl', 'default']);
    assert.match(owner, /\/(libc\.so|ld-musl-\w+\.so\.1)$/);
    const { stdout } = await run(tools.native, ['doctor', '--pid', `${pid}`]);
    assert.match(stdout, /^malloc in process \d+: musl/m);
    if (isGlibc) assert.match(stdout, /its C library is musl, and the libraries here are for glibc/);
  });

  test("has its threads' stacks told from the memory above them", async () => {
    const { pid } = await waiting('thread', THREAD);
    const { parts } = await memory(pid);
    const stacks = parts.stacks / MiB;
    assert.ok(stacks >= 2 && stacks < 3, `${stacks} MiB of stacks`);
    assert.ok(parts.other / MiB > 55, `${parts.other / MiB} MiB of blocks in other memory`);
  });

  for (const flag of ['-static', '-static-pie'])
    test(`is refused with ${flag}`, async (t) => {
      const { program, pid } = await waiting(`whole${flag.length}`, tools.ECHO, [flag]);
      // musl-gcc 1.2.3 takes no notice of -static-pie.
      if (linuxBinding().inspectProgram(program).interpreter !== undefined)
        return t.skip(`${compiler} ${flag} makes a program with a loader`);
      const { code, stderr } = await run(tools.native, ['run', 'jemalloc', '--', program]);
      assert.equal(code, 126);
      assert.match(stderr, /statically linked/);
      // A static-pie program may have a table of its symbols, which shows the malloc in it.
      const { kind, allocator, owner } = activeBackend(pid);
      assert.match(`${kind} ${allocator}`, /^(static unknown|libc musl)$/);
      assert.equal(owner, program);
    });
});

describe('a service on musl', { skip: isGlibc && 'the C library is glibc' }, () => {
  test('starts children of glibc, which run as without', async (t) => {
    const loader = `/lib64/ld-linux-${process.arch === 'x64' ? 'x86-64' : 'aarch64'}.so.2`;
    const shell = ['/usr/bin/dash', '/bin/sh'].find(
      (file) => existsSync(file) && linuxBinding().inspectProgram(file).interpreter === loader,
    );
    if (shell === undefined) return t.skip('there is no program of glibc');
    const code = `const { stdout, stderr, status } = require('child_process').spawnSync(
      ${JSON.stringify(shell)}, ['-c', 'echo hello'], { encoding: 'utf8' });
      console.log(JSON.stringify({ stdout, stderr, status }))`;
    for (const children of ['inherit', 'none']) {
      const args = ['run', 'jemalloc', '--children', children, '--', process.execPath, '-e', code];
      const outcome = await run(tools.native, args);
      const { stdout, stderr, status } = JSON.parse(outcome.stdout) as Record<string, unknown>;
      assert.deepEqual([stdout, status], ['hello\n', 0]);
      const line = /^ERROR: ld\.so: object '\S+' from LD_PRELOAD cannot be preloaded \(.*\): ignored\.\n$/;
      if (children === 'none') assert.equal(stderr, '');
      else assert.match(String(stderr), line);
    }
  });
});
