// Random calls of Allocator and Region, half of them with hostile arguments: node calls.js [seconds] [seed]
//
// Whatever they are given, a call returns, or throws an error of this package's; and nothing stays allocated. What else
// it must not do, AddressSanitizer sees: test/fuzz/asan.mjs.

import assert from 'node:assert/strict';
import {
  Allocator,
  type AllocatorOptions,
  MallocBackendError,
  type MemoryAllocatorBackend,
  type Region,
} from '../../index.js';
import { BACKENDS, Random, collectUntil, seed } from '../support/allocators.js';

const MIB = 2 ** 20;

/** What a hostile getter throws: the caller's own business, and no error of ours. */
class Hostile extends Error {}

const hostile: (() => unknown)[] = [
  ...[undefined, null, true, false, '', '16', 'allow', 'jemalloc', 1n, Symbol('x')].map(
    (value) => () => value,
  ),
  ...[0, -0, 1, -1, 0.5, NaN, Infinity, -Infinity, 7, 16, 4096, 2 ** 33, 2 ** 47, 2 ** 53, 1e300].map(
    (value) => () => value,
  ),
  () => ({}),
  () => [],
  () => () => {},
  () => new Proxy({}, { get: (_, key) => throwing(`get ${String(key)}`), has: () => throwing('has') }),
  () => new Proxy(Buffer.alloc(8), {}),
  () => ({
    get bytes() {
      return throwing('bytes');
    },
    get zero() {
      return throwing('zero');
    },
    get alignment() {
      return throwing('alignment');
    },
  }),
  () => ({ valueOf: () => throwing('valueOf'), toString: () => throwing('toString') }),
  () => Object.create(Buffer.alloc(4)),
  () => Buffer.alloc(10),
  () => new Uint8Array(new SharedArrayBuffer(16)),
  () => new DataView(new ArrayBuffer(8)),
  () => new ArrayBuffer(8),
  () => structuredClone(new ArrayBuffer(8), { transfer: [] }),
  () => Object.defineProperty(Buffer.alloc(3), 'buffer', { value: null }),
];

function throwing(what: string): never {
  throw new Hostile(what);
}

class Fuzz {
  readonly random: Random;
  readonly allocators: Allocator[] = [];
  readonly regions: Region[] = [];
  /** Live ones, freed ones, views on them, and others. */
  readonly buffers: Uint8Array[] = [];
  calls = 0;

  constructor(value: number) {
    this.random = new Random(value);
  }

  pick<T>(values: readonly T[]): T | undefined {
    return values.length === 0 ? undefined : this.random.pick(values);
  }

  value(): unknown {
    if (this.random.below(4) === 0) {
      return this.pick([...this.buffers.slice(-20), ...this.allocators, ...this.regions]);
    }
    return this.random.pick(hostile)();
  }

  /** Mostly what is right, sometimes anything. */
  or<T>(right: T): T {
    return this.random.below(4) === 0 ? (this.value() as T) : right;
  }

  size(): number {
    return this.random.below(this.random.pick([1, 100, 5_000, 100_000, MIB]));
  }

  settings(): AllocatorOptions {
    const { random } = this;
    return {
      ...(random.below(2) === 0 ? { limit: this.or(random.below(16 * MIB)) } : {}),
      ...(random.below(3) === 0 ? { quarantine: this.or(random.below(MIB)) } : {}),
      ...(random.below(3) === 0 ? { trace: this.or(true) } : {}),
      ...(random.below(3) === 0 ? { log: this.or(() => {}) } : {}),
      ...(random.below(3) === 0 ? { name: this.or('fuzz') } : {}),
    };
  }

  options(): object {
    const { random } = this;
    return {
      ...(random.below(2) === 0 ? { zero: this.or(true) } : {}),
      ...(random.below(2) === 0 ? { alignment: this.or(2 ** random.below(16)) } : {}),
      ...(random.below(9) === 0 ? { copy: this.or('allow') } : {}),
    };
  }

  keep(list: unknown[], value: unknown, most: number): void {
    if (list.length < most) list.push(value);
    else list[this.random.below(most)] = value;
  }

