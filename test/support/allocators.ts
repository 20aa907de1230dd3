// What the tests of `Allocator` and `Region` share.

import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import v8 from 'node:v8';
import vm from 'node:vm';
import { MallocBackendError, type MemoryAllocatorBackend, backends } from '../../index.js';

/** Those that this build has. */
export const BACKENDS: readonly MemoryAllocatorBackend[] = backends()
  .filter(({ surfaces }) => surfaces.allocator.available)
  .map(({ backend }) => backend);

/** The code of the error that this throws. */
export function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof MallocBackendError) {
      assert.ok(error.message.length > 20, `${error.code} says what to do: ${error.message}`);
      return error.code;
    }
    throw error;
  }
  return 'no error';
}

v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc') as () => void;

/** Collects until it holds, or for so many rounds: finalisers run in a later turn of the event loop. */
export async function collectUntil(holds: () => boolean, rounds = 50): Promise<void> {
  for (let round = 0; round < rounds && !holds(); round++) {
    collect();
    await turn();
  }
}

/** Random numbers that come again with the same seed. */
export class Random {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer from 0 to `end` - 1. */
  below(end: number): number {
    // mulberry32
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * end);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }
}

/** A seed to begin with: `MALLOC_BACKEND_SEED`, or another one each time. */
export function seed(): number {
  return Number(process.env['MALLOC_BACKEND_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
}

/** Whether every byte is that one. */
export function isFilledWith(buffer: Buffer, byte: number): boolean {
  // Each byte equals the one after it, which memcmp finds out.
  return (
    buffer.length === 0 ||
    (buffer[0] === byte && buffer.compare(buffer, 0, buffer.length - 1, 1, buffer.length) === 0)
  );
}
