// Starting and stopping a heap profile, its errors, and `malloc-backend/profile`.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MallocBackendError, heapProfile } from '../index.js';
import { captures } from '../src/profile/heap-profile.js';
import { linuxBinding } from '../src/native/loader.js';
import { compiled } from './support/native.js';
import { SUPPORTED, nodeOf } from './support/nodes.js';
import { decode, sum, under } from './support/pprof.js';
import { TERMINATES, run, succeed } from './support/run.js';
import { root } from './support/shims.js';
import { afterAll, describe, test } from './support/suite.js';

const skip =
  process.platform === 'linux' && process.arch === 'x64' ? false : 'heap profiles are for Linux on x64 only';
const folder = mkdtempSync(join(tmpdir(), 'malloc-backend-profile-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Grows {
  /** Grows a block step by step, and leaks it. The result is the number of bytes that were lost on the way. */
  grow(bytes: number): number;
  /** Makes work and deletes it. */
  unqueued(times: number): void;
}

const refuses = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof MallocBackendError && error.code === code && message.test(error.message);

describe('heapProfile', { skip }, () => {
  test('refuses wrong options', () => {
    const start = heapProfile.start as (options: unknown) => void;
    const cases: [unknown, RegExp][] = [
      [null, /options must be an object/],
      [{ intervall: 1 }, /unknown option "intervall". Did you mean interval/],
      [{ interval: 63 }, /interval must be an integer from 64 to 1073741824, not 63/],
      [{ interval: '512' }, /interval must be an integer/],
      [{ interval: NaN }, /interval must be an integer/],
      [{ maxSamples: 999 }, /maxSamples must be an integer from 1000 to 1000000, not 999/],
    ];
    for (const [options, message] of cases)
      assert.throws(() => start(options), refuses('ERR_INVALID_ARGUMENT', message));
    assert.deepEqual(heapProfile.state(), { running: false });
  });

  test('starts once and stops once, and leaves no slot changed', async () => {
    const { heapProfileSlots } = linuxBinding();
    const none = /no heap profile is running; start one first/;
    await assert.rejects(heapProfile.stop(), refuses('ERR_NO_PROFILE', none));
    await assert.rejects(heapProfile.snapshot(), refuses('ERR_NO_PROFILE', none));
    assert.equal(heapProfileSlots(), 0);
    heapProfile.start();
    assert.ok(heapProfileSlots() > 10, `${heapProfileSlots()} slots`);
    assert.throws(
      () => heapProfile.start(),
      refuses('ERR_PROFILE_RUNNING', /running already; stop it first/),
    );
    const state = heapProfile.state();
    assert.ok(state.running && state.interval === 512 * 1024 && !('whyNoJavascript' in state));
    assert.deepEqual([state.dropped, state.droppedStacks], [0, 0]);
    assert.equal(decode(await heapProfile.snapshot()).interval, 512 * 1024);
    assert.equal(heapProfile.state().running, true);
    const stopped = heapProfile.stop();
    assert.equal(heapProfileSlots(), 0);
    assert.equal(decode(await stopped).shown, 'inuse_space');
    assert.deepEqual(heapProfile.state(), { running: false });
  });

  test('counts what is allocated and what is in use, and begins anew', async () => {
    const allocate = (): Buffer[] => Array.from({ length: 400 }, () => Buffer.allocUnsafeSlow(100_000));
    heapProfile.start({ interval: 65_536 });
    const first = allocate();
    const snapshot = decode(await heapProfile.snapshot());
    const near = (bytes: number) => Math.abs(bytes / (400 * 100_000) - 1) < 0.15;
    assert.ok(near(sum(under(snapshot, 'allocate'))), `${sum(under(snapshot, 'allocate'))}`);
    assert.equal(first.length, 400);
    await heapProfile.stop();
    heapProfile.start({ interval: 65_536 });
    assert.equal(sum(under(decode(await heapProfile.stop()), 'allocate'), 'allocSpace'), 0);
  });

  test('says how many stacks found no room, and how long the samples took', async () => {
    heapProfile.start({ interval: 64 });
    // Each has a stack of its own.
    const deep = (left: number, path: number): unknown =>
      left === 0 ? new ArrayBuffer(4096) : path & 1 ? deep(left - 1, path >> 1) : other(left - 1, path >> 1);
    const other = (left: number, path: number): unknown =>
      left === 0 ? new ArrayBuffer(4096) : path & 1 ? deep(left - 1, path >> 1) : other(left - 1, path >> 1);
    for (let path = 0; path < 2 ** 14; path++) deep(14, path);
    const state = heapProfile.state();
    const profile = decode(await heapProfile.stop());
    assert.ok(state.running && state.droppedStacks > 1000, JSON.stringify(state));
    assert.ok(state.seconds > 0 && state.seconds < 60, JSON.stringify(state));
    assert.match(profile.comments.join(), /samples found no room for their stack/);
    assert.ok(profile.samples.some(({ frames }) => frames[0]!.name === '[frames not kept]'));
  });

  test('gives what changed in a time, and notices that the program began anew', async () => {
    const allocate = (): Buffer[] => Array.from({ length: 400 }, () => Buffer.allocUnsafeSlow(100_000));
    const { signal } = new AbortController();
    heapProfile.start({ interval: 65_536 });
    const before = allocate();
    const asked = captures.capture({
      seconds: 0.1,
      signal,
      tell: () => void kept.push(...allocate()),
    });
    const kept = [...before];
    const change = decode(await asked);
    const bytes = sum(under(change, 'allocate'));
    assert.ok(Math.abs(bytes / (400 * 100_000) - 1) < 0.15, `${bytes}`);
    assert.equal(kept.length, 800);
    const again = captures.capture({
      seconds: 0.1,
      signal,
      tell: () => {
        void heapProfile.stop();
        heapProfile.start({ interval: 65_536 });
      },
    });
    await assert.rejects(again, refuses('ERR_PROFILE_SOCKET', /the program stopped the profile/));
    await heapProfile.stop();
  });

  test('counts blocks that grow, and forgets work that is never queued', async () => {
    const { grow, unqueued } = createRequire(import.meta.url)(await compiled('leaks.node')) as Grows;
    heapProfile.start({ interval: 65_536 });
    function growHere(): void {
      for (let index = 0; index < 100; index++) assert.equal(grow(600_000), 0);
    }
    growHere();
    // V8 has its heap as large as it needs for that.
    for (let index = 0; index < 10_000; index++) unqueued(50);
    const { rss } = process.memoryUsage();
    for (let index = 0; index < 10_000; index++) unqueued(50);
    const more = process.memoryUsage().rss - rss;
    const bytes = sum(under(decode(await heapProfile.stop()), 'growHere'));
    assert.ok(Math.abs(bytes / (100 * 600_000) - 1) < 0.02, `${bytes}`);
    assert.ok(more < 8 * 2 ** 20, `${more} bytes`);
  });

  test('has no bias', async () => {
    const count = 500;
    const size = 20_000;
    const interval = 65_536;
    function allocate20(): Buffer[] {
      return Array.from({ length: count }, () => Buffer.allocUnsafeSlow(size));
    }
    const ratios: number[] = [];
    for (let round = 0; round < 20; round++) {
      heapProfile.start({ interval });
      const kept = allocate20();
      const profile = decode(await heapProfile.stop());
      const buffers = under(profile, 'allocate20').filter(({ frames }) =>
        /ArrayBufferAllocator/.test(frames[0]!.name),
      );
      ratios.push(sum(buffers) / (count * size));
      assert.equal(kept.length, count);
    }
    const p = 1 - Math.exp(-size / interval);
    const deviation = Math.sqrt((1 - p) / (count * p) / ratios.length);
    const mean = ratios.reduce((all, ratio) => all + ratio, 0) / ratios.length;
    assert.ok(Math.abs(mean - 1) < 4 * deviation, `${mean} ± ${deviation}`);
  });
});

describe('malloc-backend/profile', { skip }, () => {
  const entry = join(root, 'dist', 'src', 'profile', 'register.js');
  const program = join(folder, 'program.cjs');
  writeFileSync(
    program,
    `const kept = [];
     function leakInProgram() { for (let i = 0; i < 300; i++) kept.push(Buffer.alloc(100000, 1)); }
     leakInProgram();
     if (process.argv[2] === 'signal') {
       process.kill(process.pid, 'SIGUSR2');
       const { existsSync } = require('fs');
       const timer = setInterval(() => {
         if (!existsSync(process.env.MALLOC_BACKEND_PROFILE_FILE)) return;
         clearInterval(timer);
         process.on('exit', () => process.reallyExit(7));
       }, 10);
     }`,
  );

  test('writes a profile when the process ends', async () => {
    const { stdout, stderr } = await succeed(process.execPath, ['--import', entry, program], { cwd: folder });
    assert.deepEqual([stdout, stderr], ['', '']);
    const file = readdirSync(folder).find((name) => /^heap-\d+\.pb\.gz$/.test(name));
    const profile = decode(readFileSync(join(folder, file!)));
    assert.equal(profile.interval, 512 * 1024);
    const bytes = sum(under(profile, 'leakInProgram'));
    // 30 MB in blocks of 100 kB: the standard deviation is 12 %.
    assert.ok(bytes > 12e6 && bytes < 50e6, `${bytes}`);
  });

  test('writes a profile at a signal', async () => {
    const file = join(folder, 'signal.pb.gz');
    const env = {
      MALLOC_BACKEND_PROFILE_FILE: file,
      MALLOC_BACKEND_PROFILE_INTERVAL: '65536',
      MALLOC_BACKEND_PROFILE_SIGNAL: 'SIGUSR2',
    };
    await run(process.execPath, ['--require', entry, program, 'signal'], { env });
    const profile = decode(readFileSync(file));
    assert.equal(profile.interval, 65_536);
    const bytes = sum(under(profile, 'leakInProgram'));
    assert.ok(bytes > 25e6 && bytes < 35e6, `${bytes}`);
  });

  test('leaves nothing behind if the file cannot be written', async () => {
    const file = join(folder, 'a-folder');
    mkdirSync(file);
    const env = { MALLOC_BACKEND_PROFILE_FILE: file };
    const { code, stderr } = await run(process.execPath, ['--import', entry, program], { env });
    assert.equal(code, 0);
    assert.match(stderr, /^malloc-backend: cannot write the heap profile: /);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.endsWith('.new')),
      [],
    );
  });

  test('refuses wrong variables', async () => {
    for (const [name, value, message] of [
      ['INTERVAL', 'x', 'must be a number of bytes, not "x"'],
      ['INTERVAL', '1', 'interval must be an integer from 64'],
      ['INTERVAL', '', 'MALLOC_BACKEND_PROFILE_INTERVAL must not be empty; leave it out'],
      ['FILE', '', 'MALLOC_BACKEND_PROFILE_FILE must not be empty; leave it out'],
      ['SIGNAL', '', 'MALLOC_BACKEND_PROFILE_SIGNAL must not be empty; leave it out'],
      ['SIGNAL', 'SIGFOO', 'must be the name of a signal that a process can handle, not "SIGFOO"'],
      ['SIGNAL', 'SIGKILL', 'must be the name of a signal that a process can handle, not "SIGKILL"'],
    ] as const) {
      const env = { [`MALLOC_BACKEND_PROFILE_${name}`]: value };
      const { code, stderr } = await run(process.execPath, ['--import', entry, program], {
        env,
        cwd: folder,
      });
      assert.equal(code, 1);
      assert.ok(stderr.includes(message), stderr);
    }
  });
});

