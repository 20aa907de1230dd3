// memory(): that its parts are all of RSS, and that what a program does shows in the part that it belongs to.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { type MemoryParts, memory } from '../index.js';
import type { Probe, Probes } from './fixtures-ts/memory.js';
import * as tools from './fixtures-ts/tools.js';
import { kill, start, succeed } from './support/run.js';
import { SWITCHING, cannotPreload, emulated, isGlibc, notGlibc, root, shim } from './support/shims.js';
import { afterAll, describe, test } from './support/suite.js';

const MiB = 2 ** 20;

const fixture = join(root, 'dist', 'test', 'fixtures-ts', 'memory.js');

const sum = (parts: MemoryParts) => Object.values({ ...parts }).reduce((a, b) => a + b, 0);

function addsUp({ parts, rss, seen = [rss, rss] }: Pick<Probe, 'parts' | 'rss'> & Partial<Probe>): void {
  assert.ok(Math.abs(sum(parts) - rss) < 0.05 * rss, `${sum(parts)} of ${rss}`);
  // What Node saw before and after that: a collection in between, or an allocator's purge, makes a difference. V8 may have
  // grown and shrunk between the two.
  const [least, most] = [Math.min(...seen), Math.max(...seen) + 8 * MiB];
  assert.ok(sum(parts) > 0.95 * least && sum(parts) < 1.05 * most, `${sum(parts)} of ${least} to ${most}`);
  for (const [part, bytes] of Object.entries({ ...parts })) assert.ok(bytes >= 0, `${part} is ${bytes}`);
}

const malloc = ({ mallocLive = 0, mallocCached = 0, malloc = 0 }: MemoryParts) =>
  mallocLive + mallocCached + malloc;

/** Each allocator, what preloads it, and whether it counts its live blocks; undefined for one that is not known. */
const subjects: [name: string, env: Record<string, string>, counts: boolean | undefined][] = [
  ['the C library', {}, isGlibc ? true : undefined],
];
for (const backend of SWITCHING)
  subjects.push([backend, { LD_PRELOAD: shim(backend) }, backend === 'jemalloc']);
if (isGlibc)
  for (const [name, library, debianPackage] of tools.foreignAllocators) {
    const file = tools.systemLibrary(library);
    if (file === undefined)
      test(`a foreign ${name}`, { skip: `${debianPackage} is not installed` }, () => {});
    else
      subjects.push([`a foreign ${name}`, { LD_PRELOAD: file }, { jemalloc: true, mimalloc: false }[name]]);
  }

const unseen = emulated && 'the emulator says 0 bytes of each mapping';

describe('memory()', { skip: cannotPreload }, () => {
  for (const [name, env, counts] of subjects)
    test(`${name}: the parts add up, and each is what it says`, { skip: unseen }, async () => {
      const { stdout } = await succeed(process.execPath, [fixture], { env });
      const probes = JSON.parse(stdout) as Probes;
      for (const probe of Object.values(probes)) addsUp(probe);
      const { start, buffers, untouched, objects, worker } = probes;
      const grew = (from: Probe, to: Probe, part: (parts: MemoryParts) => number | undefined) =>
        ((part(to.parts) ?? 0) - (part(from.parts) ?? 0)) / MiB;

      const present = ['mallocLive', 'mallocCached', 'malloc'].filter((part) => part in start.parts);
      const expected = { true: ['mallocLive', 'mallocCached'], false: ['malloc'], undefined: [] };
      assert.deepEqual(present, expected[`${counts}`]);
      assert.ok(start.parts.mappedFiles > 10 * MiB, "Node's own program");

      // 6,000 × (9,000 + 3,000) + 32 MiB, and in them no other part: an allocator rounds 12 KB up by a fifth at the most.
      const own = grew(start, buffers, (parts) => parts.arrayBuffers);
      assert.ok(own > 100 && own < 102, `${own} MiB in buffers`);
      if (counts !== undefined) {
        assert.ok(grew(start, buffers, malloc) < 30, `${grew(start, buffers, malloc)} MiB more`);
        const twice = grew(start, buffers, (parts) => parts.other);
        assert.ok(Math.abs(twice) < 8, `other grew by ${twice} MiB with buffers`);
      }

      // What was never written to is not there; the other allocators write zeros to it.
      if (counts === true) {
        const phantom = grew(buffers, untouched, (parts) => parts.arrayBuffers);
        assert.ok(phantom < 40, `${phantom} MiB in an untouched buffer`);
      }

      const heap = grew(untouched, objects, (parts) => parts.v8Heap);
      assert.ok(heap > 20, `V8's heap grew by ${heap} MiB with objects`);
      const another = grew(objects, worker, (parts) => parts.v8Heap);
      assert.ok(another > 20, `V8's heap grew by ${another} MiB with a worker`);
      const stacks = grew(objects, worker, (parts) => parts.stacks);
      assert.ok(stacks > 1, `the stacks grew by ${stacks} MiB with a worker's recursion`);
    });

  const children: ReturnType<typeof start>[] = [];
  afterAll(() => children.forEach(kill));

  test('of another process: what its mappings say', { skip: emulated }, async () => {
    for (const backend of ['default', ...SWITCHING] as const) {
      const child = start(process.execPath, [tools.cli, 'run', backend, '--', 'cat']);
      children.push(child);
      child.stdin?.write('x');
      await once(child.stdout ?? assert.fail(), 'data');
      const found = await memory(child.pid);
      assert.deepEqual([found.pid, found.active.backend], [child.pid, backend]);
      addsUp(found);
      const expected = ['code', ...(backend !== 'default' || isGlibc ? ['malloc'] : [])];
      assert.deepEqual(
        Object.keys(found.parts).sort(),
        [...expected, 'mappedFiles', 'stacks', 'other'].sort(),
        backend,
      );
      assert.equal('allocator' in found, false);
      kill(child);
    }
  });

  test('of another Node: its heap shows', { skip: notGlibc || emulated }, async () => {
    const code = "globalThis.keep = Array.from({ length: 1e6 }, (_, n) => ({ n })); console.log('ready')";
    const child = start(process.execPath, ['-e', `${code}; setInterval(() => {}, 1e6)`]);
    children.push(child);
    await once(child.stdout ?? assert.fail(), 'data');
    const found = await memory(child.pid);
    addsUp(found);
    assert.ok((found.parts.v8Heap ?? 0) > 20 * MiB, `${found.parts.v8Heap}`);
    kill(child);
  });

  test('refuses what is no process', async () => {
    const cases = [
      [0, 'ERR_INVALID_ARGUMENT'],
      [NaN, 'ERR_INVALID_ARGUMENT'],
      [0x7fff_fffe, 'ERR_PROCESS_NOT_FOUND'],
    ] as const;
    for (const [pid, code] of cases) await assert.rejects(memory(pid), { name: 'MallocBackendError', code });
  });
});
