import type { NativeRegion } from '../native/binding.js';
import { type Addon, binding } from '../native/loader.js';
import { MallocBackendError, shown } from '../errors.js';
import { namesOf, requireOptions } from '../options.js';
import { checkAlignment, checkBytes, flag } from './arguments.js';
import { BlockView } from './view.js';
import { Watch } from './watch.js';

/** How a region is made. */
export interface RegionOptions {
  /**
   * The address space to reserve, in bytes; memory is used only for what is written to. Rounded up to 2 MiB. At most
   * `buffer.constants.MAX_LENGTH`.
   */
  bytes: number;
  /**
   * Find what writes to a block after it was freed: freed blocks are filled with 0xdb and held back, up to an eighth of
   * the region, and errors tell where a block was freed. Costs microseconds for each block. Default: false.
   *
   * What is held back counts in the allocator as before, and against its limits, until newer freed blocks take its
   * place, the region needs it for a block, or `reset` or `dispose`. In the region itself it does not count.
   */
  debug?: boolean;
}

export const REGION_OPTIONS = namesOf<RegionOptions>({ bytes: true, debug: true });

const BLOCK_OPTIONS = namesOf<{ zero?: boolean; alignment?: number }>({ zero: true, alignment: true });

/** A Buffer on a block in a region. `using` frees it. */
export type RegionView = Buffer & Disposable;

/** The addon's numbers in place of an offset. They are there once a region is. */
let NoOffset!: Addon['NoOffset'];

/**
 * A heap in one ArrayBuffer.
 *
 * To allocate costs a fraction of a Buffer of its own. In return a freed view is not detached: it goes on showing the
 * memory, which may be another block's by then. What writes through one damages that block, and nothing else: the heap's
 * structures lie outside of the ArrayBuffer. `debug` finds such writes.
 *
 * A region belongs to the thread that made it. It goes with its last view when nobody disposes it. To transfer its
 * ArrayBuffer ends it, as {@link dispose} does, but for the memory: that is the new owner's, with the contents of all
 * live blocks, and counts in the allocator until the new owner is collected, in whichever thread.
 */
export class Region implements Disposable {
  /** The reserved address space in bytes. */
  readonly bytes: number;
  readonly #native: NativeRegion;
  /** What the native side is given and answers. */
  readonly #numbers: Float64Array;
  readonly #memory: ArrayBuffer;
  /** All of it. Without bytes the memory is not here any more: to ask for that costs less than to ask the ArrayBuffer. */
  readonly #whole: Uint8Array;
  readonly #limitExceeded: (more: number) => MallocBackendError;
  readonly #watch: Watch | undefined;
  /** Views of an older one were freed by `reset`. */
  #generation = 0;
  #bytesAllocated = 0;
  #views = 0;
  #ended: 'disposed' | 'transferred' | undefined;

  /** @internal Regions come from `allocator.region()`. */
  constructor(
    native: NativeRegion,
    numbers: Float64Array,
    limitExceeded: (more: number) => MallocBackendError,
    debug: boolean,
  ) {
    this.#native = native;
    this.#numbers = numbers;
    ({ NoOffset } = binding());
    this.#memory = native.memory;
    this.#limitExceeded = limitExceeded;
    this.#whole = new Uint8Array(native.memory);
    this.bytes = native.memory.byteLength;
    if (debug) this.#watch = new Watch();
  }

