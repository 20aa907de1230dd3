// Region: a heap in one ArrayBuffer.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { createRequire } from 'node:module';
import { Allocator, type MemoryAllocatorBackend, type Region, type RegionView } from '../index.js';
import { BACKENDS, Random, codeOf, collectUntil, isFilledWith, seed } from './support/allocators.js';
import { compiled } from './support/native.js';
import { succeed } from './support/run.js';
import { beforeAll, describe, test } from './support/suite.js';
import { root } from './support/shims.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const CAPABLE = BACKENDS.filter((each) => process.platform !== 'win32' && /jemalloc/.test(each));

let address: (buffer: Buffer) => number;
beforeAll(async () => {
  ({ address } = createRequire(import.meta.url)(await compiled('address.node')) as {
    address: typeof address;
  });
});

const make = (
  backend: MemoryAllocatorBackend,
  options: { bytes?: number; debug?: boolean; limit?: number } = {},
) => {
  const { bytes = 64 * MIB, debug = false, ...settings } = options;
  const allocator = Allocator.create(backend, settings);
  return { allocator, region: allocator.region({ bytes, debug }) };
};

test('backends that cannot say so', () => {
  for (const backend of BACKENDS.filter((each) => !CAPABLE.includes(each))) {
    assert.throws(() => make(backend), { code: 'ERR_BACKEND_UNAVAILABLE', message: new RegExp(backend) });
  }
});

/** Physical memory of this process in bytes. */
const rss = () => process.memoryUsage.rss();

