// When is a difference certain, and when is it certain that there is none to speak of.

import type { Comparison, Verdict } from './results.js';
import { hodgesLehmann, holm, signedRankTest } from './statistics.js';

/** A smaller difference counts as none: no one chooses an allocator for it, and the runs of two days differ by more. */
const NEGLIGIBLE = Math.log(1.01);

/** Where the interval lies within this there is no difference to speak of. It is what users give away for memory. */
const EQUIVALENT = Math.log(1.03);

/** How often a comparison of equal subjects may name a difference, at all looks together. */
export const LEVEL = 0.05;

/**
 * The rounds after which the data are looked at, to stop early. To look more often finds more differences by chance, so the
 * level is shared among the looks (Bonferroni). The first gets more: ten rounds cannot show a smaller probability than 0.002.
 */
export const LOOKS = [10, 15, 22, 33, 50, 75, 110, 160] as const;

const FIRST_SHARE = 0.25;

/** The most rounds, if no number was given. */
export const MOST_ROUNDS = LOOKS.at(-1)!;

/** Whether the data may be looked at after so many rounds. */
export const isLook = (rounds: number): boolean => (LOOKS as readonly number[]).includes(rounds);

/** The part of the level that a look after so many rounds has. With a given number of rounds there is one look alone. */
export function shareOf(rounds: number, runs: number | undefined): number {
  if (runs !== undefined) return 1;
  return rounds <= LOOKS[0] ? FIRST_SHARE : (1 - FIRST_SHARE) / (LOOKS.length - 1);
}

/** The fewest rounds that can show a difference, with as many subjects beside the baseline and a given number of rounds or none. */
export function fewestRounds(subjects: number, runs: number | undefined): number {
  // The smallest probability that the signed-rank test can give is 2 ÷ 2^rounds.
  return runs === undefined ? LOOKS[0] : Math.ceil(Math.log2((2 * subjects) / LEVEL));
}

/**
 * Compares several subjects with the baseline by one metric.
 *
 * @param pairs - For each subject its values with those of the baseline in the same round.
 * @param share - The part of the level that this look has.
 */
export function comparisons(
  pairs: readonly (readonly (readonly [own: number, baseline: number])[])[],
  share: number,
): (Comparison | undefined)[] {
  // Of ratios the logarithm is as far from 0 for a half as for the double. A metric of 0 has no ratio.
  const differences = pairs.map((values) =>
    values
      .filter(([own, baseline]) => own > 0 && baseline > 0)
      .map(([own, baseline]) => Math.log(own / baseline)),
  );
  const corrected = holm(differences.map((values) => (values.length === 0 ? 1 : signedRankTest(values))));
  return differences.map((values, at) => {
    if (values.length === 0) return undefined;
    const { value, low, high, isInterval } = hodgesLehmann(values);
    const p = Math.min(1, corrected[at]! / share);
    const verdict = isInterval ? verdictOf(low, high, p) : 'undecided';
    return { ratio: Math.exp(value), low: Math.exp(low), high: Math.exp(high), p, verdict };
  });
}

/** Of an interval of logarithms. */
export function verdictOf(low: number, high: number, p: number): Verdict {
  if (p <= LEVEL && low > NEGLIGIBLE) return 'higher';
  if (p <= LEVEL && high < -NEGLIGIBLE) return 'lower';
  return low > -EQUIVALENT && high < EQUIVALENT ? 'no difference' : 'undecided';
}
