// Where a region's blocks were freed, for its debug mode: the native side finds the damage.

import { MallocBackendError } from '../errors.js';

interface Trace {
  stack?: string;
}

function lines({ stack = '' }: Trace): string {
  return stack.replace(/^.*\n/, '');
}

export class Watch {
  readonly #byView = new WeakMap<object, Trace>();
  /** Of blocks that may be held back, by offset. */
  readonly #byOffset = new Map<number, Trace>();

  freed(view: object, offset: number, below: Function): void {
    const trace: Trace = {};
    Error.captureStackTrace(trace, below);
    this.#byView.set(view, trace);
    this.#byOffset.set(offset, trace);
  }

  /** Another block begins there. */
  allocated(offset: number): void {
    this.#byOffset.delete(offset);
  }

  /** Forgets all blocks. */
  clear(): void {
    this.#byOffset.clear();
  }

  /** Where a view was freed. */
  story(view: unknown): string {
    const trace = typeof view === 'object' && view !== null ? this.#byView.get(view) : undefined;
    return trace === undefined ? '' : `\nIt was freed here:\n${lines(trace)}`;
  }

  useAfterFree(offset: number, bytes: number, byte: number): MallocBackendError {
    return new MallocBackendError(
      'ERR_USE_AFTER_FREE',
      `byte ${byte} of a block of ${bytes} bytes at offset ${offset} was written to after the block was freed; ` +
        `look for a view that is kept longer than its block.\nIt was freed here:\n` +
        lines(this.#byOffset.get(offset) ?? {}),
    );
  }
}
