// A region's debug mode: what is freed is poisoned and held back, and looked at before it is used again.

import { MallocBackendError } from '../errors.js';

const POISON = 0xdb;

interface Freed {
  offset: number;
  bytes: number;
  where: { stack?: string };
}

function here(below: Function): { stack?: string } {
  const trace: { stack?: string } = {};
  Error.captureStackTrace(trace, below);
  return trace;
}

function lines({ stack = '' }: { stack?: string }): string {
  return stack.replace(/^.*\n/, '');
}

export class Watch {
  readonly #memory: Buffer;
  /** Most bytes to hold back. */
  readonly #capacity: number;
  /** Oldest first. */
  readonly #held = new Set<Freed>();
  #bytes = 0;
  readonly #freedAt = new WeakMap<object, { stack?: string }>();

  constructor(memory: ArrayBuffer) {
    this.#memory = Buffer.from(memory);
    this.#capacity = memory.byteLength / 8;
  }

  /**
   * Takes a freed block in. Gives back those that it lets go for it, to be freed in truth.
   *
   * @throws {@link MallocBackendError} `ERR_USE_AFTER_FREE`
   */
  freed(view: object, offset: number, bytes: number, below: Function): Freed[] {
    const where = here(below);
    this.#freedAt.set(view, where);
    this.#memory.fill(POISON, offset, offset + bytes);
    this.#held.add({ offset, bytes, where });
    this.#bytes += bytes;
    return this.release(this.#capacity);
  }

  /** Lets the oldest blocks go until no more than so many bytes are held, or all for 0. */
  release(bytes: number): Freed[] {
    const released: Freed[] = [];
    for (const block of this.#held) {
      if (this.#bytes <= bytes && bytes > 0) break;
      this.#check(block);
      this.#held.delete(block);
      this.#bytes -= block.bytes;
      released.push(block);
    }
    return released;
  }

  /** Forgets all blocks: they are free in truth. */
  clear(): void {
    this.#held.clear();
    this.#bytes = 0;
  }

  /** @throws {@link MallocBackendError} `ERR_USE_AFTER_FREE` for the first block that was written to. */
  check(): void {
    for (const block of this.#held) this.#check(block);
  }

  /** Where a view was freed. */
  story(view: unknown): string {
    const where = typeof view === 'object' && view !== null ? this.#freedAt.get(view) : undefined;
    return where === undefined ? '' : `\nIt was freed here:\n${lines(where)}`;
  }

  #check({ offset, bytes, where }: Freed): void {
    const block = this.#memory.subarray(offset, offset + bytes);
    const damaged = block.findIndex((byte) => byte !== POISON);
    if (damaged < 0) return;
    // Reported once: poisoned again.
    block.fill(POISON);
    throw new MallocBackendError(
      'ERR_USE_AFTER_FREE',
      `byte ${damaged} of a block of ${bytes} bytes at offset ${offset} was written to after the block was freed; ` +
        `look for a view that is kept longer than its block.\nIt was freed here:\n${lines(where)}`,
    );
  }
}
