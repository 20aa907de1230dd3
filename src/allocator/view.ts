import { isUint8Array } from 'node:util/types';

/** What hands the views out: a region. */
interface Owner {
  owns(view: unknown): boolean;
  free(view: Uint8Array): void;
}

/** In place of a generation: the view was freed. */
const FREED = -1;

/**
 * What a region hands out: a Buffer on its memory, with private fields that no other object has. What they say of the
 * block cannot be changed from outside, as `byteOffset` and `length` can by a property of that name.
 */
export class BlockView extends Uint8Array {
  readonly #region: Owner;
  readonly #offset: number;
  readonly #bytes: number;
  /** That of the region when the block was allocated. */
  #generation: number;

  constructor(memory: ArrayBuffer, offset: number, bytes: number, region: Owner, generation: number) {
    super(memory, offset, bytes);
    this.#region = region;
    this.#offset = offset;
    this.#bytes = bytes;
    this.#generation = generation;
  }

  [Symbol.dispose](): void {
    if (this.#region.owns(this)) this.#region.free(this as unknown as Buffer);
  }

  /** Whether the view's block is live in this region. */
  static isLive(value: unknown, region: Owner, generation: number): value is BlockView {
    return (
      typeof value === 'object' &&
      value !== null &&
      #generation in value &&
      value.#generation === generation &&
      value.#region === region
    );
  }

  /** From now on the view counts as freed. */
  static retire(view: BlockView): void {
    view.#generation = FREED;
  }

  static offsetOf(view: BlockView): number {
    return view.#offset;
  }

  static bytesOf(view: BlockView): number {
    return view.#bytes;
  }

  /** Why a value is none of the region's live views. */
  static whyNot(value: unknown, region: Owner): string {
    if (!isUint8Array(value)) return 'it is no Buffer';
    if (!(#generation in value)) {
      return 'no region handed it out: it is a plain Buffer, or a view or copy of one that was';
    }
    if (value.#region !== region) return 'it belongs to another region';
    return value.#generation === FREED ? 'it was freed before' : 'it was freed by reset()';
  }
}

// As in buffer.ts.
Object.setPrototypeOf(BlockView.prototype, Buffer.prototype);
Object.defineProperty(BlockView.prototype, 'constructor', {
  value: Buffer,
  writable: true,
  configurable: true,
});