  /**
   * A view on a new block. Its contents are undefined unless `zero` is set.
   *
   * @param options - As for `Allocator.allocate`. Alignments are those of addresses.
   * @throws {@link MallocBackendError} `ERR_OUT_OF_MEMORY`: there is no room for it in the region.
   * `ERR_LIMIT_EXCEEDED`, `ERR_DISPOSED` (also where the ArrayBuffer was transferred), `ERR_INVALID_ARGUMENT`, with
   * `debug` `ERR_USE_AFTER_FREE`
   */
  allocate(bytes: number, options?: { zero?: boolean; alignment?: number }): RegionView {
    checkBytes(bytes);
    if (this.#whole.length === 0) throw this.#gone();
    let alignment = 1;
    let zero = false;
    if (options !== undefined) {
      requireOptions(options, BLOCK_OPTIONS);
      if (options.alignment !== undefined) checkAlignment((alignment = options.alignment));
      zero = flag(options.zero, 'zero');
    }
    this.#numbers[0] = bytes;
    this.#numbers[1] = alignment;
    this.#native.allocate();
    const offset = this.#numbers[0];
    if (offset < 0) throw this.#refusal(offset, bytes);
    this.#watch?.allocated(offset);
    const view = new BlockView(this.#memory, offset, bytes, this, this.#generation);
    this.#bytesAllocated += bytes;
    this.#views += 1;
    if (zero) view.fill(0);
    return view as unknown as RegionView;
  }

  /**
   * Frees a view's block. The view is not detached: see {@link Region}.
   *
   * @throws {@link MallocBackendError} `ERR_NOT_ALLOCATED`: a view that was freed before, another region's, a view on
   * one, a plain Buffer. `ERR_DISPOSED`, `ERR_INVALID_ARGUMENT`, with `debug` `ERR_USE_AFTER_FREE` for another block
   */
  free(view: Uint8Array): void {
    if (this.#whole.length === 0) throw this.#gone();
    if (!BlockView.isLive(view, this, this.#generation)) throw this.#notAllocated(view);
    const bytes = BlockView.bytesOf(view);
    BlockView.retire(view);
    this.#bytesAllocated -= bytes;
    this.#views -= 1;
    const offset = BlockView.offsetOf(view);
    this.#watch?.freed(view, offset, this.free);
    this.#numbers[0] = offset;
    this.#numbers[1] = bytes;
    this.#native.free();
    this.#throwDamage();
  }

  /** Whether the view's block is live in this region. */
  owns(view: unknown): boolean {
    return this.#whole.length > 0 && BlockView.isLive(view, this, this.#generation);
  }

  /** Bytes in live blocks, as they were asked for. */
  get bytesAllocated(): number {
    return this.#whole.length > 0 ? this.#bytesAllocated : 0;
  }

  /** How many views are live. */
  get views(): number {
    return this.#whole.length > 0 ? this.#views : 0;
  }

  /**
   * Frees every block at once, in less time than one by one. No view is any good after it.
   *
   * @throws {@link MallocBackendError} `ERR_DISPOSED`, `ERR_OUT_OF_MEMORY`: the heap cannot be made anew, and the
   * region is disposed. With `debug` `ERR_USE_AFTER_FREE`
   */
  reset(): void {
    if (this.#whole.length === 0) throw this.#gone();
    this.check();
    this.#forget();
    if (this.#native.reset()) return;
    this.dispose();
    throw new MallocBackendError(
      'ERR_OUT_OF_MEMORY',
      'the region had no memory for a new heap, and is disposed; make another one once there is some',
    );
  }

  /**
   * Looks whether a freed block that is still held back was written to. Only with `debug` is there anything to find.
   *
   * @throws {@link MallocBackendError} `ERR_USE_AFTER_FREE`
   */
  check(): void {
    if (this.#watch === undefined || this.#whole.length === 0) return;
    this.#native.check();
    this.#throwDamage();
  }

  /**
   * Gives the memory and the address space back, once no job of Node's has it any more; every view is empty from now
   * on. Once more does nothing.
   */
  dispose(): void {
    this.#end('disposed');
  }

  /** {@link dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #end(how: 'disposed' | 'transferred'): void {
    if (this.#ended !== undefined) return;
    this.#ended = how;
    this.#forget();
    this.#native.dispose(this.#memory);
  }

  #forget(): void {
    this.#watch?.clear();
    this.#generation += 1;
    this.#bytesAllocated = 0;
    this.#views = 0;
  }

  /** The memory is not here any more: why. */
  #gone(): MallocBackendError {
    this.#end('transferred');
    return new MallocBackendError(
      'ERR_DISPOSED',
      this.#ended === 'transferred'
        ? "the region's ArrayBuffer was transferred, which ended the region; transfer a copy of a view's contents"
        : 'the region was disposed; allocate from one that is in use',
    );
  }

  /** After a call that may have found a block that was written to after it was freed. */
  #throwDamage(): void {
    if (this.#numbers[0] === NoOffset.Damaged) throw this.#damage();
  }

  #damage(): MallocBackendError {
    const [, offset, bytes, byte] = this.#numbers as unknown as [number, number, number, number];
    return this.#watch!.useAfterFree(offset, bytes, byte);
  }

  #refusal(answer: number, bytes: number): MallocBackendError {
    if (answer === NoOffset.Damaged) return this.#damage();
    if (answer === NoOffset.Limit) return this.#limitExceeded(bytes);
    return new MallocBackendError(
      'ERR_OUT_OF_MEMORY',
      `the region of ${this.bytes} bytes has no room for ${bytes} more: ${this.#bytesAllocated} are live, each block ` +
        `takes somewhat more than was asked for, and free ones may lie apart. Free some, or make a larger region.`,
    );
  }

  #notAllocated(value: unknown): MallocBackendError {
    const reason = BlockView.whyNot(value, this);
    return new MallocBackendError(
      reason === 'it is no Buffer' ? 'ERR_INVALID_ARGUMENT' : 'ERR_NOT_ALLOCATED',
      `${value instanceof Uint8Array ? 'the view' : shown(value)} cannot be freed here: ${reason}; give what ` +
        `allocate() of this region returned.${this.#watch?.story(value) ?? ''}`,
    );
  }
}
