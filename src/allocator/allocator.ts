import { constants } from 'node:buffer';
import {
  type BackendStats,
  type MemoryAllocatorBackend,
  preferredBackend,
  parseBackend,
  whyNotAvailable,
} from '../backend.js';
import type { NativeAllocator } from '../native/binding.js';
import { type Addon, binding } from '../native/loader.js';
import { invalidArgument, MallocBackendError } from '../errors.js';
import { checkOptions, namesOf, requireOptions } from '../options.js';
import { bytesOr, checkAlignment, checkBytes, flag, optionalFunction, optionalString } from './arguments.js';
import { type AllocatedBuffer, FREED, HELD, OwnedBuffer } from './buffer.js';
import { Hold, Holds, checkPromise } from './hold.js';
import { type Leak, Observer } from './observer.js';
import {
  disposed,
  externalUnsupported,
  heldBuffer,
  limitExceeded,
  noRegion,
  notAllocated,
  outOfMemory,
} from './refusals.js';
import { REGION_OPTIONS, Region, type RegionOptions } from './region.js';
import {
  ALLOCATE_OPTIONS,
  type AllocateOptions,
  type AllocatorOptions,
  ALLOCATOR_OPTIONS,
  mayCopy,
} from './options.js';

const REALLOCATE_OPTIONS = namesOf<{ zero?: boolean }>({ zero: true });
const FREE_OPTIONS = namesOf<{ after: unknown }>({ after: true });
const HOLD_OPTIONS = namesOf<{ until: unknown }>({ until: true });

/** {@link BackendStats} and two figures of this allocator. */
export interface AllocatorStats extends BackendStats {
  /** Bytes of the freed blocks in this allocator's quarantine. */
  quarantined: number;
  /** Number of blocks to which something wrote while they were in the quarantine. */
  damaged: number;
}

/** Enums of the addon. The first allocator's constructor sets them. */
let Refused!: Addon['Refused'];
let AllocateFlag!: Addon['AllocateFlag'];

/** Only this module has this symbol. So JavaScript code cannot call the constructor. */
const MAKE = Symbol('make');

/**
 * Makes Buffers whose memory comes from a backend. You free each Buffer yourself.
 *
 * An allocator belongs to the thread that created it. After `dispose()`, live buffers stay usable until you free them or
 * the garbage collector collects them.
 */
export class Allocator implements Disposable {
  readonly backend: MemoryAllocatorBackend;
  readonly name: string | undefined;
  /** The limit in bytes. `Infinity` means no limit. */
  readonly limit: number;
  readonly #native: NativeAllocator;
  readonly #parent: Allocator | undefined;
  readonly #options: AllocatorOptions;
  readonly #observer: Observer | undefined;
  /** Arguments and results of the native functions. */
  readonly #numbers = new Float64Array(3);
  /** The buffers with at least one hold. */
  #holds: Holds | undefined;
  /** Number of damaged blocks that the log has reported. */
  #damaged = 0;
  #disposed = false;

