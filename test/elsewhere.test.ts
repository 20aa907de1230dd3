// macOS and Windows, where no process can be switched: what works there, and what is refused with its reason.

import assert from 'node:assert/strict';
import { spawn as start } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  Allocator,
  activeBackend,
  backends,
  environment,
  fork,
  memory,
  preferredBackend,
  spawn,
  spawnPython,
} from '../index.js';
import { BACKENDS, codeOf } from './support/allocators.js';
import { root } from './support/shims.js';
import { afterAll, describe, test } from './support/suite.js';

const { platform } = process;
const skip = platform === 'linux' && 'for macOS and Windows';
const refused = new RegExp(`works on Linux only for now, not on ${platform}`);

describe('on macOS and Windows', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'malloc-backend-elsewhere-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('each backend but jemalloc on Windows serves buffers, and none serves a process', () => {
    const expected = ['default', 'jemalloc', 'mimalloc', 'snmalloc', 'rust'];
    assert.deepEqual(
      BACKENDS,
      expected.filter((name) => name !== 'jemalloc' || platform !== 'win32'),
    );
    for (const { backend, surfaces } of backends()) {
      assert.equal(surfaces.process.available, false, backend);
      assert.match(surfaces.process.reason ?? '', refused, backend);
      assert.equal(surfaces.python.available, false, backend);
      assert.match(surfaces.python.reason ?? '', /on Linux only for now/, backend);
    }
    assert.equal(Allocator.create(preferredBackend()).allocate(100).length, 100);
  });

  for (const backend of BACKENDS) {
    test(`${backend}: threads that end leave their blocks to others, and their own memory`, async () => {
      const allocator = Allocator.create(backend);
      const index = JSON.stringify(new URL('../index.js', import.meta.url).href);
      const code = `
        import { Allocator } from ${index};
        const allocator = Allocator.create('${backend}');
        const held = [];
        for (let i = 0; i < 2000; i++) {
          const before = held[(i * 7) % 97];
          if (before) allocator.free(before);
          const size = 16 + ((i * 131) % 40000);
          const block = (held[(i * 7) % 97] = allocator.allocate(size));
          block.fill(i & 255);
          if (block[size - 1] !== (i & 255)) throw new Error('the block does not hold what was written');
        }
        for (const block of held) if (block) allocator.free(block);`;
      const url = new URL(`data:text/javascript,${encodeURIComponent(code)}`);
      for (let round = 0; round < 4; round++) {
        const workers = [1, 2, 3].map(() => new Worker(url));
        const ends = await Promise.all(workers.map((worker) => once(worker, 'exit')));
        assert.deepEqual(ends, [[0], [0], [0]]);
      }
      const block = allocator.allocate(1 << 20);
      block.fill(7);
      allocator.free(block);
      assert.equal(allocator.bytesAllocated, 0);
    });
  }

  test('what stands on a switch is refused by name', async () => {
    await assert.rejects(memory(), { code: 'ERR_BACKEND_UNAVAILABLE' });
    for (const attempt of [
      () => spawn(process.execPath, ['-v'], { backend: 'mimalloc' }),
      () => fork('no-such-file.js', { backend: 'mimalloc' }),
      () => spawnPython(['-c', '1'], { allocatorBackend: 'mimalloc' }),
      () => environment('mimalloc'),
      () => activeBackend(),
    ])
      assert.equal(codeOf(attempt), 'ERR_BACKEND_UNAVAILABLE');
  });

  /** By files: not every system hands on what is written to a pipe (wine). */
  async function command(...args: string[]) {
    const names = ['stdout', 'stderr'].map((name) => join(folder, name));
    const [stdout = 0, stderr = 0] = names.map((name) => openSync(name, 'w'));
    const cli = join(root, 'dist', 'cli', 'main.cjs');
    const child = start(process.execPath, [cli, ...args], { stdio: ['ignore', stdout, stderr] });
    const [code] = (await once(child, 'exit')) as [number | null];
    for (const descriptor of [stdout, stderr]) closeSync(descriptor);
    const [out = '', error = ''] = names.map((name) => readFileSync(name, 'utf8'));
    return { code, stdout: out, stderr: error };
  }

  test('run says why not, and goes on with --if-supported', async () => {
    const program = ['--', process.execPath, '-e', "console.log('ran'); process.exitCode = 7"];
    const no = await command('run', 'mimalloc', ...program);
    assert.deepEqual([no.code, no.stdout], [126, '']);
    assert.match(no.stderr, refused);
    const yes = await command('run', 'mimalloc', '--if-supported', ...program);
    assert.deepEqual([yes.code, yes.stdout], [7, 'ran\n']);
    assert.match(yes.stderr, refused);
    assert.match(yes.stderr, /the program runs without a switch \(--if-supported\)/);
  });

  test('doctor and --version', async () => {
    assert.match((await command('--version')).stdout, /^\d+\.\d+\.\d+\n$/);
    const { code, stdout } = await command('doctor', '--json');
    const { obstacles } = JSON.parse(stdout) as { obstacles: { code: string }[] };
    assert.deepEqual([code, obstacles.map((each) => each.code)], [1, ['PLATFORM']]);
  });
});
