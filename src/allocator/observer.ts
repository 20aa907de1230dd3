/** What an allocator did, for its `log`. Sizes are in bytes. */
export type AllocatorEvent =
  | { type: 'allocate'; bytes: number }
  | { type: 'reallocate'; bytes: number; before: number }
  | { type: 'free'; bytes: number }
  /** A buffer that nobody freed was collected, and with it its memory, unless that was transferred. */
  | { type: 'collect'; bytes: number }
  /** What was refused because of a limit. */
  | { type: 'limit'; bytes: number; limit: number }
  /** A block that was written to while it was in quarantine: something used it after it was freed. */
  | { type: 'damage'; blocks: number };

/** A live buffer. */
export interface Leak {
  bytes: number;
  /** Where it was allocated, as `Error.stack` without its first line; with `trace` only. */
  stack?: string;
}

/** What is remembered of an allocator's buffers beyond what their memory needs: only where someone asked for it. */
export class Observer {
  readonly #log: ((event: AllocatorEvent) => void) | undefined;
  /** By slot. One whose buffer was collected stays until the slot is used again. */
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

  /** A new buffer. `below` is the function that the stack leaves out, and what it called. */
  made(buffer: Uint8Array, slot: number, below: Function): void {
    if (this.#stacks !== undefined) {
      // The text is made when someone asks for it: most buffers are freed before.
      const trace: { stack?: string } = {};
      Error.captureStackTrace(trace, below);
      this.#stacks.set(slot, trace);
    }
    this.#collected?.register(buffer, buffer.byteLength, buffer);
  }

  /** A buffer that is freed. */
  gone(buffer: Uint8Array, slot: number): void {
    this.#stacks?.delete(slot);
    this.#collected?.unregister(buffer);
  }

  emit(event: AllocatorEvent): void {
    this.#log?.(event);
  }

  /** Where the buffer in that slot was allocated. */
  stack(slot: number): string | undefined {
    return this.#stacks?.get(slot)?.stack?.replace(/^.*\n/, '');
  }
}