  private constructor(
    make: typeof MAKE,
    backend: MemoryAllocatorBackend,
    options: AllocatorOptions,
    parent: Allocator | undefined,
  ) {
    if (make !== MAKE) {
      throw invalidArgument(
        'new Allocator() is not possible; use Allocator.create(backend, options), or child() of another allocator',
      );
    }
    requireOptions(options, ALLOCATOR_OPTIONS);
    this.backend = backend;
    this.name = optionalString(options.name, 'name');
    this.limit = bytesOr(options.limit, Infinity, 'limit');
    const quarantine = bytesOr(options.quarantine, 0, 'quarantine');
    this.#observer = Observer.of(optionalFunction(options.log, 'log'), flag(options.trace, 'trace'));
    this.#options = options;
    this.#parent = parent;
    ({ Refused, AllocateFlag } = binding());
    this.#native =
      parent === undefined
        ? binding().createAllocator(backend, this.limit, quarantine, this.#numbers)
        : parent.#native.child(this.limit, quarantine, this.#numbers);
  }

  /**
   * Creates an allocator on a backend.
   *
   * @param backend - Default: {@link preferredBackend}.
   * @throws {@link MallocBackendError} `ERR_UNKNOWN_BACKEND`, `ERR_BACKEND_UNAVAILABLE`, `ERR_BINARY_MISSING`,
   * `ERR_INVALID_ARGUMENT`
   */
  static create(
    backend: MemoryAllocatorBackend = preferredBackend(),
    options: AllocatorOptions = {},
  ): Allocator {
    const parsed = parseBackend(backend);
    const missing = whyNotAvailable(parsed);
    if (missing !== undefined) {
      throw new MallocBackendError(
        'ERR_BACKEND_UNAVAILABLE',
        `${parsed} cannot allocate here: ${missing}; backends() lists the backends that can`,
      );
    }
    return new Allocator(MAKE, parsed, options, undefined);
  }

  /**
   * Returns the live bytes and live buffers of all allocators on a backend, in all threads of this process. The bytes
   * include the live blocks of regions.
   *
   * @throws {@link MallocBackendError} `ERR_UNKNOWN_BACKEND`, `ERR_BINARY_MISSING`
   */
  static everywhere(backend: MemoryAllocatorBackend): { bytesAllocated: number; buffers: number } {
    const { bytes, buffers } = binding().allocatedEverywhere(parseBackend(backend));
    return { bytesAllocated: bytes, buffers };
  }

  /**
   * Allocates a buffer of `bytes` bytes. Its contents are undefined unless `zero` is set.
   *
   * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`, `ERR_LIMIT_EXCEEDED`, `ERR_OUT_OF_MEMORY`,
   * `ERR_DISPOSED`, `ERR_EXTERNAL_BUFFERS_UNSUPPORTED`. An error changes nothing in the allocator.
   */
  allocate(bytes: number, options?: AllocateOptions): AllocatedBuffer {
    checkBytes(bytes);
    if (!this.#open) throw disposed(this);
    let alignment = 1;
    let flags = 0;
    if (options !== undefined) {
      requireOptions(options, ALLOCATE_OPTIONS);
      if (options.alignment !== undefined) checkAlignment((alignment = options.alignment));
      flags =
        (flag(options.zero, 'zero') ? AllocateFlag.Zero : 0) |
        (mayCopy(options.copy) ? AllocateFlag.Copy : 0);
    }
    if (bytes > constants.MAX_LENGTH) throw outOfMemory(this, bytes);
    this.#numbers[0] = bytes;
    this.#numbers[1] = alignment;
    this.#numbers[2] = flags;
    const memory = this.#native.allocate();
    const answer = this.#numbers[0];
    if (memory === undefined) throw this.#refusal(answer, bytes, bytes);
    const buffer = new OwnedBuffer(memory, this, answer) as unknown as AllocatedBuffer;
    if (this.#observer !== undefined) {
      this.#observer.made(buffer, answer, this.allocate);
      this.#observer.emit({ type: 'allocate', bytes });
    }
    return buffer;
  }

  /**
   * Replaces `buffer` by a buffer of `bytes` bytes with the same alignment. The new buffer has the old contents, as far
   * as they fit. New bytes are undefined unless `zero` is set. `buffer` is then empty. After an error, `buffer` is
   * unchanged.
   *
   * @throws {@link MallocBackendError} `ERR_NOT_ALLOCATED`, `ERR_BUFFER_HELD` and the errors of {@link allocate}
   */
  reallocate(buffer: Uint8Array, bytes: number, options?: { zero?: boolean }): AllocatedBuffer {
    checkBytes(bytes);
    checkOptions(options, REALLOCATE_OPTIONS);
    const zero = flag(options?.zero, 'zero') ? AllocateFlag.Zero : 0;
    if (!this.#open) throw disposed(this);
    const slot = OwnedBuffer.slotOf(buffer, this);
    if (slot < 0) throw slot === HELD ? heldBuffer(buffer) : notAllocated(buffer, this, 'resized');
    const before = buffer.byteLength;
    if (bytes > constants.MAX_LENGTH) throw outOfMemory(this, bytes);
    this.#numbers[0] = slot;
    this.#numbers[1] = bytes;
    this.#numbers[2] = zero;
    const memory = this.#native.reallocate(OwnedBuffer.memoryOf(buffer));
    const answer = this.#numbers[0];
    if (memory === undefined) {
      if (answer === Refused.NotAllocated) throw notAllocated(buffer, this, 'resized');
      throw this.#refusal(answer, bytes, bytes - before);
    }
    OwnedBuffer.mark(buffer, FREED);
    const resized = new OwnedBuffer(memory, this, answer) as unknown as AllocatedBuffer;
    if (this.#observer !== undefined) {
      this.#observer.gone(buffer, slot);
      this.#observer.made(resized, answer, this.reallocate);
      this.#observer.emit({ type: 'reallocate', bytes, before });
    }
    return resized;
  }

  /**
   * Frees the buffer. The buffer and every view on it are then empty. If the buffer has holds ({@link hold}), its memory
   * is freed when the last hold ends. Until then its contents stay unchanged, and its bytes count.
   *
   * The allocator cannot know whether a job of Node still reads the buffer (a response, `fs`, `zlib`, `crypto`). So hold
   * the buffer for the job, wait for the job, or pass the job's promise as `after`.
   *
   * @throws {@link MallocBackendError} `ERR_NOT_ALLOCATED` if the buffer was freed or transferred before, or belongs to
   * another allocator, or is a view or a plain Buffer. `ERR_INVALID_ARGUMENT`
   */
  free(buffer: Uint8Array): void;
  /**
   * Frees the buffer when the promise `after` has settled and no hold is left. Until then the contents stay unchanged.
   *
   * @returns A promise that resolves when the buffer is freed, also if `after` is rejected.
   * @throws {@link MallocBackendError} The same errors as `free(buffer)`, before the function returns.
   */
  free(buffer: Uint8Array, options: { after: PromiseLike<unknown> }): Promise<void>;
  free(buffer: Uint8Array, options?: { after: PromiseLike<unknown> }): void | Promise<void> {
    const slot = OwnedBuffer.slotOf(buffer, this);
    if (slot >= 0 && options === undefined) return this.#free(buffer, slot);
    if (slot < 0 && slot !== HELD) throw notAllocated(buffer, this, 'freed');
    if (options === undefined) return this.#holds!.claim(buffer);
    requireOptions(options, FREE_OPTIONS);
    const { after } = options;
    checkPromise(after, 'after');
    const holds = this.#hold(buffer, 'freed');
    holds.releaseAfter(after, buffer);
    return holds.claimed(buffer);
  }

  /**
   * Holds the buffer. Its memory stays unchanged until you release the hold, even if other code frees the buffer. Use a
   * hold to read a buffer that a cache may evict and free. A buffer can have any number of holds. Its bytes count until
   * you release the last hold.
   *
   * @returns The hold. Release it with `release()` or `using`. If the garbage collector collects the hold together with
   * its buffer, no release is needed.
   * @throws {@link MallocBackendError} `ERR_NOT_ALLOCATED` in the same cases as {@link free}, and also for a buffer that
   * was freed but still has holds. `ERR_INVALID_ARGUMENT`
   */
  hold(buffer: Uint8Array): Hold;
  /**
   * Holds the buffer until the promise `until` is fulfilled or rejected. For a response, call
   * `hold(buffer, { until: finished(response) })` before `response.end(buffer)`, with `finished` of
   * `node:stream/promises`.
   *
   * @throws {@link MallocBackendError} The same errors as `hold(buffer)`. A rejection of `until` is no error here.
   */
  hold(buffer: Uint8Array, options: { until: PromiseLike<unknown> }): void;
  hold(buffer: Uint8Array, options?: { until: PromiseLike<unknown> }): Hold | void {
    if (options !== undefined) {
      requireOptions(options, HOLD_OPTIONS);
      checkPromise(options.until, 'until');
    }
    const holds = this.#hold(buffer, 'held');
    if (options === undefined) return new Hold(() => holds.release(buffer));
    holds.releaseAfter(options.until, buffer);
  }

  /** Whether the buffer is a live buffer of this allocator. A child's buffers belong to the child only. */
  owns(buffer: unknown): boolean {
    let slot = OwnedBuffer.slotOf(buffer, this);
    if (slot === HELD) slot = this.#holds!.slotOf(buffer as object);
    return slot >= 0 && this.#native.holds(OwnedBuffer.memoryOf(buffer as object), slot);
  }

  /**
   * Bytes in live buffers and in live blocks of regions, including the children's. Blocks that a region in debug mode
   * holds back count too.
   */
  get bytesAllocated(): number {
    return this.#native.stats()[0]!;
  }

  /** The highest value of {@link bytesAllocated} so far. */
  get maxMemory(): number {
    return this.#native.stats()[1]!;
  }

  /** Bytes of all buffers ever allocated. A reallocation counts only the bytes that it added. */
  get totalBytesAllocated(): number {
    return this.#native.stats()[2]!;
  }

  /** Number of allocations and reallocations so far. */
  get allocations(): number {
    return this.#native.stats()[3]!;
  }

  /** Number of live buffers, including the children's. */
  get buffers(): number {
    return this.#native.stats()[4]!;
  }

  /**
   * The backend's own stats, for the whole process. They include the other allocators on the same backend. For
   * `default`, they include everything that uses `malloc`.
   */
  stats(): AllocatorStats {
    const [, , , , , quarantined = 0, damaged = 0] = this.#native.stats();
    return { ...binding().backendStats(this.backend), quarantined, damaged };
  }

  /**
   * Empties the quarantine and the cache, and makes the backend return its free memory to the system. The call blocks
   * for some milliseconds per GiB.
   *
   * @returns The number of bytes by which the process's physical memory (RSS) fell; at least 0.
   * @throws {@link MallocBackendError} `ERR_CANNOT_RELEASE` if the backend has no function that releases memory.
   * snmalloc has none, and returns memory by itself.
   */
  release(): number {
    const before = process.memoryUsage.rss();
    this.#native.flush();
    if (this.#observer !== undefined) this.#reportDamage();
    if (!binding().backendRelease(this.backend)) {
      throw new MallocBackendError(
        'ERR_CANNOT_RELEASE',
        `${this.backend} has no function that releases memory to the system; choose another backend if you need this`,
      );
    }
    return Math.max(0, before - process.memoryUsage.rss());
  }

  /**
   * Creates a child allocator on the same backend, for example for a tenant or a request. The child's bytes count in
   * the child and in this allocator, so both limits apply.
   *
   * @param options - The child inherits every option that you do not set, except `name` and `limit`.
   * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`, `ERR_DISPOSED`
   */
  child(options: AllocatorOptions = {}): Allocator {
    requireOptions(options, ALLOCATOR_OPTIONS);
    if (!this.#open) throw disposed(this);
    const { name: _name, limit: _limit, ...inherited } = this.#options;
    return new Allocator(MAKE, this.backend, { ...inherited, ...options }, this);
  }

  /**
   * Creates a region: one ArrayBuffer over reserved address space, with a heap of the backend inside. Its live bytes
   * count in {@link bytesAllocated} of this allocator and against the limits. Regions need jemalloc, on Linux or macOS.
   *
   * @throws {@link MallocBackendError} `ERR_BACKEND_UNAVAILABLE` on another backend or on Windows. `ERR_OUT_OF_MEMORY` if
   * the system does not provide the address space. `ERR_INVALID_ARGUMENT`, `ERR_DISPOSED`,
   * `ERR_EXTERNAL_BUFFERS_UNSUPPORTED`
   */
  region(options: RegionOptions): Region {
    requireOptions(options, REGION_OPTIONS);
    checkBytes(options.bytes);
    const debug = flag(options.debug, 'debug');
    if (!this.#open) throw disposed(this);
    const numbers = new Float64Array(4);
    const native =
      options.bytes > constants.MAX_LENGTH
        ? Refused.OutOfMemory
        : this.#native.region(options.bytes, debug ? 1 : 0, numbers);
    if (native === Refused.Unsupported) throw noRegion(this);
    if (typeof native === 'number') throw this.#refusal(native, options.bytes, 0);
    return new Region(native, numbers, (more) => this.#refusal(Refused.Limit, more, more), debug);
  }

  /** The live buffers of this allocator, without the children's. With `trace`, each entry has its stack. */
  leaks(): Leak[] {
    const live = this.#native.live();
    const leaks: Leak[] = [];
    for (let index = 0; index < live.length; index += 2) {
      const stack = this.#observer?.stack(live[index]!);
      leaks.push({ bytes: live[index + 1]!, ...(stack === undefined ? {} : { stack }) });
    }
    return leaks;
  }

  /**
   * Ends this allocator and its children: they allocate no more buffers, and their quarantines are emptied. Live buffers
   * stay valid until you free them or the garbage collector collects them. A second call does nothing.
   */
  dispose(): void {
    this.#disposed = true;
    this.#native.end();
    if (this.#observer !== undefined) this.#reportDamage();
  }

  /** Calls {@link dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  get #open(): boolean {
    return !this.#disposed && (this.#parent === undefined || this.#parent.#open);
  }

  /** Adds a hold. `what` is the verb in the error message. */
  #hold(buffer: Uint8Array, what: string): Holds {
    const slot = OwnedBuffer.slotOf(buffer, this);
    const live = slot === HELD || (slot >= 0 && this.#native.holds(OwnedBuffer.memoryOf(buffer), slot));
    if (!live) throw notAllocated(buffer, this, what);
    const holds = (this.#holds ??= new Holds((held, where) => this.#free(held, where)));
    holds.add(buffer, slot);
    return holds;
  }

  #free(buffer: Uint8Array, slot: number): void {
    const bytes = buffer.byteLength;
    this.#numbers[0] = slot;
    this.#native.free(OwnedBuffer.memoryOf(buffer));
    if (this.#numbers[0] !== Refused.No) throw notAllocated(buffer, this, 'freed');
    OwnedBuffer.mark(buffer, FREED);
    if (this.#observer !== undefined) {
      this.#observer.gone(buffer, slot);
      this.#observer.emit({ type: 'free', bytes });
      this.#reportDamage();
    }
  }

  #reportDamage(): void {
    const blocks = this.#native.stats()[6]! - this.#damaged;
    this.#damaged += blocks;
    if (blocks > 0) this.#observer?.emit({ type: 'damage', blocks });
  }

  /** The nearest allocator whose limit does not allow `more` bytes: this one or one of its parents. */
  #full(more: number): Allocator {
    const full = this.bytesAllocated + more > this.limit;
    return full || this.#parent === undefined ? this : this.#parent.#full(more);
  }

  /** The error for a refusal of the native side. `more` is the number of live bytes that the request would add. */
  #refusal(refused: number, bytes: number, more: number): MallocBackendError {
    if (refused === Refused.External) return externalUnsupported();
    if (refused !== Refused.Limit) return outOfMemory(this, bytes);
    const full = this.#full(more);
    this.#observer?.emit({ type: 'limit', bytes, limit: full.limit });
    return limitExceeded(full, bytes);
  }
}
