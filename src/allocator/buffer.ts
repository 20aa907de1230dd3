import { isUint8Array } from 'node:util/types';

/**
 * A Buffer whose memory comes from a backend. Free it with `allocator.free(buffer)` or `using`. If you do not free it,
 * it is freed when the garbage collector collects it.
 */
export type AllocatedBuffer = Buffer & Disposable;

/** The allocator that made a buffer. */
interface Owner {
  readonly name: string | undefined;
  owns(buffer: unknown): boolean;
  free(buffer: Uint8Array): void;
}

/** Instead of a slot: the buffer was freed. */
export const FREED = -1;
/** Instead of a slot: the buffer is freed when its last hold ends. */
export const CLAIMED = -2;
/** Instead of a slot: the buffer has holds. */
export const HELD = -3;

/**
 * The class of an allocator's buffers: a Buffer with private fields. A view or a copy is an ordinary Buffer without these
 * fields, so it cannot be mistaken for the buffer.
 *
 * A private field costs next to nothing. A WeakMap or a public property would cost more than the block.
 */
export class OwnedBuffer extends Uint8Array {
  readonly #allocator: Owner;
  /** The ArrayBuffer. Code outside can shadow the property `buffer`, but not this field. */
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

  /** The slot of a live buffer of this allocator; negative for any other value. */
  static slotOf(value: unknown, allocator: Owner): number {
    return typeof value === 'object' && value !== null && #slot in value && value.#allocator === allocator
      ? value.#slot
      : FREED;
  }

  /** The ArrayBuffer of a buffer that has a slot. */
  static memoryOf(value: object): ArrayBuffer {
    return (value as OwnedBuffer).#memory;
  }

  /** Sets the slot, or one of the values instead of a slot. */
  static mark(value: object, slot: number): void {
    if (#slot in value) value.#slot = slot;
  }

  /** Why this allocator cannot free the value. */
  static whyNot(value: unknown, allocator: Owner): string {
    if (!isUint8Array(value)) return 'it is not a Buffer';
    if (!(#slot in value)) {
      return 'no allocator returned it: it is a plain Buffer, or a view or copy of an allocated Buffer';
    }
    if (value.#allocator !== allocator) {
      return `it belongs to another allocator${named(value.#allocator)}, and only this allocator can free it`;
    }
    if (value.#slot === CLAIMED) return 'it was freed before, and its memory stays until the last hold ends';
    if (value.#slot === FREED) return 'it was freed before';
    return 'its memory was transferred to another ArrayBuffer, whose garbage collection frees the memory';
  }
}

function named({ name }: Owner): string {
  return name === undefined ? '' : ` (${JSON.stringify(name)})`;
}

// Buffer's constructor cannot make objects of a derived class. So the class inherits only Buffer's methods.
Object.setPrototypeOf(OwnedBuffer.prototype, Buffer.prototype);
Object.defineProperty(OwnedBuffer.prototype, 'constructor', {
  value: Buffer,
  writable: true,
  configurable: true,
});
