// diagnose() and what doctor concludes: glibc's free memory found from outside, and the verdict, on programs whose memory
// is of a known kind.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, ftruncateSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Diagnosis, type VerdictCode, diagnose } from '../index.js';
import * as tools from './fixtures-ts/tools.js';
import { compiled } from './support/native.js';
import { kill, run, start } from './support/run.js';
import { cannotPreload, notGlibc, shim } from './support/shims.js';
import { afterEach, describe, test } from './support/suite.js';

const MiB = 2 ** 20;

/** What glibc's mallinfo2 counts: free memory, of that in fastbins, used memory, and large blocks. */
interface Counted {
  free: number;
  fastbins: number;
  used: number;
  mapped: number;
}

const huge = (() => {
  try {
    return readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'utf8').includes('[never]');
  } catch {
    return true;
  }
})();

describe('diagnose()', { skip: cannotPreload || notGlibc }, () => {
  const children: ReturnType<typeof start>[] = [];
  afterEach(() => children.splice(0).forEach(kill));

  /** A program that says a line when its memory is as it is to be, and then waits. */
  async function says(program: string, args: string[], env: Record<string, string> = {}) {
    const child = start(program, args, { env });
    children.push(child);
    const lines = createInterface({ input: child.stdout ?? assert.fail() });
    const [line] = (await once(lines, 'line')) as [string];
    return { pid: child.pid ?? assert.fail(), counted: JSON.parse(line) as Counted };
  }

  /** test/c/heaps.c, of so many MiB. */
  const heaps = async (kind: string, mebibytes = 256, env: Record<string, string> = {}, ...rest: string[]) =>
    says(await compiled('heaps'), [kind, `${mebibytes}`, ...rest], env);

  /** A Node that does something, shows what mallinfo2 counts, and waits. */
  const node = async (lines: string, env: Record<string, string> = {}) =>
    says(
      process.execPath,
      [
        '--expose-gc',
        '--input-type=module',
        '-e',
        `import * as m from ${JSON.stringify(tools.index)};
        ${lines}
        const { stats } = await m.memory();
        console.log(JSON.stringify({ free: stats.mapped - stats.allocated, fastbins: 0 }));
        process.stdin.on('end', () => globalThis.kept).resume();`,
      ],
      env,
    );

  /** Buffers that were there for a moment; one in a hundred stays. */
  const SPIKE = `let all = Array.from({ length: 6000 }, (_, index) => Buffer.alloc(16384 + index % 90 * 1024, 1));
    globalThis.kept = all.filter((_, index) => index % 100 === 99);
    all = undefined;
    while (process.memoryUsage().arrayBuffers > 40e6) { gc(); await new Promise(setImmediate); }`;

  describe('finds the free memory that mallinfo2 counts', () => {
    const programs = {
      'small blocks freed': () => heaps('small'),
      'large blocks freed': () => heaps('large'),
      'live blocks': () => heaps('live'),
      'threads with arenas of their own': () => heaps('threads'),
      'Node after a spike of Buffers': () => node(SPIKE),
    };
    for (const [name, program] of Object.entries(programs))
      test(name, async () => {
        const { pid, counted } = await program();
        const { heap } = await diagnose(pid);
        assert.ok(heap !== undefined);
        const expected = counted.free - counted.fastbins;
        // Of live blocks next to nothing is free, and less than a MiB changes nothing.
        const slack = Math.max(0.1 * expected, MiB);
        assert.ok(
          Math.abs(heap.free - expected) <= slack,
          `${heap.free} from outside, ${expected} from inside`,
        );
        if (name !== 'live blocks') assert.ok(heap.freeResident > 100 * MiB, `${heap.freeResident}`);
        assert.ok(heap.freePages <= heap.freeResident && heap.freeResident <= heap.free);
        assert.ok(heap.read > 0.99, `${heap.read}`);
      });
  });

  /** The case, what it is, and what its sentence must say. */
  const verdicts: [string, VerdictCode, RegExp, () => Promise<{ pid: number }>, (string | false)?][] = [
    [
      'a leak in V8',
      'v8-heap',
      /^It is not the allocator: [\d,]+ of [\d,]+ MiB are V8's heap, and glibc keeps \d+ MiB free\. Find what grows/,
      () =>
        node(
          'globalThis.kept = Array.from({ length: 2e6 }, (_, index) => ({ index, list: [index, `${index}`] }));',
        ),
    ],
    [
      'a leak of Buffers',
      'native-live',
      /^It is not the allocator: 3\d\d of [\d,]+ MiB are live blocks .* In Node, Buffers and native modules/,
      () => node('globalThis.kept = Array.from({ length: 300 }, () => Buffer.alloc(2 ** 20, 1));'),
    ],
    [
      'free memory that glibc keeps',
      'allocator-retention',
      /^It is the allocator: 26\d of 2\d\d MiB are free memory that glibc keeps\.$/,
      () => heaps('small'),
    ],
    ['Node after a spike', 'allocator-retention', /^It is the allocator: /, () => node(SPIKE)],
    [
      'free memory between live blocks',
      'allocator-fragmentation',
      /free memory that glibc keeps; 19\d of 19\d MiB of it lie between live blocks, so the allocator cannot release them\.$/,
      () => heaps('holes'),
    ],
    ['the same in arenas', 'allocator-fragmentation', /^It is the allocator: /, () => heaps('threads')],
    [
      'mapped files',
      'mapped-files',
      /^It is not the allocator: 25\d of 25\d MiB are mapped files and shared memory/,
      () => {
        const file = tools.scratch('mapped');
        const fd = openSync(file, 'w');
        ftruncateSync(fd, 256 * MiB);
        closeSync(fd);
        return heaps('file', 256, {}, file);
      },
    ],
    [
      'stacks',
      'stacks',
      /^It is not the allocator: 25\d of 25\d MiB are the stacks of threads/,
      () => heaps('stacks'),
    ],
    [
      'jemalloc with a long decay',
      'allocator-options',
      /belong to jemalloc, .* The option dirty_decay_ms=600000 makes it keep freed memory for 600 s\.$/,
      () => heaps('small', 256, { LD_PRELOAD: shim('jemalloc'), MALLOC_CONF: 'dirty_decay_ms:600000' }),
    ],
    [
      'huge pages that hold nothing',
      'thp',
      /^It is transparent huge pages: 2[45]\d of 25\d MiB/,
      () => heaps('thp'),
      huge && 'there are no transparent huge pages',
    ],
    [
      'live blocks',
      'native-live',
      /^It is not the allocator: 26\d of 26\d MiB are live blocks/,
      () => heaps('live'),
    ],
    ['large live blocks', 'native-live', /are live blocks/, () => heaps('mapped')],
    [
      'an allocator that does not show',
      'unknown',
      /^The reason is unknown: [\d,]+ of [\d,]+ MiB belong to mimalloc, .* from outside\. Call diagnose\(\)/,
      () => heaps('live', 256, { LD_PRELOAD: shim('mimalloc') }),
    ],
    [
      'memory that a program has mapped itself',
      'unknown',
      /^The reason is unknown: 25\d of 25\d MiB are private memory of an unknown kind/,
      () => heaps('anonymous'),
    ],
    ['a small process', 'small', /^The process is small: it has \d+ MiB/, () => heaps('live', 8)],
  ];

  describe('concludes', () => {
    for (const [name, code, sentence, program, skip = false] of verdicts)
      test(name, { skip }, async (t) => {
        const { pid } = await program();
        const { verdict, parts, rss, allocator, hugePages } = await diagnose(pid);
        if (code === 'thp' && hugePages.bytes < 200 * MiB) return t.skip('the system has no huge pages left');
        assert.equal(verdict.code, code, verdict.sentence);
        assert.match(verdict.sentence, sentence);
        const sum = Object.values({ ...parts }).reduce((all, part) => all + part, 0);
        assert.ok(Math.abs(sum - rss) < 0.05 * rss, `${sum} of ${rss}`);
        if (code === 'allocator-retention' || code === 'allocator-fragmentation') {
          assert.match(verdict.try ?? '', /^malloc-backend run jemalloc -- \S+ …$/);
          assert.ok((verdict.savesAtMost ?? 0) > 0.25 * rss);
        }
        // The command concludes the same.
        const { stdout } = await run(tools.native, ['doctor', '--json', '--pid', `${pid}`]);
        const { process: found, malloc } = JSON.parse(stdout) as {
          process: { diagnosis: Diagnosis };
          malloc: { allocator: string };
        };
        assert.equal(found.diagnosis.verdict.code, code);
        assert.equal(malloc.allocator, allocator);
        const keys = (value: object) => Object.keys(value).sort();
        const same = await diagnose(pid);
        assert.deepEqual(keys(found.diagnosis), keys(same));
        for (const part of ['verdict', 'parts', 'hugePages', 'heap'] as const)
          assert.deepEqual(keys(found.diagnosis[part] ?? {}), keys(same[part] ?? {}));
      });
  });

  test('a process that allocates on four threads is diagnosed again and again, and goes on', async () => {
    const { pid } = await heaps('churn');
    for (let turn = 0; turn < 50; turn++) {
      const { heap } = await diagnose(pid);
      assert.ok(heap !== undefined && heap.freeResident <= heap.free);
    }
    const [child] = children;
    child?.stdin?.end();
    const [code] = (await once(child ?? assert.fail(), 'exit')) as [number];
    assert.equal(code, 0);
  });

  test('this process, by what its allocator and its V8 tell', async () => {
    const code = `const show = async () => {
      const { verdict, parts, allocator } = await m.diagnose();
      console.log(JSON.stringify([allocator, verdict.code, verdict.sentence, parts.arrayBuffers]));
    };`;
    const inside = async (lines: string, env: Record<string, string> = {}) => {
      const { pid, counted } = await says(
        process.execPath,
        [
          '--expose-gc',
          '--input-type=module',
          '-e',
          `import * as m from ${JSON.stringify(tools.index)}; ${code} ${lines}; await show(); process.stdin.resume();`,
        ],
        env,
      );
      assert.ok(pid > 0);
      return counted as unknown as [allocator: string, code: string, sentence: string, buffers: number];
    };
    const leak = 'globalThis.kept = Array.from({ length: 300 }, () => Buffer.alloc(2 ** 20, 1))';
    const buffers = await inside(leak);
    assert.deepEqual(buffers.slice(0, 2), ['glibc', 'array-buffers'], buffers[2]);
    assert.ok(buffers[3] >= 300 * MiB);
    const spike = await inside(SPIKE);
    assert.deepEqual(spike.slice(0, 2), ['glibc', 'allocator-retention'], spike[2]);
    const decay = { LD_PRELOAD: shim('jemalloc'), MALLOC_CONF: 'dirty_decay_ms:-1,muzzy_decay_ms:-1' };
    const kept = await inside(SPIKE, decay);
    assert.deepEqual(kept.slice(0, 2), ['jemalloc', 'allocator-retention'], kept[2]);
    assert.match(kept[2], /The option dirty_decay_ms=-1 makes it keep freed memory forever\.$/);
  });

  test('a preload that the loader ignored, the options in force and the cgroup', async () => {
    const missing = '/nowhere/libmalloc.so';
    const { pid } = await heaps('live', 8, { LD_PRELOAD: missing, MALLOC_ARENA_MAX: '2' });
    const { notes, options, cgroup, hugePages } = await diagnose(pid);
    const ignored = notes.find((note) => note.code === 'preload-ignored');
    assert.equal(
      ignored?.message,
      `LD_PRELOAD names ${missing}, but the process did not load it: the file does not exist.`,
    );
    assert.deepEqual(options, { MALLOC_ARENA_MAX: '2' });
    assert.equal(hugePages.bytes, 0);
    if (cgroup !== undefined) assert.ok(cgroup.used > 0 && cgroup.limit >= cgroup.used / 2);
    const { stdout } = await run(tools.native, ['doctor', '--pid', `${pid}`]);
    assert.match(stdout, /^The process is small: it has \d+ MiB of physical memory\.$/m);
    assert.match(
      stdout,
      /^note {7}LD_PRELOAD names \/nowhere\/libmalloc\.so, but the process did not load it/m,
    );
    const loaded = await heaps('live', 8, { LD_PRELOAD: shim('default') });
    const codes = (await diagnose(loaded.pid)).notes.map(({ code }) => code);
    assert.ok(!codes.includes('preload-ignored'), `${codes}`);
  });

  test('the command says the verdict, what to try and what that saves', async () => {
    const { pid } = await heaps('small');
    const { stdout } = await run(tools.native, ['doctor', '--pid', `${pid}`]);
    const [, , , sentence, command, saves] = stdout.split('\n');
    assert.match(
      sentence ?? '',
      /^It is the allocator: 26\d of 2\d\d MiB are free memory that glibc keeps\.$/,
    );
    assert.equal(command, 'try        malloc-backend run jemalloc -- heaps …');
    assert.match(saves ?? '', /^saves      at most 26\d MiB$/);
    const checked = await run(tools.native, ['doctor', '--json', '--expect', 'default', '--pid', `${pid}`]);
    const { process: found } = JSON.parse(checked.stdout) as { process: { diagnosis?: Diagnosis } };
    assert.equal(found.diagnosis, undefined, 'with --expect only the backend is checked');
  });

  test('a process that is not there', async () => {
    await assert.rejects(diagnose(0x7fff_fffe), { code: 'ERR_PROCESS_NOT_FOUND' });
    await assert.rejects(diagnose(0), { code: 'ERR_INVALID_ARGUMENT' });
  });
});
