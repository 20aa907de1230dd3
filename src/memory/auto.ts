import { EventEmitter } from 'node:events';
import { performance } from 'node:perf_hooks';
import { linuxBinding } from '../native/loader.js';
import { invalidArgument, MallocBackendError, shown } from '../errors.js';
import { namesOf, requireOptions } from '../options.js';
import { type Bounds, type ReleaseReason, begin, decide } from './decide.js';
import { ownMalloc } from './own.js';
import { type Release, releaseMemory, requireRelease } from './release.js';

/** When {@link autoRelease} releases memory. */
export interface AutoReleaseOptions {
  /**
   * A share of the time. If two checks in a row find that the event loop was busy for a smaller share, the service is idle
   * and `autoRelease` releases memory once. The next release for this reason follows only after a check has found the loop
   * busy for twice this share. `false`: no release for this reason. Default: 0.05.
   */
  idle?: number | false;
  /**
   * A share of the cgroup's memory limit. If the cgroup uses this share, `autoRelease` releases memory at once. Page cache
   * that was not used recently does not count. While the usage stays high, `autoRelease` releases again after pauses that
   * grow. It also releases again if the usage falls by 5 % of the limit and rises again. `false`: no release for this
   * reason. The option has no effect if no cgroup in {@link AutoRelease.cgroups} has a limit. Default: 0.9.
   */
  threshold?: number | false;
  /** Milliseconds between two checks. Default: 5000. */
  interval?: number;
  /** The folder of the cgroup to check. Default: the cgroup of this process and all cgroups around it (version 1 or 2). */
  cgroup?: string;
}

const OPTIONS = namesOf<AutoReleaseOptions>({ idle: true, threshold: true, interval: true, cgroup: true });

/** The events of {@link AutoRelease}. */
export interface AutoReleaseEvents {
  /** `autoRelease` has released memory. `reason` tells why. */
  release: [release: Release & { reason: ReleaseReason }];
  /** A release failed, or the cgroup could not be read. Without a listener, the first error is a process warning. */
  error: [error: MallocBackendError];
}

/** Releases memory automatically until you stop it. {@link autoRelease} returns it. */
export class AutoRelease extends EventEmitter<AutoReleaseEvents> {
  /** The folders of the cgroups that are checked. Empty if there are none. */
  readonly cgroups: readonly string[];
  readonly #bounds: Bounds;
  readonly #timer: NodeJS.Timeout;
  readonly #native = linuxBinding('releasing memory');
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
    // The timer must not keep the process alive.
    this.#timer.unref();
  }

  /** Stops the checks. No event follows. A release that is running ends normally. A second call does nothing. */
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
    const watched = this.#bounds.threshold === undefined ? [] : [...this.cgroups];
    const { usage, errors } = await this.#native.nearestLimit(watched);
    for (const message of errors) this.#fail(new MallocBackendError('ERR_CGROUP_UNREADABLE', message));
    // An unreadable cgroup may still have a limit, so the state for `threshold` must stay as it is.
    const known = usage !== undefined || errors.length === 0;
    const bounds = known ? this.#bounds : { ...this.#bounds, threshold: undefined };
    const pressure = usage === undefined ? undefined : usage.used / usage.limit;
    const look = { now: performance.now(), utilization, pressure };
    const { state, release } = decide(this.#state, look, bounds);
    this.#state = state;
    return release;
  }

  /** Emits later: an exception of a listener must reach the process, as with every emitter, and not the check. */
  #tell(event: () => void): void {
    process.nextTick(() => {
      if (!this.#stopped) event();
    });
  }

  /** Without a listener, an `error` event would end the service. So the first error becomes a warning instead. */
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
 * Calls {@link releaseMemory} automatically when the service is idle, and when its cgroup is near its memory limit. The
 * checks do not keep the process alive. In a worker, the checks look at the worker's event loop.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`. `ERR_CANNOT_RELEASE` and the other errors of
 * {@link releaseMemory}. If a cgroup cannot be read, each check emits an `error` event with `ERR_CGROUP_UNREADABLE`.
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
  const native = linuxBinding('releasing memory');
  requireRelease(ownMalloc());
  const cgroups = cgroup === undefined ? native.memoryCgroups() : [cgroup];
  if (bounds.idle === undefined && cgroups.length === 0) {
    throw wrong('idle is false and this process is in no memory cgroup, so autoRelease would do nothing');
  }
  return new AutoRelease(bounds, cgroups);
}

/** An error without one of our codes can only come from the addon, during the release. */
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
  return invalidArgument(`autoRelease: ${problem}`);
}
