// What runs next, and whether anything does.

import { random, shuffled } from './random.js';
import type { CompareResults, MeasureOptions, Subject } from './results.js';
import { completeRounds, isDecided } from './summary.js';
import { LOOKS, MOST_ROUNDS, isLook } from './verdict.js';

/** The order of a round: one that the seed and the round decide, so that a resumed comparison has the same. */
export function orderOf(round: number, subjects: readonly Subject[], { seed }: MeasureOptions): Subject[] {
  return shuffled(subjects, random(seed, round));
}

/** What is still to run of the round that an interruption may have left half done. */
export function remainder(results: CompareResults): { round: number; subjects: Subject[] } {
  const round = completeRounds(results) + 1;
  const done = new Set(results.runs.filter((run) => run.round === round).map(({ subject }) => subject));
  const subjects = orderOf(round, results.subjects, results.options).filter(({ id }) => !done.has(id));
  return { round, subjects };
}

export type EndReason = 'decided' | 'runs' | 'budget' | 'rounds';

/** Why no other round begins, or undefined where one does. `nextMs` is how long that would take. */
export function endReason(
  results: CompareResults,
  spentMs: number,
  nextMs: number | undefined,
): EndReason | undefined {
  const { runs, budgetMs } = results.options;
  const rounds = completeRounds(results);
  if (runs !== undefined) {
    if (rounds >= runs) return 'runs';
  } else {
    if (isLook(rounds) && isDecided(results)) return 'decided';
    if (rounds >= MOST_ROUNDS) return 'rounds';
  }
  // One round at least: without that there is nothing to show.
  const isOver = budgetMs !== undefined && rounds > 0 && spentMs + (nextMs ?? 0) > budgetMs;
  return isOver ? 'budget' : undefined;
}

/** The fewest and the most rounds that the comparison can take, if a round takes so long. */
export function roundsAhead(
  { options, ...results }: CompareResults,
  spentMs: number,
  roundMs: number | undefined,
): { least: number; most: number } {
  const rounds = completeRounds(results);
  const { runs, budgetMs } = options;
  const inBudget =
    budgetMs === undefined || roundMs === undefined
      ? Infinity
      : Math.max(1, rounds + Math.floor((budgetMs - spentMs) / roundMs));
  const most = Math.min(runs ?? MOST_ROUNDS, inBudget);
  const look = LOOKS.find((look) => look > rounds) ?? MOST_ROUNDS;
  return { least: runs === undefined ? Math.min(look, most) : most, most };
}
