// Records where a region's blocks were freed, for the debug mode. The native side finds the writes to freed blocks.

import { MallocBackendError } from '../errors.js';

interface Trace {
  stack?: string;
}

function lines({ stack = '' }: Trace): string {
  return stack.replace(/^.*\n/, '');
}

export class Watch {
  readonly #byView = new WeakMap<object, Trace>();
  /** The stacks of held-back blocks, by offset. */
  readonly #byOffset = new Map<number, Trace>();

  freed(view: object, offset: number, below: Function): void {
    const trace: Trace = {};
    Error.captureStackTrace(trace, below);
    this.#byView.set(view, trace);
    this.#byOffset.set(offset, trace);
  }

  /** Forgets the stack at the offset, because a new block begins there. */
  allocated(offset: number): void {
    this.#byOffset.delete(offset);
  }

  /** Forgets all blocks. */
  clear(): void {
    this.#byOffset.clear();
  }

  /** The part of a message that says where the view was freed. */
  story(view: unknown): string {
    const trace = typeof view === 'object' && view !== null ? this.#byView.get(view) : undefined;
    return trace === undefined ? '' : `\nThe block was freed here:\n${lines(trace)}`;
  }

  useAfterFree(offset: number, bytes: number, byte: number): MallocBackendError {
    return new MallocBackendError(
      'ERR_USE_AFTER_FREE',
      `byte ${byte} of a block of ${bytes} bytes at offset ${offset} was written to after the block was freed; ` +
        `find the view that lives longer than its block.\nThe block was freed here:\n` +
        lines(this.#byOffset.get(offset) ?? {}),
    );
  }
}
