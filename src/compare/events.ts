import type { CompareResults, Run, Warning } from './results.js';

/** How far a comparison is. */
export interface Progress {
  /** The measured runs so far, of all subjects. */
  done: number;
  /** The rounds after which the comparison ends at the latest, as far as that can be told. */
  rounds: { least: number; most: number };
  /** The milliseconds until then, as far as that can be told. */
  leftMs?: { least: number; most: number };
}

/** What `compare` yields, in this order. */
export type CompareEvent =
  | { type: 'start'; results: CompareResults; file?: string }
  /** A run begins. `round` is 0 for a warm-up run. */
  | { type: 'run-start'; subject: string; round: number; progress: Progress }
  /** A run is over, and saved. A warm-up run has no such event. */
  | { type: 'run'; run: Run; results: CompareResults; progress: Progress }
  | { type: 'warning'; warning: Warning }
  /** The comparison came to its end, decided or not. */
  | { type: 'end'; results: CompareResults; reason: 'decided' | 'runs' | 'budget' | 'rounds' };
