import { invalidArgument, MallocBackendError, shown } from '../errors.js';
import { CLAIMED, HELD, OwnedBuffer } from './buffer.js';

/**
 * A hold on a buffer, from `Allocator.hold`. Until the hold is released, the buffer's memory stays unchanged, even if the
 * buffer is freed. `using` releases the hold.
 */
export class Hold implements Disposable {
  #release: (() => void) | undefined;

  /** @internal Call `allocator.hold()` to make a hold. */
  constructor(release: () => void) {
    this.#release = release;
  }

  /**
   * Ends the hold. If this was the last hold and the buffer was freed before, its memory is freed now. A second call does
   * nothing.
   */
  release(): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }

  /** Calls {@link release}, for `using`. */
  [Symbol.dispose](): void {
    this.release();
  }
}

/** The state of a buffer with holds. */
interface Held {
  readonly slot: number;
  holds: number;
  /** Whether the buffer is freed when the last hold ends. */
  freed: boolean;
  /** Settles the promise of `free(buffer, { after })`. */
  settle?: { resolve: () => void; reject: (error: unknown) => void };
}

/** The buffers of an allocator that have holds. A buffer that is collected with its holds disappears from here. */
export class Holds {
  readonly #held = new WeakMap<object, Held>();
  readonly #free: (buffer: Uint8Array, slot: number) => void;

  constructor(free: (buffer: Uint8Array, slot: number) => void) {
    this.#free = free;
  }

  /** The slot of a held buffer that was not freed. */
  slotOf(buffer: object): number {
    return this.#held.get(buffer)!.slot;
  }

  /** Adds a hold. `slot` is the slot of a live buffer, or {@link HELD}. */
  add(buffer: Uint8Array, slot: number): void {
    if (slot === HELD) {
      this.#held.get(buffer)!.holds += 1;
      return;
    }
    this.#held.set(buffer, { slot, holds: 1, freed: false });
    OwnedBuffer.mark(buffer, HELD);
  }

  /** Frees a held buffer when its last hold ends. From now on, nobody can free or hold the buffer. */
  claim(buffer: Uint8Array): void {
    this.#held.get(buffer)!.freed = true;
    OwnedBuffer.mark(buffer, CLAIMED);
  }

  /** Calls {@link claim}. The promise resolves when the buffer is freed. */
  claimed(buffer: Uint8Array): Promise<void> {
    this.claim(buffer);
    return new Promise((resolve, reject) => {
      this.#held.get(buffer)!.settle = { resolve, reject };
    });
  }

  /** Removes a hold. */
  release(buffer: Uint8Array): void {
    const held = this.#held.get(buffer)!;
    held.holds -= 1;
    if (held.holds > 0) return;
    this.#held.delete(buffer);
    OwnedBuffer.mark(buffer, held.slot);
    if (!held.freed) return;
    try {
      this.#free(buffer, held.slot);
      held.settle?.resolve();
    } catch (error) {
      if (held.settle !== undefined) held.settle.reject(error);
      // If the memory was transferred in the meantime, its new owner frees it.
      else if (!(error instanceof MallocBackendError)) throw error;
    }
  }

  /** Calls {@link release} when the promise is fulfilled or rejected. */
  releaseAfter(promise: PromiseLike<unknown>, buffer: Uint8Array): void {
    const release = (): void => this.release(buffer);
    void Promise.resolve(promise).then(release, release);
  }
}

export function checkPromise(value: unknown, what: string): asserts value is PromiseLike<unknown> {
  if (typeof (value as PromiseLike<unknown> | undefined | null)?.then === 'function') return;
  throw invalidArgument(
    `${what} must be a promise, not ${shown(value)}; for a stream or a response, call finished() of ` +
      `node:stream/promises`,
  );
}
