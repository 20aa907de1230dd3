import { MallocBackendError, shown } from '../errors.js';
import { CLAIMED, HELD, OwnedBuffer } from './buffer.js';

/**
 * A hold on a buffer, from `Allocator.hold`: while there is one, the buffer's memory stays as it is, also when the buffer
 * is freed meanwhile. `using` releases it.
 */
export class Hold implements Disposable {
  #release: (() => void) | undefined;

  /** @internal Holds come from `allocator.hold()`. */
  constructor(release: () => void) {
    this.#release = release;
  }

  /** Ends the hold. If it was the last one and the buffer was freed, its memory goes now. Once more does nothing. */
  release(): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }

  /** {@link release}, for `using`. */
  [Symbol.dispose](): void {
    this.release();
  }
}

/** What is remembered of a buffer while something holds it. */
interface Held {
  readonly slot: number;
  holds: number;
  /** Whether it is to be freed then. */
  freed: boolean;
  /** Who waits for that. */
  settle?: { resolve: () => void; reject: (error: unknown) => void };
}

/** The buffers of an allocator that something holds. One that is collected with its holds is forgotten. */
export class Holds {
  readonly #held = new WeakMap<object, Held>();
  readonly #free: (buffer: Uint8Array, slot: number) => void;

  constructor(free: (buffer: Uint8Array, slot: number) => void) {
    this.#free = free;
  }

  /** The slot of a buffer that is held and was not freed. */
  slotOf(buffer: object): number {
    return this.#held.get(buffer)!.slot;
  }

  /** A hold more, on a buffer that is live in its slot, or {@link HELD}. */
  add(buffer: Uint8Array, slot: number): void {
    if (slot === HELD) {
      this.#held.get(buffer)!.holds += 1;
      return;
    }
    this.#held.set(buffer, { slot, holds: 1, freed: false });
    OwnedBuffer.mark(buffer, HELD);
  }

  /** Has a held buffer freed once nothing holds it: from then on it is nobody's to free or to hold. */
  claim(buffer: Uint8Array): void {
    this.#held.get(buffer)!.freed = true;
    OwnedBuffer.mark(buffer, CLAIMED);
  }

  /** {@link claim}; resolves once it is freed. */
  claimed(buffer: Uint8Array): Promise<void> {
    this.claim(buffer);
    return new Promise((resolve, reject) => {
      this.#held.get(buffer)!.settle = { resolve, reject };
    });
  }

  /** A hold less. */
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
      // What was transferred meanwhile is its new owner's.
      else if (!(error instanceof MallocBackendError)) throw error;
    }
  }

  /** {@link release}, once the promise has settled, either way. */
  releaseAfter(promise: PromiseLike<unknown>, buffer: Uint8Array): void {
    const release = (): void => this.release(buffer);
    void Promise.resolve(promise).then(release, release);
  }
}

export function checkPromise(value: unknown, what: string): asserts value is PromiseLike<unknown> {
  if (typeof (value as PromiseLike<unknown> | undefined | null)?.then === 'function') return;
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `${what} must be a promise, not ${shown(value)}; for a stream or a response, finished() of node:stream/promises ` +
      `makes one`,
  );
}
