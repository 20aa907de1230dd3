// Allocator: what it hands out, what it refuses, and its books.

import assert from 'node:assert/strict';
import { constants } from 'node:buffer';
import { join } from 'node:path';
import { Allocator, type AllocatorEvent, backends, preferredBackend } from '../index.js';
import { index } from './fixtures-ts/tools.js';
import { BACKENDS, codeOf, collectUntil, isFilledWith } from './support/allocators.js';
import { compiled } from './support/native.js';
import { succeed } from './support/run.js';
import { cannotPreload, isGlibc, notGlibc, root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const MIB = 2 ** 20;

test('backends() says which can allocate', () => {
  for (const { backend, available, surfaces } of backends()) {
    assert.equal(surfaces.allocator.available, available, backend);
    assert.equal(
      codeOf(() => Allocator.create(backend)),
      available ? 'no error' : 'ERR_BACKEND_UNAVAILABLE',
    );
  }
  assert.equal(Allocator.create().backend, preferredBackend());
});

for (const backend of BACKENDS) {
  describe(backend, () => {
    test('a buffer is a Buffer, and empty once it is freed', () => {
      const allocator = Allocator.create(backend);
      const buffer = allocator.allocate(1000, { zero: true });
      assert.ok(Buffer.isBuffer(buffer) && buffer instanceof Uint8Array);
      assert.equal(buffer.constructor, Buffer);
      assert.ok(isFilledWith(buffer, 0));
      buffer.write('hello');
      const view = buffer.subarray(1, 4);
      const words = new Uint32Array(buffer.buffer, 0, 2);
      assert.equal(view.toString(), 'ell');
      assert.equal(Object.getPrototypeOf(view), Buffer.prototype);
      assert.ok(allocator.owns(buffer) && !allocator.owns(view));
      allocator.free(buffer);
      assert.deepEqual([buffer.length, view.length, words.length, buffer[0]], [0, 0, 0, undefined]);
      assert.ok(!allocator.owns(buffer));
    });

    test('the books are exact', () => {
      const allocator = Allocator.create(backend);
      const books = () => [
        allocator.bytesAllocated,
        allocator.buffers,
        allocator.maxMemory,
        allocator.allocations,
        allocator.totalBytesAllocated,
      ];
      assert.deepEqual(books(), [0, 0, 0, 0, 0]);
      const a = allocator.allocate(100);
      const b = allocator.allocate(0);
      assert.deepEqual(books(), [100, 2, 100, 2, 100]);
      const c = allocator.reallocate(a, 300);
      assert.deepEqual(books(), [300, 2, 300, 3, 300]);
      const d = allocator.reallocate(c, 10);
      assert.deepEqual(books(), [10, 2, 300, 4, 300]);
      allocator.free(d);
      allocator.free(b);
      assert.deepEqual(books(), [0, 0, 300, 4, 300]);
    });

    test('a limit refuses, and all else goes on', () => {
      const allocator = Allocator.create(backend, { name: 'images', limit: MIB });
      const buffer = allocator.allocate(MIB - 1);
      assert.throws(() => allocator.allocate(2), {
        code: 'ERR_LIMIT_EXCEEDED',
        message: /limit of allocator "images": the limit is 1048576 bytes, and 1048575 bytes are live/,
      });
      assert.equal(
        codeOf(() => allocator.reallocate(buffer, MIB + 1)),
        'ERR_LIMIT_EXCEEDED',
      );
      assert.equal(buffer.length, MIB - 1);
      assert.equal(allocator.allocate(1).length, 1);
      assert.equal(
        codeOf(() => allocator.allocate(1)),
        'ERR_LIMIT_EXCEEDED',
      );
      assert.equal(allocator.allocate(0).length, 0);
      allocator.free(buffer);
      assert.equal(allocator.allocate(MIB - 1).length, MIB - 1);
      assert.deepEqual([allocator.maxMemory, allocator.allocations], [MIB, 4]);
    });

    test('limits nest', () => {
      const service = Allocator.create(backend, { name: 'service', limit: 1000 });
      const one = service.child({ name: 'one', limit: 800 });
      const two = service.child({ name: 'two' });
      const request = one.child({ limit: 500 });
      const a = request.allocate(500);
      assert.throws(() => request.allocate(1), {
        code: 'ERR_LIMIT_EXCEEDED',
        message: /the limit is 500 bytes/,
      });
      assert.throws(() => one.allocate(301), {
        code: 'ERR_LIMIT_EXCEEDED',
        message: /limit of allocator "one": the limit is 800/,
      });
      assert.throws(() => two.allocate(501), {
        code: 'ERR_LIMIT_EXCEEDED',
        message: /limit of allocator "service": the limit is 1000/,
      });
      const b = two.allocate(500);
      assert.deepEqual(
        [service, one, two, request].map((each) => [each.bytesAllocated, each.buffers]),
        [
          [1000, 2],
          [500, 1],
          [500, 1],
          [500, 1],
        ],
      );
      assert.equal(
        codeOf(() => one.allocate(1)),
        'ERR_LIMIT_EXCEEDED',
      );
      assert.equal(
        codeOf(() => service.free(b)),
        'ERR_NOT_ALLOCATED',
      );
      two.free(b);
      request.free(a);
      assert.deepEqual([service.bytesAllocated, service.maxMemory], [0, 1000]);
      one.dispose();
      assert.equal(
        codeOf(() => request.allocate(1)),
        'ERR_DISPOSED',
      );
      assert.equal(two.allocate(1).length, 1);
    });

    test('using frees a buffer and ends an allocator', () => {
      let kept: Buffer;
      let ended: Allocator;
      {
        using allocator = Allocator.create(backend);
        using buffer = allocator.allocate(100);
        using freed = allocator.allocate(50);
        allocator.free(freed);
        const left = allocator.allocate(10);
        assert.equal(allocator.bytesAllocated, 110);
        kept = buffer;
        ended = allocator;
        left.fill(1);
        allocator.free(left);
      }
      assert.deepEqual([kept.length, ended.bytesAllocated], [0, 0]);
      assert.equal(
        codeOf(() => ended.allocate(1)),
        'ERR_DISPOSED',
      );
      assert.equal(
        codeOf(() => ended.child()),
        'ERR_DISPOSED',
      );
      ended.dispose();
    });

    test('what is live when the allocator is disposed stays so until it is freed', async () => {
      const allocator = Allocator.create(backend);
      const buffer = allocator.allocate(100).fill(7);
      allocator.allocate(200);
      allocator.dispose();
      assert.equal(
        codeOf(() => allocator.reallocate(buffer, 1)),
        'ERR_DISPOSED',
      );
      await collectUntil(() => allocator.buffers === 1);
      assert.equal(allocator.bytesAllocated, 100);
      assert.ok(isFilledWith(buffer, 7));
      allocator.free(buffer);
      assert.equal(allocator.bytesAllocated, 0);
    });

    test('what cannot be had is refused, and the process goes on', () => {
      const allocator = Allocator.create(backend);
      // The last is longer than any Buffer on Node 20, and more than the address space on newer ones.
      for (const bytes of [2 ** 53 - 1, 2 ** 47, Math.min(constants.MAX_LENGTH + 1, 2 ** 48)]) {
        assert.equal(
          codeOf(() => allocator.allocate(bytes)),
          'ERR_OUT_OF_MEMORY',
          `${bytes}`,
        );
      }
      const buffer = allocator.allocate(3).fill(5);
      assert.equal(
        codeOf(() => allocator.reallocate(buffer, 2 ** 50)),
        'ERR_OUT_OF_MEMORY',
      );
      assert.ok(isFilledWith(buffer, 5));
      assert.deepEqual([allocator.bytesAllocated, allocator.allocations], [3, 1]);
      allocator.free(buffer);
    });

    test('what is not its own to free is refused', () => {
      const allocator = Allocator.create(backend);
      const other = Allocator.create(backend, { name: 'other' });
      const refused = (value: Uint8Array, why: RegExp): void => {
        for (const use of [() => allocator.free(value), () => allocator.reallocate(value, 1)]) {
          assert.throws(use, { name: 'MallocBackendError', code: 'ERR_NOT_ALLOCATED', message: why });
        }
      };
      const twice = allocator.allocate(10);
      allocator.free(twice);
      refused(twice, /it was freed before/);
      const empty = allocator.allocate(0);
      allocator.free(empty);
      allocator.allocate(0); // in the same slot, perhaps
      refused(empty, /it was freed before/);
      const moved = allocator.allocate(10);
      const resized = allocator.reallocate(moved, 20);
      refused(moved, /it was freed before/);
      const theirs = other.allocate(10);
      refused(theirs, /belongs to another allocator \("other"\)/);
      refused(Buffer.alloc(10), /plain Buffer/);
      refused(resized.subarray(0), /view or copy/);
      refused(Buffer.from(resized.buffer), /view or copy/);
      refused(new Uint8Array(resized.buffer), /view or copy/);
      refused(structuredClone(resized), /view or copy/);
      assert.equal(
        codeOf(() => allocator.free(Object.create(resized) as Buffer)),
        'ERR_INVALID_ARGUMENT',
      );
      const claimed = allocator.allocate(1);
      void allocator.free(claimed, { after: Promise.resolve() });
      refused(claimed, /stays until the last hold ends/);
      // Whoever hides the real buffer behind another does not fool it.
      Object.defineProperty(resized, 'buffer', { value: theirs.buffer });
      allocator.free(resized);
      assert.ok(!allocator.owns(resized) && other.owns(theirs));
      assert.deepEqual([resized.length, theirs.length], [0, 10]);
      other.free(theirs);
      assert.equal(other.bytesAllocated, 0);
    });

    test('every alignment', () => {
      const allocator = Allocator.create(backend);
      for (let alignment = 1; alignment <= 2 ** 30; alignment *= 2) {
        using buffer = allocator.allocate(100, { alignment, zero: true });
        assert.ok(isFilledWith(buffer, 0));
      }
      assert.equal(allocator.bytesAllocated, 0);
    });

    test('statistics are numbers where the backend has them', () => {
      const allocator = Allocator.create(backend);
      using buffer = allocator.allocate(8 * MIB);
      buffer.fill(1);
      const { quarantined, damaged, ...stats } = allocator.stats();
      assert.deepEqual([quarantined, damaged], [0, 0]);
      for (const [key, bytes] of Object.entries(stats)) assert.ok(Number.isSafeInteger(bytes), key);
      if (stats.allocated !== undefined) assert.ok(stats.allocated >= 8 * MIB, `${stats.allocated}`);
      if (backend === 'jemalloc') assert.equal(Object.keys(stats).length, 6);
    });

    test('release() gives back what was freed, or says that it cannot', () => {
      const allocator = Allocator.create(backend);
      // Small blocks, which every backend keeps.
      const buffers = Array.from({ length: 16_000 }, () => allocator.allocate(4000).fill(1));
      for (const buffer of buffers) allocator.free(buffer);
      // Of the C libraries only glibc has a way.
      const isLibc = backend === 'default' || backend === 'rust';
      if (backend === 'snmalloc' || (isLibc && !isGlibc)) {
        assert.equal(
          codeOf(() => allocator.release()),
          'ERR_CANNOT_RELEASE',
        );
        return;
      }
      const before = process.memoryUsage.rss();
      const released = allocator.release();
      const lost = before - process.memoryUsage.rss();
      assert.ok(released >= 0);
      assert.ok(Math.abs(released - Math.max(0, lost)) < 4 * MIB, `${released} of ${lost}`);
    });
  });
}

describe('bad arguments', () => {
  const allocator = Allocator.create('default');
  const invalid = (use: () => unknown, what: string): void =>
    assert.equal(codeOf(use), 'ERR_INVALID_ARGUMENT', what);
  const hostile = [
    NaN,
    -1,
    0.5,
    -0.5,
    2 ** 53,
    Infinity,
    -Infinity,
    '1',
    1n,
    null,
    {},
    [1],
    true,
    Symbol('1'),
  ];

  test('sizes', () => {
    const buffer = allocator.allocate(1);
    for (const value of [...hostile, undefined] as number[]) {
      invalid(() => allocator.allocate(value), String(value));
      invalid(() => allocator.reallocate(buffer, value), String(value));
    }
    for (const value of hostile.filter((each) => each !== Infinity) as number[]) {
      invalid(() => Allocator.create('default', { limit: value }), String(value));
      invalid(() => Allocator.create('default', { quarantine: value }), String(value));
      invalid(() => allocator.child({ limit: value }), String(value));
    }
    assert.equal(allocator.allocate(-0).length, 0);
    allocator.free(buffer);
  });

  test('alignments', () => {
    for (const value of [...hostile, 0, 3, 24, 4095, 2 ** 31, 2 ** 32] as number[]) {
      if (value === (true as unknown)) continue;
      invalid(() => allocator.allocate(1, { alignment: value }), String(value));
    }
  });

  test('options that there are not', () => {
    const buffer = allocator.allocate(1);
    const refused = (use: () => unknown, name: string, known: string): void =>
      assert.throws(use, {
        code: 'ERR_INVALID_ARGUMENT',
        message: new RegExp(`unknown option "${name}"\\..* The options are: ${known}$`),
      });
    const settings = 'name, limit, trace, quarantine, log';
    refused(() => Allocator.create('default', { limt: 3 } as object), 'limt', settings);
    refused(() => allocator.child({ backend: 'jemalloc' } as object), 'backend', settings);
    refused(() => allocator.allocate(1, { zeroed: true } as object), 'zeroed', 'zero, alignment, copy');
    refused(() => allocator.reallocate(buffer, 2, { alignment: 64 } as object), 'alignment', 'zero');
    const after = { after: Promise.resolve(), afterwards: 1 };
    refused(() => allocator.free(buffer, after), 'afterwards', 'after');
    assert.ok(allocator.owns(buffer));
    allocator.free(buffer);
    // Whoever keeps options in a class of their own, or in one object for all.
    const inherited = Object.create({ zero: true, more: 1 }) as object;
    assert.equal(allocator.allocate(1, inherited)[0], 0);
  });

  test('a constructor that is private', () => {
    const Constructor = Allocator as unknown as new (...args: unknown[]) => Allocator;
    for (const args of [[], ['jemalloc'], ['jemalloc', {}], [{}, {}], [Symbol('make'), 'jemalloc', {}]]) {
      assert.throws(() => new Constructor(...args), {
        name: 'MallocBackendError',
        code: 'ERR_INVALID_ARGUMENT',
        message: /is not possible; use Allocator\.create/,
      });
    }
  });

  test('the rest', () => {
    for (const value of [1, null, 'yes', {}] as boolean[]) {
      invalid(() => allocator.allocate(1, { zero: value }), 'zero');
      invalid(() => Allocator.create('default', { trace: value }), 'trace');
    }
    for (const value of [true, 'x', null] as unknown[] as 'allow'[])
      invalid(() => allocator.allocate(1, { copy: value }), 'copy');
    for (const value of [1, null, 'x', true] as unknown[] as object[]) {
      invalid(() => allocator.allocate(1, value), 'options');
      invalid(() => Allocator.create('default', value), 'settings');
      invalid(() => allocator.child(value), 'settings');
    }
    for (const value of [1, null, true, {}] as unknown[] as string[]) {
      invalid(() => Allocator.create('default', { name: value }), 'name');
      invalid(() => Allocator.create('default', { log: value as unknown as () => void }), 'log');
    }
    for (const value of [undefined, null, 1, 'x', {}, new ArrayBuffer(8)] as Buffer[]) {
      invalid(() => allocator.free(value), 'buffer');
      invalid(() => allocator.reallocate(value, 1), 'buffer');
      assert.equal(allocator.owns(value), false);
    }
    const buffer = allocator.allocate(1);
    for (const after of [undefined, 1, {}] as PromiseLike<void>[]) {
      invalid(() => allocator.free(buffer, { after }), 'after');
    }
    allocator.free(buffer);
    for (const value of ['none', 1, null] as unknown[] as 'default'[]) {
      assert.equal(
        codeOf(() => Allocator.create(value)),
        'ERR_UNKNOWN_BACKEND',
      );
      assert.equal(
        codeOf(() => Allocator.everywhere(value)),
        'ERR_UNKNOWN_BACKEND',
      );
    }
  });
});

describe('what it tells', () => {
  test('leaks() has each live buffer, and with trace where it came from', () => {
    const traced = Allocator.create('default', { trace: true });
    function allocateTheLeak(): void {
      kept.push(traced.allocate(123));
    }
    const kept: Buffer[] = [];
    allocateTheLeak();
    traced.free(traced.allocate(5));
    const [leak, ...others] = traced.leaks();
    assert.deepEqual([leak?.bytes, others], [123, []]);
    assert.match(leak?.stack ?? '', /^ {4}at allocateTheLeak .*allocator\.test/);
    assert.doesNotMatch(leak?.stack ?? '', /Allocator\.allocate/);
    kept.push(traced.reallocate(kept.pop()!, 456));
    assert.equal(traced.leaks()[0]?.bytes, 456);
    traced.free(kept[0]!);
    assert.deepEqual(traced.leaks(), []);
    const plain = Allocator.create('default');
    using buffer = plain.allocate(7);
    assert.deepEqual(plain.leaks(), [{ bytes: buffer.length }]);
  });

  test('the log has everything that happened', async () => {
    const events: AllocatorEvent[] = [];
    const allocator = Allocator.create('default', { limit: 1000, log: (event) => events.push(event) });
    const buffer = allocator.reallocate(allocator.allocate(10), 20);
    allocator.free(buffer);
    allocator.allocate(77);
    assert.equal(
      codeOf(() => allocator.allocate(2000)),
      'ERR_LIMIT_EXCEEDED',
    );
    await collectUntil(() => events.some(({ type }) => type === 'collect'));
    assert.deepEqual(events, [
      { type: 'allocate', bytes: 10 },
      { type: 'reallocate', bytes: 20, before: 10 },
      { type: 'free', bytes: 20 },
      { type: 'allocate', bytes: 77 },
      { type: 'limit', bytes: 2000, limit: 1000 },
      { type: 'collect', bytes: 77 },
    ]);
  });

  test('V8 is told of the memory once', () => {
    const allocator = Allocator.create('default');
    const external = () => process.memoryUsage().external;
    const bytes = 256 * MIB;
    const before = external();
    const buffer = allocator.allocate(bytes);
    const during = external() - before;
    assert.ok(Math.abs(during - bytes) < 16 * MIB, `${during} for ${bytes}`);
    allocator.free(buffer);
    const after = external() - before;
    assert.ok(Math.abs(after) < 16 * MIB, `${after} is left`);
  });
});

const noV8 =
  process.platform === 'linux' ? false : 'Node-API lets go of an ArrayBuffer in the next turn only';

test('a loop that never awaits keeps nothing of what it freed', { skip: noV8 }, async () => {
  // 64 bytes for each would be 12 MiB.
  const code = `import { Allocator } from ${JSON.stringify(index)};
    const loop = (allocator, times) => {
      for (let n = 0; n < times; n++) allocator.free(allocator.allocate(65536).fill(n, 0, 1));
    };
    for (const backend of ${JSON.stringify(BACKENDS)}) {
      const allocator = Allocator.create(backend);
      loop(allocator, 20_000);
      const before = process.memoryUsage.rss();
      loop(allocator, 200_000);
      console.log(backend, (process.memoryUsage.rss() - before) >> 20);
    }`;
  const { stdout } = await succeed(process.execPath, ['--input-type=module', '-e', code]);
  const grown = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  assert.deepEqual(
    grown.map(([backend]) => backend),
    BACKENDS,
  );
  for (const [backend, mib] of grown) assert.ok(Number(mib) < 12, `${backend} grew by ${mib} MiB`);
});

// The library that refuses them finds glibc's own dlsym by its version.
describe('a runtime that refuses buffers over foreign memory', { skip: cannotPreload || notGlibc }, () => {
  test('is told apart, and gets its own memory only where that was allowed', async () => {
    const refuse = await compiled('refuse-external.so');
    const script = join(root, 'dist', 'test', 'fixtures-ts', 'refused.js');
    const { stdout, stderr } = await succeed(process.execPath, [script], { env: { LD_PRELOAD: refuse } });
    assert.deepEqual([stdout, stderr], ['done\n', '']);
  });
});