  readonly steps: (() => void)[] = [
    () => {
      const backend = this.or<MemoryAllocatorBackend>(this.random.pick(BACKENDS));
      this.keep(this.allocators, Allocator.create(backend, this.or(this.settings())), 8);
    },
    () => {
      const parent = this.pick(this.allocators);
      if (parent !== undefined) this.keep(this.allocators, parent.child(this.or(this.settings())), 8);
    },
    () => {
      const bytes = this.or(this.random.below(64 * MIB));
      const made = this.pick(this.allocators)?.region(
        this.or({ bytes, debug: this.or(this.random.below(2) === 0) }),
      );
      // Even a terabyte is only address space; but not for long.
      if (made !== undefined) this.keep(this.regions, made, 4);
    },
    () => void this.pick(this.regions)?.[this.random.below(3) === 0 ? 'dispose' : 'reset'](),
    () => this.random.below(10) === 0 && this.pick(this.allocators)?.dispose(),
    () => this.random.below(20) === 0 && this.pick(this.allocators)?.release(),
    () => {
      const allocator = this.pick(this.allocators);
      allocator?.leaks();
      allocator?.stats();
      assert.ok((allocator?.bytesAllocated ?? 0) >= 0);
    },
  ];

  readonly uses: (() => void)[] = [
    () => {
      const made = this.pick(this.allocators)?.allocate(this.or(this.size()), this.or(this.options()));
      if (made !== undefined) this.keep(this.buffers, made.fill(1), 200);
    },
    () => {
      const made = this.pick(this.regions)?.allocate(this.or(this.size()), this.or(this.options()));
      if (made !== undefined) this.keep(this.buffers, made.fill(2), 200);
    },
    () => {
      const buffer = this.or(this.pick(this.buffers)!);
      const zero = this.or({ zero: true });
      const made = this.pick(this.allocators)?.reallocate(buffer, this.or(this.size()), zero);
      if (made !== undefined) this.keep(this.buffers, made.fill(3), 200);
    },
    () => this.pick(this.allocators)?.free(this.or(this.pick(this.buffers)!)),
    () => this.pick(this.regions)?.free(this.or(this.pick(this.buffers)!)),
    () => {
      const buffer = this.pick(this.buffers) as Partial<Disposable> | undefined;
      buffer?.[Symbol.dispose]?.();
    },
    () => {
      const after = this.or<PromiseLike<void>>(Promise.resolve());
      void this.pick(this.allocators)?.free(this.pick(this.buffers)!, this.or({ after }));
    },
    () => {
      const buffer = this.pick(this.buffers);
      // JavaScript itself refuses a view on what is detached.
      if (buffer === undefined || buffer.length === 0) return;
      this.keep(this.buffers, buffer.subarray(this.random.below(10)), 200);
      assert.ok(!this.pick(this.allocators)?.owns(buffer.subarray(0)));
    },
    () => {
      // What is live may be read, and written to.
      const buffer = this.pick(this.buffers);
      const whose = [...this.allocators, ...this.regions].find((each) => each.owns(buffer));
      if (whose !== undefined) buffer?.fill(4);
    },
  ];

  step(): void {
    this.calls += 1;
    try {
      this.random.pick(this.random.below(20) === 0 ? this.steps : this.uses)();
    } catch (error) {
      if (!(error instanceof MallocBackendError || error instanceof Hostile)) throw error;
    }
  }

  end(): void {
    for (const region of this.regions) {
      try {
        region.dispose();
      } catch (error) {
        if (!(error instanceof MallocBackendError)) throw error;
      }
    }
    for (const allocator of this.allocators) allocator.dispose();
    this.allocators.length = this.regions.length = this.buffers.length = 0;
  }
}

const [seconds = '5', first = `${seed()}`] = process.argv.slice(2);
const end = Date.now() + Number(seconds) * 1000;
let round = Number(first);
let calls = 0;
do {
  const fuzz = new Fuzz(round);
  try {
    for (let burst = 0; burst < 40; burst++) {
      for (let step = 0; step < 500; step++) fuzz.step();
      await new Promise(setImmediate);
    }
    fuzz.end();
    calls += fuzz.calls;
    const left = () => BACKENDS.reduce((sum, backend) => sum + Allocator.everywhere(backend).buffers, 0);
    await collectUntil(() => left() === 0);
    assert.equal(left(), 0, 'nothing stays allocated');
  } catch (error) {
    throw new Error(`after ${fuzz.calls} calls with seed ${round}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  round += 1;
} while (Date.now() < end);
console.log(`${calls} calls, seeds ${first} to ${round - 1}`);
