// Profiles on demand, of a process that runs on. Whoever asks while another one's profile is made waits.

import { MallocBackendError } from '../../errors.js';
import { diff } from '../diff.js';

/** What a profiler can do. */
export interface Profiler {
  /** Whether a profile is being made. */
  readonly isRunning: boolean;
  start(): void;
  snapshot(): Promise<Uint8Array>;
  /** Stops at once. */
  stop(): Promise<Uint8Array>;
}

export interface Asked {
  /** How long. Without it: what a running profile has now. */
  seconds: number | undefined;
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
  async capture({ seconds, signal, tell }: Asked): Promise<Uint8Array> {
    if (this.isProgram) return this.#ofProgram(seconds, signal, tell);
    const turn = this.#last;
    let isDone!: () => void;
    this.#last = new Promise((resolve) => (isDone = resolve));
    if (this.#isOwn) tell?.('waiting');
    try {
      await turn;
      signal.throwIfAborted();
      // The program may have started one while this one waited.
      if (this.isProgram) return await this.#ofProgram(seconds, signal, tell);
      return await this.#fresh(seconds ?? DEFAULT_SECONDS, signal, tell);
    } finally {
      isDone();
    }
  }

  async #fresh(seconds: number, signal: AbortSignal, tell: Asked['tell']): Promise<Uint8Array> {
    this.#profiler.start();
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

  async #ofProgram(
    seconds: number | undefined,
    signal: AbortSignal,
    tell: Asked['tell'],
  ): Promise<Uint8Array> {
    const before = await this.#profiler.snapshot();
    if (seconds === undefined) return before;
    tell?.('profiling');
    await elapsed(seconds, signal);
    if (!this.#profiler.isRunning) throw stopped();
    return diff(before, await this.#profiler.snapshot());
  }
}

export const DEFAULT_SECONDS = 30;

function stopped(): MallocBackendError {
  return new MallocBackendError(
    'ERR_PROFILE_SOCKET',
    'the program stopped the profile while it was being made; ask again',
  );
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
