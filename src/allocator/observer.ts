/** An event of an allocator, for its `log`. Sizes are in bytes. */
export type AllocatorEvent =
  | { type: 'allocate'; bytes: number }
  | { type: 'reallocate'; bytes: number; before: number }
  | { type: 'free'; bytes: number }
  /** The garbage collector collected a buffer that was not freed. Its memory is freed, unless it was transferred. */
  | { type: 'collect'; bytes: number }
  /** An allocation was refused because of a limit. */
  | { type: 'limit'; bytes: number; limit: number }
  /** Something wrote to a freed block while the block was in the quarantine. */
  | { type: 'damage'; blocks: number };

/** A live buffer, from `leaks()`. */
export interface Leak {
  bytes: number;
  /** The stack of the allocation: `Error.stack` without its first line. Only with the option `trace`. */
  stack?: string;
}

/** Records the stacks and events of an allocator's buffers. Only for allocators with the option `log` or `trace`. */
export class Observer {
  readonly #log: ((event: AllocatorEvent) => void) | undefined;
  /** The stacks by slot. The stack of a collected buffer stays until its slot is used again. */
  readonly #stacks: Map<number, { stack?: string }> | undefined;
  readonly #collected: FinalizationRegistry<number> | undefined;

  private constructor(log: ((event: AllocatorEvent) => void) | undefined, trace: boolean) {
    this.#log = log;
    if (trace) this.#stacks = new Map();
    if (log !== undefined) {
      this.#collected = new FinalizationRegistry((bytes) => log({ type: 'collect', bytes }));
    }
  }

  static of(log: ((event: AllocatorEvent) => void) | undefined, trace: boolean): Observer | undefined {
    return log === undefined && !trace ? undefined : new Observer(log, trace);
  }

  /** Records a new buffer. The stack omits the function `below` and everything that `below` called. */
  made(buffer: Uint8Array, slot: number, below: Function): void {
    if (this.#stacks !== undefined) {
      // V8 makes the text only when `stack` is read. Most buffers are freed before.
      const trace: { stack?: string } = {};
      Error.captureStackTrace(trace, below);
      this.#stacks.set(slot, trace);
    }
    this.#collected?.register(buffer, buffer.byteLength, buffer);
  }

  /** Forgets a freed buffer. */
  gone(buffer: Uint8Array, slot: number): void {
    this.#stacks?.delete(slot);
    this.#collected?.unregister(buffer);
  }

  emit(event: AllocatorEvent): void {
    this.#log?.(event);
  }

  /** The stack of the allocation of the buffer in that slot. */
  stack(slot: number): string | undefined {
    return this.#stacks?.get(slot)?.stack?.replace(/^.*\n/, '');
  }
}
