/** The result of one check of the service. */
export interface Look {
  /** Milliseconds of a clock that never goes back. */
  now: number;
  /** The share of the time since the last check in which the event loop was busy, 0 to 1. */
  utilization: number;
  /** The share of the cgroup's limit that the cgroup uses. Undefined without a limit. */
  pressure: number | undefined;
}

export interface Bounds {
  /** Below this share, the event loop is idle. Undefined: it never is. */
  idle: number | undefined;
  /** From this share on, the cgroup is near its limit. Undefined: it never is. */
  threshold: number | undefined;
  /** Milliseconds between two checks. */
  interval: number;
}

/** The state that one check leaves for the next. */
export interface State {
  /** How many checks in a row have found the service idle. */
  quiet: number;
  /** Whether the service was busy since the last release for `idle`. */
  wasBusy: boolean;
  /** When to release again while the cgroup stays near its limit. Undefined if there was no release yet. */
  retryAt: number | undefined;
  /** The milliseconds to wait after the next release. The value doubles each time. */
  pause: number;
}

/** Why {@link autoRelease} released memory: the service is idle, or its cgroup is near its memory limit. */
export type ReleaseReason = 'idle' | 'threshold';

/** One idle check may fall into a pause between two requests. */
const QUIET_LOOKS = 2;
/** The service counts as busy from this multiple of the share `idle`. */
const BUSY = 2;
/** The usage must fall by this share of the limit below the threshold before the cgroup can be near its limit anew. */
const SLACK = 0.05;
/** The first pause, in checks, and the factor from the first to the longest pause. */
const PAUSE_LOOKS = 4;
const LONGEST = 64;

export const begin = (interval: number): State => ({
  quiet: 0,
  wasBusy: true,
  retryAt: undefined,
  pause: PAUSE_LOOKS * interval,
});

/** Decides whether to release memory after this check, and for which reason. A pure function: `look` has the time. */
export function decide(state: State, look: Look, bounds: Bounds): { state: State; release?: ReleaseReason } {
  const next = { ...state };
  const { idle, threshold, interval } = bounds;
  const isIdle = idle !== undefined && look.utilization < idle;
  next.quiet = isIdle ? state.quiet + 1 : 0;
  if (idle !== undefined && look.utilization >= Math.min(1, BUSY * idle)) next.wasBusy = true;

  const { pressure } = look;
  if (threshold !== undefined && (pressure === undefined || pressure < threshold - SLACK)) {
    next.retryAt = undefined;
    next.pause = PAUSE_LOOKS * interval;
  } else if (threshold !== undefined && pressure !== undefined && pressure >= threshold) {
    if (state.retryAt === undefined || look.now >= state.retryAt) {
      // If this release does not help, the next one will hardly help soon. So the pauses grow.
      next.retryAt = look.now + state.pause;
      next.pause = Math.min(state.pause * 2, LONGEST * PAUSE_LOOKS * interval);
      return { state: next, release: 'threshold' };
    }
  }
  if (next.wasBusy && next.quiet >= QUIET_LOOKS) {
    next.wasBusy = false;
    return { state: next, release: 'idle' };
  }
  return { state: next };
}
