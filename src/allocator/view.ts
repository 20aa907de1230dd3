import { isUint8Array } from 'node:util/types';

/** The region that made a view. */
interface Owner {
  owns(view: unknown): boolean;
  free(view: Uint8Array): void;
}

/** Instead of a generation: the view was freed. */
const FREED = -1;

/**
 * The class of a region's views: a Buffer with private fields for the place of its block. Code outside can shadow the
 * properties `byteOffset` and `length`, but not these fields.
 */
export class BlockView extends Uint8Array {
  readonly #region: Owner;
  readonly #offset: number;
  readonly #bytes: number;
  /** The region's generation when the block was allocated. */
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

  /** Marks the view as freed. */
  static retire(view: BlockView): void {
    view.#generation = FREED;
  }

  static offsetOf(view: BlockView): number {
    return view.#offset;
  }

  static bytesOf(view: BlockView): number {
    return view.#bytes;
  }

  /** Why the value is not a live view of the region. */
  static whyNot(value: unknown, region: Owner): string {
    if (!isUint8Array(value)) return 'it is not a Buffer';
    if (!(#generation in value)) {
      return "no region returned it: it is a plain Buffer, or a view or copy of a region's view";
    }
    if (value.#region !== region) return 'it belongs to another region';
    return value.#generation === FREED ? 'it was freed before' : 'it was freed by reset()';
  }
}

// For the reason, see buffer.ts.
Object.setPrototypeOf(BlockView.prototype, Buffer.prototype);
Object.defineProperty(BlockView.prototype, 'constructor', {
  value: Buffer,
  writable: true,
  configurable: true,
});
