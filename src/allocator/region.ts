import type { NativeRegion } from '../native/binding.js';
import { type Addon, binding } from '../native/loader.js';
import { MallocBackendError, shown } from '../errors.js';
import { namesOf, requireOptions } from '../options.js';
import { checkAlignment, checkBytes, flag } from './arguments.js';
import { BlockView } from './view.js';
import { Watch } from './watch.js';

/** Options of `Allocator.region()`. */
export interface RegionOptions {
  /**
   * Bytes of address space to reserve, rounded up to a multiple of 2 MiB. At most `buffer.constants.MAX_LENGTH`. The
   * region uses physical memory only for the parts to which you write.
   */
  bytes: number;
  /**
   * Finds writes to freed blocks. The region fills freed blocks with 0xdb and holds them back, up to an eighth of the
   * region. Errors say where a block was freed. Each block costs microseconds more. Default: false.
   *
   * A held-back block counts in the allocator and against its limits, but not in the region. The region frees the block
   * when newer freed blocks take its place, when the region needs the memory for a new block, or at `reset` and
   * `dispose`.
   */
  debug?: boolean;
}

export const REGION_OPTIONS = namesOf<RegionOptions>({ bytes: true, debug: true });

const BLOCK_OPTIONS = namesOf<{ zero?: boolean; alignment?: number }>({ zero: true, alignment: true });

/** A Buffer on a block of a region. `using` frees the block. */
export type RegionView = Buffer & Disposable;

/** The addon's numbers instead of an offset. The first region's constructor sets them. */
let NoOffset!: Addon['NoOffset'];

/**
 * A heap in one ArrayBuffer.
 *
 * Allocating a block costs a fraction of allocating a Buffer. In return, `free` does not make a view empty: a freed view
 * still shows the memory, and a newer block may use this memory. A write through a freed view can damage the contents of
 * that block. It cannot damage the heap, whose data structures lie outside the ArrayBuffer. The option `debug` finds such
 * writes.
 *
 * A region belongs to the thread that created it. If you do not dispose a region, the garbage collector collects it
 * together with its last view. If you transfer the ArrayBuffer, the region ends. The memory, with the contents of all
 * live blocks, then belongs to the new ArrayBuffer. It counts in the allocator until the new ArrayBuffer is collected, in
 * any thread.
 */
export class Region implements Disposable {
  /** The reserved address space in bytes. */
  readonly bytes: number;
  readonly #native: NativeRegion;
  /** Arguments and results of the native functions. */
  readonly #numbers: Float64Array;
  readonly #memory: ArrayBuffer;
  /** A view on the whole memory. Its length is 0 after a detach. Reading it costs less than reading the ArrayBuffer's. */
  readonly #whole: Uint8Array;
  readonly #limitExceeded: (more: number) => MallocBackendError;
  readonly #watch: Watch | undefined;
  /** Each `reset` adds 1. A view with a lower number was freed by a `reset`. */
  #generation = 0;
  #bytesAllocated = 0;
  #views = 0;
  #ended: 'disposed' | 'transferred' | undefined;

  /** @internal Call `allocator.region()` to make a region. */
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
   * Allocates a block and returns a view on it. Its contents are undefined unless `zero` is set.
   *
   * @param options - The same as for `Allocator.allocate`. `alignment` applies to the address, not to the offset.
   * @throws {@link MallocBackendError} `ERR_OUT_OF_MEMORY` if the region has no room. `ERR_LIMIT_EXCEEDED`.
   * `ERR_DISPOSED`, also if the ArrayBuffer was transferred. `ERR_INVALID_ARGUMENT`. With `debug`, `ERR_USE_AFTER_FREE`
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
   * Frees the block of a view. The view does not become empty: see {@link Region}.
   *
   * @throws {@link MallocBackendError} `ERR_NOT_ALLOCATED` if the view was freed before, or belongs to another region, or
   * is a view on a view or a plain Buffer. `ERR_DISPOSED`, `ERR_INVALID_ARGUMENT`. With `debug`, `ERR_USE_AFTER_FREE` if
   * the region finds a write to another freed block
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

  /** Whether the view has a live block of this region. */
  owns(view: unknown): boolean {
    return this.#whole.length > 0 && BlockView.isLive(view, this, this.#generation);
  }

  /** Requested bytes of all live blocks. */
  get bytesAllocated(): number {
    return this.#whole.length > 0 ? this.#bytesAllocated : 0;
  }

  /** Number of live views. */
  get views(): number {
    return this.#whole.length > 0 ? this.#views : 0;
  }

  /**
   * Frees all blocks at once, which is faster than freeing each block. Do not use older views afterwards.
   *
   * @throws {@link MallocBackendError} `ERR_DISPOSED`. `ERR_OUT_OF_MEMORY` if the region cannot make a new heap; then the
   * region is disposed. With `debug`, `ERR_USE_AFTER_FREE`
   */
  reset(): void {
    if (this.#whole.length === 0) throw this.#gone();
    this.check();
    this.#forget();
    if (this.#native.reset()) return;
    this.dispose();
    throw new MallocBackendError(
      'ERR_OUT_OF_MEMORY',
      'the region got no memory for a new heap, and was disposed; make another region when memory is free',
    );
  }

  /**
   * Checks all held-back blocks for writes. Without `debug`, the function does nothing.
   *
   * @throws {@link MallocBackendError} `ERR_USE_AFTER_FREE`
   */
  check(): void {
    if (this.#watch === undefined || this.#whole.length === 0) return;
    this.#native.check();
    this.#throwDamage();
  }

  /**
   * Ends the region: every view is empty from now on. The memory and the address space return to the system when no job
   * of Node uses them any more. A second call does nothing.
   */
  dispose(): void {
    this.#end('disposed');
  }

  /** Calls {@link dispose}, for `using`. */
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

  /** The error that says why the region no longer has its memory. */
  #gone(): MallocBackendError {
    this.#end('transferred');
    return new MallocBackendError(
      'ERR_DISPOSED',
      this.#ended === 'transferred'
        ? "the region's ArrayBuffer was transferred, which ended the region; transfer a copy of a view's contents"
        : 'the region was disposed; use another region',
    );
  }

  /** Throws if the last native call found a write to a freed block. */
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
      `the region of ${this.bytes} bytes has no room for ${bytes} more bytes: ${this.#bytesAllocated} bytes are live, a ` +
        `block needs more than the requested bytes, and free blocks may be apart; free something, or make a larger region`,
    );
  }

  #notAllocated(value: unknown): MallocBackendError {
    const reason = BlockView.whyNot(value, this);
    return new MallocBackendError(
      reason === 'it is not a Buffer' ? 'ERR_INVALID_ARGUMENT' : 'ERR_NOT_ALLOCATED',
      `${value instanceof Uint8Array ? 'the view' : shown(value)} cannot be freed here: ${reason}; pass a view that ` +
        `allocate() of this region returned.${this.#watch?.story(value) ?? ''}`,
    );
  }
}
