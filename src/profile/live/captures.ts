// Profiles on demand, of a process that runs on. Whoever asks while another one's profile is made waits.

import { MallocBackendError, invalidArgument } from '../../errors.js';

/** What a profiler can do. */
export interface Profiler {
  /** Whether a profile is being made. */
  readonly isRunning: boolean;
  start(interval?: number): void;
  snapshot(): Promise<Uint8Array>;
  /**
   * Notes what the running profile has. The function makes a profile of what has changed since. Its promise rejects with
   * `ERR_NO_PROFILE` if that profile is not running any more.
   */
  mark(): Promise<() => Promise<Uint8Array>>;
  /** Stops at once. */
  stop(): Promise<Uint8Array>;
}

export interface Asked {
  /** How long. Without it: what a running profile has now. */
  seconds: number | undefined;
  /** The mean distance of two samples in bytes, for a profile that is not running yet. */
  interval?: number | undefined;
  /** Aborted when nobody wants the profile any more. */
  signal: AbortSignal;
  /** Told when the profile has to wait, and when it begins. */
  tell?: (state: 'waiting' | 'profiling') => void;
}

export const MOST_SECONDS = 3600;

export class Captures {
  readonly #profiler: Profiler;
  /** Ends when the last one that has asked has its profile. */
  #last: Promise<void> = Promise.resolve();
  #isOwn = false;

  constructor(profiler: Profiler) {
    this.#profiler = profiler;
  }

  /** Whether the program itself has started a profile. */
  get isProgram(): boolean {
    return this.#profiler.isRunning && !this.#isOwn;
  }

  /**
   * A profile, as bytes in pprof format: of what is allocated from now on, for so many seconds. If the program has started a
   * profile of its own, it runs on, and the result is what changed in it.
   */
  async capture(asked: Asked): Promise<Uint8Array> {
    if (this.isProgram) return this.#ofProgram(asked);
    const turn = this.#last;
    let isDone!: () => void;
    this.#last = new Promise((resolve) => (isDone = resolve));
    if (this.#isOwn) asked.tell?.('waiting');
    try {
      await unlessAborted(turn, asked.signal);
      // The program may have started one while this one waited.
      if (this.isProgram) return await this.#ofProgram(asked);
      return await this.#fresh(asked);
    } finally {
      // Who gives up early leaves the turn to the next one, and not before it comes.
      void turn.then(isDone);
    }
  }

  async #fresh({ seconds = DEFAULT_SECONDS, interval, signal, tell }: Asked): Promise<Uint8Array> {
    this.#profiler.start(interval);
    this.#isOwn = true;
    try {
      tell?.('profiling');
      await elapsed(seconds, signal);
    } catch (error) {
      if (this.#profiler.isRunning) await this.#end();
      this.#isOwn = false;
      throw error;
    }
    if (this.#profiler.isRunning) return this.#end();
    this.#isOwn = false;
    throw stopped();
  }

  /** Ends the profile at once. Its file takes a while, in which the program may start a profile of its own. */
  #end(): Promise<Uint8Array> {
    const profile = this.#profiler.stop();
    this.#isOwn = false;
    return profile;
  }

  async #ofProgram({ seconds, interval, signal, tell }: Asked): Promise<Uint8Array> {
    if (interval !== undefined)
      throw invalidArgument(
        'the program has started a profile itself, with an interval of its own; ask without an interval',
      );
    if (seconds === undefined) return this.#profiler.snapshot();
    const change = await this.#profiler.mark();
    tell?.('profiling');
    await elapsed(seconds, signal);
    try {
      return await change();
    } catch (error) {
      throw (error as { code?: string }).code === 'ERR_NO_PROFILE' ? stopped() : error;
    }
  }
}

export const DEFAULT_SECONDS = 30;

function stopped(): MallocBackendError {
  return new MallocBackendError(
    'ERR_PROFILE_SOCKET',
    'the program stopped the profile while it was being made; ask again',
  );
}

async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  let end!: () => void;
  const aborted = new Promise<never>((_, reject) => (end = () => reject(signal.reason as Error)));
  signal.addEventListener('abort', end);
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', end);
  }
}

function elapsed(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', end);
      resolve();
    }, seconds * 1000);
    // A process that is done ends, and with it the profile.
    timer.unref();
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}