// With PROFILE_STRESS_SECONDS=3600 PROFILE_STRESS_RESTARTS=10000, this takes an hour for each Node.
describe('with a sample at nearly every allocation', { skip }, () => {
  const program = join(root, 'test', 'fixtures', 'profiled.mjs');
  const { PROFILE_STRESS_SECONDS = '4', PROFILE_STRESS_RESTARTS = '0' } = process.env;
  for (const major of SUPPORTED) {
    const title = `workers, forks, libraries, signals, snapshots and restarts on Node ${major}`;
    test(title, async (context) => {
      const found = await nodeOf(major);
      if ('missing' in found) return context.skip(found.missing);
      const args = [
        '--expose-gc',
        TERMINATES,
        program,
        join(root, 'dist'),
        await compiled('leaks.node'),
        await compiled('plugin.so'),
        String(Number(PROFILE_STRESS_SECONDS) * 1000),
        PROFILE_STRESS_RESTARTS,
      ];
      // (Node and V8 write on standard error about a worker that is ended while it starts.)
      const { stdout } = await succeed(found.node, args);
      const counts = JSON.parse(stdout) as Record<string, number>;
      assert.ok(
        Object.values(counts).every((count) => count > 0),
        stdout,
      );
      assert.ok(counts['restarts']! >= Number(PROFILE_STRESS_RESTARTS), stdout);
    });
  }
});
