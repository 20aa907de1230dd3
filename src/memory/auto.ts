import { EventEmitter } from 'node:events';
import { performance } from 'node:perf_hooks';
import { linuxBinding } from '../native/loader.js';
import { MallocBackendError, shown } from '../errors.js';
import { namesOf, requireOptions } from '../options.js';
import { memoryCgroups, nearest } from './cgroup.js';
import { type Bounds, type ReleaseReason, begin, decide } from './decide.js';
import { ownMalloc } from './own.js';
import { type Release, releaseMemory, requireRelease } from './release.js';

/** When to give memory back. */
export interface AutoReleaseOptions {
  /**
   * The service is idle when its event loop was busy for less than this share of the time, twice in a row; `false`:
   * never. It is released once, and again only after the loop was twice as busy. Default: 0.05.
   */
  idle?: number | false;
  /**
   * The cgroup's memory is near its limit from this share of it, page cache that was not used lately not counted;
   * `false`: never. It is released at once, again after the usage has fallen by 5 % of the limit and risen, and while
   * it does not fall, after pauses that grow. Default: 0.9. Without a limit it has no effect: see
   * {@link AutoRelease.cgroups}.
   */
  threshold?: number | false;
  /** Milliseconds between two looks. Default: 5000. */
  interval?: number;
  /** The folder of the cgroup to watch. Default: this process's own and those around it, of version 1 or 2. */
  cgroup?: string;
}

const OPTIONS = namesOf<AutoReleaseOptions>({ idle: true, threshold: true, interval: true, cgroup: true });

/** The events of {@link AutoRelease}. */
export interface AutoReleaseEvents {
  /** Memory was given back, and why. */
  release: [release: Release & { reason: ReleaseReason }];
  /** It could not, or the cgroup could not be read. Without a listener it is a warning of the process, once. */
  error: [error: MallocBackendError];
}

/** Gives memory back when it costs nobody anything, until it is stopped. See {@link autoRelease}. */
export class AutoRelease extends EventEmitter<AutoReleaseEvents> {
  /** The folders of the cgroups that are watched; empty where there are none. */
  readonly cgroups: readonly string[];
  readonly #bounds: Bounds;
  readonly #timer: NodeJS.Timeout;
  #state;
  #loop = performance.eventLoopUtilization();
  #looking = false;
  #stopped = false;
  #warned = false;

  /** @internal */
  constructor(bounds: Bounds, cgroups: readonly string[]) {
    super();
    this.cgroups = cgroups;
    this.#bounds = bounds;
    this.#state = begin(bounds.interval);
    this.#timer = setInterval(() => void this.#look(), bounds.interval);
    // The service ends when it has nothing else to do.
    this.#timer.unref();
  }

  /** Ends it; what is being given back still is, and no event follows. May be called again. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  /** {@link AutoRelease.stop}, for `using`. */
  [Symbol.dispose](): void {
    this.stop();
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const reason = await this.#decide();
      if (reason !== undefined && !this.#stopped) {
        const done = { ...(await releaseMemory()), reason };
        this.#tell(() => this.emit('release', done));
      }
    } catch (error) {
      this.#fail(asOurs(error));
    } finally {
      this.#looking = false;
    }
  }

  async #decide(): Promise<ReleaseReason | undefined> {
    const loop = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(loop, this.#loop);
    this.#loop = loop;
    const { usage, errors } = await nearest(this.#bounds.threshold === undefined ? [] : this.cgroups);
    for (const error of errors) this.#fail(error);
    // A cgroup of which nothing is known is none without a limit: what is remembered of it stays.
    const known = usage !== undefined || errors.length === 0;
    const bounds = known ? this.#bounds : { ...this.#bounds, threshold: undefined };
    const pressure = usage === undefined ? undefined : usage.used / usage.limit;
    const look = { now: performance.now(), utilization, pressure };
    const { state, release } = decide(this.#state, look, bounds);
    this.#state = state;
    return release;
  }

  /** What a listener throws is the process's to handle, as with every emitter, and is no rejection of the look. */
  #tell(event: () => void): void {
    process.nextTick(() => {
      if (!this.#stopped) event();
    });
  }

  /** The service is not to end of what was to help it: an `error` event that nobody listens to would. */
  #fail(error: MallocBackendError): void {
    this.#tell(() => {
      if (this.listenerCount('error') > 0) {
        this.emit('error', error);
      } else if (!this.#warned) {
        this.#warned = true;
        process.emitWarning(`autoRelease: ${error.message}`, { type: 'MallocBackendWarning' });
      }
    });
  }
}

/**
 * Gives this process's free memory back by itself, as {@link releaseMemory}: when the service is idle, and when its
 * cgroup's memory comes near its limit. It does not keep the process alive. In a worker, the worker's event loop is the
 * one that is looked at.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`; `ERR_CANNOT_RELEASE` and others as
 * {@link releaseMemory}. A cgroup that cannot be read is an `error` event, `ERR_CGROUP_UNREADABLE`, at each look.
 */
export function autoRelease(options: AutoReleaseOptions = {}): AutoRelease {
  requireOptions(options, OPTIONS);
  const { idle = 0.05, threshold = 0.9, interval = 5000, cgroup } = options;
  const bounds = {
    idle: share('idle', idle),
    threshold: share('threshold', threshold),
    interval,
  };
  if (typeof interval !== 'number' || !(interval >= 1 && interval <= 0x7fff_ffff)) {
    throw wrong(`interval must be milliseconds from 1 to ${0x7fff_ffff}, not ${shown(interval)}`);
  }
  if (bounds.idle === undefined && bounds.threshold === undefined) {
    throw wrong('idle and threshold are both false, so autoRelease would do nothing; omit one of them');
  }
  if (cgroup !== undefined && (typeof cgroup !== 'string' || cgroup === '')) {
    throw wrong(`cgroup must be the folder of a memory cgroup, not ${shown(cgroup)}`);
  }
  linuxBinding('releasing memory');
  requireRelease(ownMalloc());
  const cgroups = cgroup === undefined ? memoryCgroups() : [cgroup];
  if (bounds.idle === undefined && cgroups.length === 0) {
    throw wrong('idle is false and this process is in no memory cgroup, so autoRelease would do nothing');
  }
  return new AutoRelease(bounds, cgroups);
}

/** What is thrown and none of ours came out of the addon, while it gave memory back. */
function asOurs(error: unknown): MallocBackendError {
  if (error instanceof MallocBackendError) return error;
  return new MallocBackendError(
    'ERR_CANNOT_RELEASE',
    `cannot release memory: ${error instanceof Error ? error.message : shown(error)}; please report this error with the ` +
      'stack of its cause',
    { cause: error },
  );
}

function share(name: string, value: number | false): number | undefined {
  if (value === false) return undefined;
  if (typeof value === 'number' && value > 0 && value <= 1) return value;
  throw wrong(`${name} must be a share (more than 0 and at most 1) or false, not ${shown(value)}`);
}

function wrong(problem: string): MallocBackendError {
  return new MallocBackendError('ERR_INVALID_ARGUMENT', `autoRelease: ${problem}`);
}
