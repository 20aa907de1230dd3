/** What a look at the service found. */
export interface Look {
  /** Milliseconds of any clock that does not go back. */
  now: number;
  /** The share of the time since the last look in which the event loop was busy, 0 to 1. */
  utilization: number;
  /** The share of its limit that the cgroup uses; undefined without a limit. */
  pressure: number | undefined;
}

export interface Bounds {
  /** Idle is the event loop below this share; undefined: never. */
  idle: number | undefined;
  /** Near its limit is the cgroup from this share; undefined: never. */
  threshold: number | undefined;
  /** Milliseconds between two looks. */
  interval: number;
}

/** What is remembered from one look to the next. */
export interface State {
  /** Looks in a row that found the service idle. */
  quiet: number;
  /** It was busy since it was last idle long enough. */
  wasBusy: boolean;
  /** When to try again although the cgroup stays near its limit; undefined: it is not, or has not been tried yet. */
  retryAt: number | undefined;
  /** Milliseconds to wait before that, doubled each time. */
  pause: number;
}

export type ReleaseReason = 'idle' | 'threshold';

/** One idle look may be a pause between two requests. */
const QUIET_LOOKS = 2;
/** Busy again is what is as much busier than idle. */
const BUSY = 2;
/** The cgroup must have come down by this share of the limit to be near it anew. */
const SLACK = 0.05;
/** The first pause, in looks, and how much longer the longest is. */
const PAUSE_LOOKS = 4;
const LONGEST = 64;

export const begin = (interval: number): State => ({
  quiet: 0,
  wasBusy: true,
  retryAt: undefined,
  pause: PAUSE_LOOKS * interval,
});

/** Whether to give memory back after this look, and why. A pure function: the clock is in the look. */
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
      // What could be given back now is. If that was of no use, it will hardly be soon.
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
