// The verdicts of `compare` on thousands of simulated comparisons: how often they are wrong, and how often right.

import assert from 'node:assert/strict';
import { type Random, random, shuffled } from '../src/compare/random.js';
import type { Verdict } from '../src/compare/results.js';
import { LOOKS, MOST_ROUNDS, comparisons, isLook, shareOf } from '../src/compare/verdict.js';
import { describe, test } from './support/suite.js';

const normal = (next: Random): number =>
  Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());

/** A machine and a program, as they are measured. */
interface World {
  /** How many subjects; the first is the baseline. */
  subjects: number;
  /** By what factor the last subject differs. */
  effect: number;
  /** The relative noise of a run: log-normal. */
  noise: number;
  /** Each run depends so much on the one before it. */
  correlation?: number;
  /** By what factor the machine is slower at the end than at the beginning. */
  drift?: number;
  /** How many of the runs are disturbed, by up to the double time. */
  disturbed?: number;
}

/** One comparison, as the schedule has it: to the first look that decides everything. */
function simulated(world: World, seed: number): { verdicts: Verdict[]; rounds: number } {
  const { subjects, effect, noise, correlation = 0.5, drift = 1.1, disturbed = 0.03 } = world;
  const next = random(seed, 1);
  const pairs: [number, number][][] = Array.from({ length: subjects - 1 }, () => []);
  let [before, time] = [0, 0];
  for (let round = 1; ; round++) {
    const values: number[] = [];
    for (const subject of shuffled([...Array(subjects).keys()], next)) {
      before = correlation * before + Math.sqrt(1 - correlation ** 2) * noise * normal(next);
      const trend = (Math.log(drift) * time++) / (subjects * MOST_ROUNDS);
      const disturbance = next() < disturbed ? 1 + next() : 1;
      values[subject] = Math.exp(before + trend) * disturbance * (subject === subjects - 1 ? effect : 1);
    }
    for (const [at, all] of pairs.entries()) all.push([values[at + 1]!, values[0]!]);
    if (!isLook(round)) continue;
    const verdicts = comparisons(pairs, shareOf(round, undefined)).map((each) => each!.verdict);
    if (round === MOST_ROUNDS || !verdicts.includes('undecided')) return { verdicts, rounds: round };
  }
}

/** How often each verdict comes out for the last subject, and in how many comparisons any other is said to differ. */
function tally(
  world: World,
  times: number,
): { last: Record<Verdict, number>; wrong: number; rounds: number } {
  const last = { lower: 0, higher: 0, 'no difference': 0, undecided: 0 };
  let [wrong, total] = [0, 0];
  for (let seed = 1; seed <= times; seed++) {
    const { verdicts, rounds } = simulated(world, seed);
    last[verdicts.at(-1)!] += 1;
    total += rounds;
    if (verdicts.slice(0, -1).some((verdict) => verdict === 'lower' || verdict === 'higher')) wrong += 1;
  }
  return { last, wrong, rounds: total / times };
}

const TIMES = 400;
/** Nineteen of twenty. */
const MOST = TIMES * 0.95;

describe('verdicts on simulated comparisons', () => {
  for (const noise of [0.005, 0.02, 0.05]) {
    const name = `with a noise of ${noise * 100} %`;

    test(`two equal subjects are 'no difference' ${name}`, () => {
      const { last } = tally({ subjects: 2, effect: 1, noise }, TIMES);
      assert.ok(last['no difference'] >= MOST, JSON.stringify(last));
    });

    test(`5 % more and 5 % less are found ${name}`, () => {
      for (const [effect, verdict] of [
        [1.05, 'higher'],
        [0.95, 'lower'],
      ] as const) {
        const { last } = tally({ subjects: 2, effect, noise }, TIMES);
        assert.ok(last[verdict] >= MOST, `${effect}: ${JSON.stringify(last)}`);
      }
    });
  }

  test('chance names a difference in fewer than one of twenty comparisons of equal subjects, whatever the noise', () => {
    const worlds: Partial<World>[] = [
      { noise: 0.1 },
      { noise: 0.3, disturbed: 0.2 },
      { noise: 0.05, correlation: 0.95 },
      { noise: 0.05, drift: 3, correlation: 0 },
    ];
    for (const world of worlds) {
      const { last } = tally({ subjects: 2, effect: 1, noise: 0, ...world }, TIMES);
      assert.ok(last.lower + last.higher <= TIMES / 20, JSON.stringify([world, last]));
    }
  });

  test('seven subjects are corrected for: the one that differs is found, and no other', () => {
    const { last, wrong } = tally({ subjects: 7, effect: 1.05, noise: 0.02 }, 100);
    assert.ok(last.higher >= 95, JSON.stringify(last));
    assert.ok(wrong <= 5, `${wrong} of 100`);
  });

  test('a clear difference takes few rounds', () => {
    const { last, rounds } = tally({ subjects: 2, effect: 0.6, noise: 0.02 }, 100);
    assert.equal(last.lower, 100);
    assert.ok(rounds < 13, `${rounds} rounds`);
  });
});

describe('a verdict', () => {
  const of = (ratios: readonly number[], share = 1) =>
    comparisons([ratios.map((ratio): [number, number] => [ratio, 1])], share)[0]!;
  const ten = (ratio: number) => Array.from({ length: 10 }, (_, at) => ratio * (1 + (at - 4.5) / 10_000));

  test('needs a difference of more than 1 %', () => {
    assert.equal(of(ten(1.02)).verdict, 'higher');
    assert.equal(of(ten(0.98)).verdict, 'lower');
    assert.equal(of(ten(1.009)).verdict, 'no difference');
    assert.equal(of(ten(0.992)).verdict, 'no difference');
  });

  test("is 'no difference' only where the interval lies within 3 %", () => {
    const wide = (by: number) => of(Array.from({ length: 10 }, (_, at) => 1 + (at % 2 === 0 ? by : -by)));
    assert.equal(wide(0.02).verdict, 'no difference');
    assert.equal(wide(0.2).verdict, 'undecided');
  });

  test("is 'undecided' with few rounds", () => {
    assert.equal(of(ten(0.5).slice(0, 5)).verdict, 'undecided');
    assert.equal(of(ten(1).slice(0, 5)).verdict, 'undecided');
    assert.equal(of(ten(0.5).slice(0, 6)).verdict, 'lower');
  });

  test('has the ratio with its interval, and a corrected probability', () => {
    const { ratio, low, high, p } = of(ten(0.5), 0.25);
    assert.ok(low < ratio && ratio < high && Math.abs(ratio - 0.5) < 1e-3, `${low} ${ratio} ${high}`);
    assert.ok(Math.abs(p - (2 / 1024) * 4) < 1e-12, `${p}`);
  });

  test('is corrected for the number of subjects', () => {
    const pairs = [1.5, 1.4, 1.3].map((ratio) => ten(ratio).map((value): [number, number] => [value, 1]));
    for (const [at, each] of comparisons(pairs, 1).entries())
      assert.ok(Math.abs(each!.p - (3 * 2) / 1024) < 1e-12, `${at}: ${each!.p}`);
  });

  test('is not given for a metric that is 0 or not there', () => {
    assert.deepEqual(comparisons([[], [[0, 1]]], 1), [undefined, undefined]);
  });

  test('shares the level among the looks', () => {
    const shares = LOOKS.map((rounds) => shareOf(rounds, undefined));
    assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-12);
    assert.equal(shareOf(10, 10), 1);
    // Between two looks the budget may end.
    assert.equal(shareOf(12, undefined), shareOf(15, undefined));
  });
});