for (const backend of CAPABLE) {
  describe(backend, () => {
    test('a view is a Buffer on the one ArrayBuffer', () => {
      const { region } = make(backend);
      const view = region.allocate(1000, { zero: true });
      assert.ok(Buffer.isBuffer(view) && view.constructor === Buffer);
      assert.equal(view.length, 1000);
      assert.ok(isFilledWith(view, 0));
      const other = region.allocate(2000);
      assert.equal(view.buffer, other.buffer);
      assert.equal(view.buffer.byteLength, region.bytes);
      assert.ok(region.bytes >= 64 * MIB);
      view.fill(1);
      other.fill(2);
      assert.ok(isFilledWith(view, 1) && isFilledWith(other, 2));
      assert.deepEqual([region.bytesAllocated, region.views], [3000, 2]);
      assert.ok(region.owns(view) && !region.owns(view.subarray(0)));
      region.free(view);
      assert.deepEqual([region.bytesAllocated, region.views, region.owns(view)], [2000, 1, false]);
      region.dispose();
      assert.deepEqual([view.length, other.length, region.bytesAllocated], [0, 0, 0]);
    });

    test('it is full when it is full, and goes on', () => {
      const { region } = make(backend);
      const views: RegionView[] = [];
      assert.throws(
        () => {
          for (;;) views.push(region.allocate(MIB).fill(views.length));
        },
        { code: 'ERR_OUT_OF_MEMORY', message: /no room for 1048576 more bytes: \d+ bytes are live/ },
      );
      assert.ok(views.length > 32, `${views.length} MiB of 64`);
      for (const [index, view] of views.entries()) assert.ok(isFilledWith(view, index & 255));
      for (const view of views) region.free(view);
      for (let round = 0; round < views.length; round++) views[round] = region.allocate(MIB);
      assert.equal(
        codeOf(() => region.allocate(2 ** 40)),
        'ERR_OUT_OF_MEMORY',
      );
      assert.equal(
        codeOf(() => region.allocate(Number.MAX_SAFE_INTEGER)),
        'ERR_OUT_OF_MEMORY',
      );
      assert.equal(region.bytesAllocated, views.length * MIB);
      region.dispose();
    });

    test('its memory is used only where it is written to, and given back', async () => {
      const { region } = make(backend, { bytes: 2048 * MIB });
      const before = rss();
      const view = region.allocate(256 * MIB);
      assert.ok(rss() - before < 64 * MIB, 'nothing is written yet');
      view.fill(1);
      assert.ok(rss() - before > 192 * MIB);
      region.dispose();
      assert.ok(rss() - before < 64 * MIB, 'given back by dispose()');
    });

    test('reset() frees everything at once', () => {
      const { allocator, region } = make(backend);
      for (let round = 0; round < 20; round++) {
        const views = Array.from({ length: 300 }, (_, index) => region.allocate(index * 100).fill(round));
        assert.ok(views.every((view) => isFilledWith(view, round)));
        assert.equal(allocator.bytesAllocated, region.bytesAllocated);
        region.reset();
        assert.deepEqual([region.bytesAllocated, region.views, allocator.bytesAllocated], [0, 0, 0]);
        assert.ok(views.every((view) => !region.owns(view)));
        assert.throws(() => region.free(views[0]!), { code: 'ERR_NOT_ALLOCATED', message: /freed by reset/ });
      }
      region.dispose();
      assert.equal(
        codeOf(() => region.reset()),
        'ERR_DISPOSED',
      );
    });

    test('its bytes count in the allocator, and against its limits', () => {
      const { allocator, region } = make(backend, { limit: 1000 });
      const view = region.allocate(600);
      assert.deepEqual([allocator.bytesAllocated, allocator.maxMemory, allocator.buffers], [600, 600, 0]);
      assert.throws(() => region.allocate(401), {
        code: 'ERR_LIMIT_EXCEEDED',
        message: /limit is 1000 bytes, and 600 bytes/,
      });
      assert.equal(
        codeOf(() => allocator.allocate(401)),
        'ERR_LIMIT_EXCEEDED',
      );
      const buffer = allocator.allocate(400);
      region.free(view);
      allocator.free(buffer);
      region.allocate(1000);
      region.dispose();
      assert.deepEqual([allocator.bytesAllocated, allocator.maxMemory], [0, 1000]);
    });

    test('what is no live view of its own is refused', () => {
      const { allocator, region } = make(backend);
      const { region: other } = make(backend);
      const refused = (value: Uint8Array, why: RegExp): void =>
        assert.throws(() => region.free(value), { code: 'ERR_NOT_ALLOCATED', message: why });
      const view = region.allocate(100);
      const twice = region.allocate(100);
      region.free(twice);
      refused(twice, /freed before/);
      region.allocate(100); // in its place, perhaps
      refused(twice, /freed before/);
      refused(other.allocate(100), /another region/);
      refused(view.subarray(0), /view or copy/);
      refused(new Uint8Array(view.buffer, view.byteOffset, 100), /view or copy/);
      refused(Buffer.alloc(100), /plain Buffer/);
      refused(allocator.allocate(100), /plain Buffer/);
      for (const value of [undefined, null, 1, {}, new ArrayBuffer(1), Object.create(view)] as Buffer[]) {
        assert.equal(
          codeOf(() => region.free(value)),
          'ERR_INVALID_ARGUMENT',
        );
        assert.equal(region.owns(value), false);
      }
      // Who says something else of a view than it is does not get another block freed.
      for (const [key, value] of [
        ['byteOffset', 0],
        ['length', 0],
        ['byteLength', 7],
      ] as const) {
        Object.defineProperty(view, key, { value });
      }
      region.free(view);
      assert.deepEqual([region.bytesAllocated, region.views], [100, 1]);
      region.dispose();
      other.dispose();
    });

    test('bad arguments', () => {
      const { allocator, region } = make(backend);
      for (const value of [NaN, -1, 0.5, 2 ** 53, '1', 1n, null, undefined] as number[]) {
        assert.equal(
          codeOf(() => region.allocate(value)),
          'ERR_INVALID_ARGUMENT',
          String(value),
        );
        assert.equal(
          codeOf(() => allocator.region({ bytes: value })),
          'ERR_INVALID_ARGUMENT',
          String(value),
        );
      }
      for (const alignment of [0, 3, -16, 2 ** 31, NaN, '16'] as number[]) {
        assert.equal(
          codeOf(() => region.allocate(1, { alignment })),
          'ERR_INVALID_ARGUMENT',
          String(alignment),
        );
      }
      for (const value of [undefined, null, 64] as unknown[] as { bytes: number }[]) {
        assert.throws(() => allocator.region(value), {
          code: 'ERR_INVALID_ARGUMENT',
          message: `options must be an object, not ${String(value)}`,
        });
      }
      const misspelt = { bytes: MIB, debugging: true };
      assert.throws(() => allocator.region(misspelt), {
        message: /unknown option "debugging".*: bytes, debug$/,
      });
      const zeroed = { zeroed: true } as object;
      assert.throws(() => region.allocate(1, zeroed), {
        message: /unknown option "zeroed".*: zero, alignment$/,
      });
      assert.equal(
        codeOf(() => allocator.region({ bytes: 2 ** 48 })),
        'ERR_OUT_OF_MEMORY',
      );
      assert.equal(
        // The region may lie across one such address, but not across two.
        codeOf(() => [1, 2].map(() => region.allocate(1, { alignment: 2 ** 30 }))),
        'ERR_OUT_OF_MEMORY',
      );
      region.dispose();
      region.dispose();
      assert.equal(
        codeOf(() => region.allocate(1)),
        'ERR_DISPOSED',
      );
      assert.equal(
        codeOf(() => region.free(Buffer.alloc(1))),
        'ERR_DISPOSED',
      );
      allocator.dispose();
      assert.equal(
        codeOf(() => allocator.region({ bytes: 1 })),
        'ERR_DISPOSED',
      );
    });

    test('using', () => {
      let kept: Region;
      const allocator = Allocator.create(backend);
      {
        using region = allocator.region({ bytes: MIB });
        {
          using view = region.allocate(10);
          using freed = region.allocate(10);
          region.free(freed);
          assert.equal(view.length, 10);
        }
        assert.equal(region.views, 0);
        using left = region.allocate(10);
        region.reset();
        assert.ok(!region.owns(left));
        kept = region;
      }
      assert.equal(
        codeOf(() => kept.allocate(1)),
        'ERR_DISPOSED',
      );
    });

    test('200 regions, one after the other and forgotten', async () => {
      const allocator = Allocator.create(backend);
      for (let round = 0; round < 100; round++) {
        using region = allocator.region({ bytes: 33 * MIB });
        assert.ok(isFilledWith(region.allocate(MIB, { zero: true }), 0));
      }
      for (let round = 0; round < 10; round++) {
        for (let n = 0; n < 10; n++) allocator.region({ bytes: MIB }).allocate(100_000).fill(1);
        await collectUntil(() => allocator.bytesAllocated === 0);
        assert.equal(allocator.bytesAllocated, 0, 'a region that nobody has any more is given back');
      }
    });

    test('a view keeps its region', async () => {
      const allocator = Allocator.create(backend);
      const view = allocator.region({ bytes: MIB }).allocate(1000).fill(9);
      const whole = Buffer.from(allocator.region({ bytes: MIB }).allocate(1000).fill(8).buffer);
      await collectUntil(() => false, 5);
      assert.ok(isFilledWith(view, 9));
      assert.ok(whole.includes(Buffer.alloc(1000, 8)), 'even its ArrayBuffer alone');
    });

    test('random operations', () => {
      const random = new Random(seed());
      const { region } = make(backend, { bytes: 256 * MIB });
      let live: { view: RegionView; byte: number }[] = [];
      let bytes = 0;
      for (let operation = 0; operation < 100_000; operation++) {
        const why = `MALLOC_BACKEND_SEED=${random.seed}, operation ${operation}`;
        const crowd = 50 + (operation % 10_000) / 20;
        const what = random.below(100) + (live.length > crowd ? 20 : -20);
        if (live.length === 0 || what < 50) {
          const kind = random.below(1000);
          const size = random.below(kind < 50 ? 1 : kind < 900 ? 3000 : kind < 995 ? 100_000 : 4 * MIB);
          const alignment = 2 ** random.below(13);
          const zero = random.below(4) === 0;
          const view = region.allocate(size, { zero, alignment });
          if (zero) assert.ok(isFilledWith(view, 0), why);
          assert.equal(view.length, size);
          if (size > 0) assert.equal(address(view) % Math.max(alignment, 16), 0, why);
          const byte = random.below(256);
          view.fill(byte);
          live.push({ view, byte });
          bytes += size;
        } else {
          const index = random.below(live.length);
          const chosen = live[index]!;
          const last = live.pop()!;
          if (index < live.length) live[index] = last;
          assert.ok(isFilledWith(chosen.view, chosen.byte), why);
          region.free(chosen.view);
          bytes -= chosen.view.length;
        }
        if (operation % 1000 === 0) {
          assert.deepEqual([region.bytesAllocated, region.views], [bytes, live.length]);
          if (random.below(10) === 0) {
            assert.ok(
              live.every(({ view, byte }) => isFilledWith(view, byte)),
              why,
            );
            region.reset();
            live = [];
            bytes = 0;
          }
        }
      }
      region.dispose();
    });

    test('debug mode finds a write after free, and tells where it was freed', () => {
      const { region } = make(backend, { debug: true });
      function freeTooEarly(view: Buffer): void {
        region.free(view);
      }
      const view = region.allocate(1000).fill(1);
      freeTooEarly(view);
      assert.ok(isFilledWith(view, 0xdb), 'what is read is poison');
      region.check();
      view[500] = 1;
      assert.throws(() => region.check(), {
        code: 'ERR_USE_AFTER_FREE',
        message: /byte 500 of a block of 1000 bytes .*\n.*\n {4}at freeTooEarly/,
      });
      region.check();
      view[3] = 1;
      assert.equal(
        codeOf(() => region.reset()),
        'ERR_USE_AFTER_FREE',
      );
      region.reset();
      const late = region.allocate(10);
      region.free(late);
      late[0] = 1;
      assert.equal(
        codeOf(() => {
          for (;;) region.free(region.allocate(MIB));
        }),
        'ERR_USE_AFTER_FREE',
      );
      assert.throws(() => region.free(late), {
        code: 'ERR_NOT_ALLOCATED',
        message: /The block was freed here:\n {4}at /,
      });
      region.dispose();
    });

    test('what debug mode holds back counts in the allocator and not in the region, until it goes', () => {
      const { allocator, region } = make(backend, { debug: true, limit: 1000 });
      const counts = () => [region.bytesAllocated, allocator.bytesAllocated];
      const freed = () => region.free(region.allocate(600));
      freed();
      assert.deepEqual(counts(), [0, 600]);
      assert.equal(
        codeOf(() => allocator.allocate(401)),
        'ERR_LIMIT_EXCEEDED',
        'for a buffer it does not go',
      );
      region.allocate(401);
      assert.deepEqual(counts(), [401, 401], 'for a block it does');
      region.reset();
      freed();
      region.reset();
      assert.deepEqual(counts(), [0, 0]);
      freed();
      region.dispose();
      assert.deepEqual(counts(), [0, 0]);
      // An eighth at most is held back.
      const { allocator: another, region: large } = make(backend, { debug: true });
      for (let round = 0; round < 100; round++) large.free(large.allocate(MIB));
      assert.ok(another.bytesAllocated <= large.bytes / 8 && another.bytesAllocated >= MIB);
      large.dispose();
    });

    test('debug mode does without what it holds back before it is full', () => {
      const { region } = make(backend, { debug: true });
      const views: RegionView[] = [];
      const fill = (): void => {
        assert.equal(
          codeOf(() => {
            for (;;) views.push(region.allocate(MIB));
          }),
          'ERR_OUT_OF_MEMORY',
        );
      };
      fill();
      const count = views.length;
      for (let round = 0; round < 3; round++) {
        for (const view of views.splice(0)) region.free(view);
        fill();
        assert.ok(views.length >= count - 2, `${views.length} of ${count}`);
      }
      region.dispose();
    });
  });
}

describe('jemalloc', { skip: !CAPABLE.includes('jemalloc') && 'this build has no jemalloc' }, () => {
  test('nothing that is written within the region damages the heap', () => {
    const { region } = make('jemalloc');
    const random = new Random(1);
    let views: RegionView[] = [];
    for (let round = 0; round < 20; round++) {
      views.push(...Array.from({ length: 500 }, () => region.allocate(random.below(70_000))));
      Buffer.from(views[0]!.buffer, 0, 48 * MIB).fill(round);
      const [kept, freed] = [
        views.filter((_, index) => index % 2 === 0),
        views.filter((_, index) => index % 2 === 1),
      ];
      for (const view of freed) region.free(view);
      for (const view of freed) view.fill(0xff);
      views = round % 5 === 4 ? [] : kept;
      if (views.length === 0) region.reset();
    }
    region.dispose();
  });
});

describe('workers that are ended', () => {
  for (const backend of CAPABLE) {
    test(backend, async () => {
      const script = join(root, 'dist', 'test', 'fixtures-ts', 'regions.js');
      const { stdout, stderr } = await succeed(process.execPath, [script, backend, '40']);
      assert.deepEqual([stdout, stderr], ['done\n', '']);
    });
  }
});
