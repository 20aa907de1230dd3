import { isUint8Array } from 'node:util/types';

/**
 * A Buffer whose memory a backend owns. `using` frees it, `allocator.free(buffer)` does as well, and one that nobody
 * frees is freed when it is collected.
 */
export type AllocatedBuffer = Buffer & Disposable;

/** What hands the buffers out: an allocator. */
interface Owner {
  readonly name: string | undefined;
  owns(buffer: unknown): boolean;
  free(buffer: Uint8Array): void;
}

/** In place of a slot: the buffer is freed. */
export const FREED = -1;
/** In place of a slot: the buffer is to be freed once nothing holds it any more. */
export const CLAIMED = -2;
/** In place of a slot: something holds the buffer. */
export const HELD = -3;

/**
 * What an allocator hands out: a Buffer, with private fields that no other object has. A view on it and a copy of it
 * are ordinary Buffers and cannot be mistaken for it.
 *
 * A field costs next to nothing where a WeakMap or a property of its own would cost more than the block.
 */
export class OwnedBuffer extends Uint8Array {
  readonly #allocator: Owner;
  /** Its `buffer`, which a property of that name cannot change. */
  readonly #memory: ArrayBuffer;
  #slot: number;

  constructor(memory: ArrayBuffer, allocator: Owner, slot: number) {
    super(memory);
    this.#allocator = allocator;
    this.#memory = memory;
    this.#slot = slot;
  }

  [Symbol.dispose](): void {
    if (this.#allocator.owns(this)) this.#allocator.free(this as unknown as Buffer);
  }

  /** The slot of a buffer that is this allocator's to free; negative for any other value. */
  static slotOf(value: unknown, allocator: Owner): number {
    return typeof value === 'object' && value !== null && #slot in value && value.#allocator === allocator
      ? value.#slot
      : FREED;
  }

  /** The memory of a buffer that has a slot. */
  static memoryOf(value: object): ArrayBuffer {
    return (value as OwnedBuffer).#memory;
  }

  /** Puts a slot in the place of another, or what is there instead of one. */
  static mark(value: object, slot: number): void {
    if (#slot in value) value.#slot = slot;
  }

  /** Why a value is not this allocator's to free. */
  static whyNot(value: unknown, allocator: Owner): string {
    if (!isUint8Array(value)) return 'it is no Buffer';
    if (!(#slot in value)) {
      return 'no allocator handed it out: it is a plain Buffer, or a view or copy of an allocated one';
    }
    if (value.#allocator !== allocator) {
      return `it belongs to another allocator${named(value.#allocator)}, which alone can free it`;
    }
    if (value.#slot === CLAIMED) return 'it was freed before, and goes once nothing holds it any more';
    if (value.#slot === FREED) return 'it was freed before';
    return 'its memory was transferred elsewhere, where it is freed when it is collected';
  }
}

function named({ name }: Owner): string {
  return name === undefined ? '' : ` (${JSON.stringify(name)})`;
}

// Buffer's constructor makes no objects of a derived class, so the methods are inherited and the constructor is not.
Object.setPrototypeOf(OwnedBuffer.prototype, Buffer.prototype);
Object.defineProperty(OwnedBuffer.prototype, 'constructor', {
  value: Buffer,
  writable: true,
  configurable: true,
});
