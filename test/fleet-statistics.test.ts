// The statistics of two groups without pairs, against published values and against all cases counted one by one.

import assert from 'node:assert/strict';
import { random } from '../src/compare/random.js';
import { medianOf, rankSumTest, shiftBetween } from '../src/compare/rank-sum.js';
import { median, ranks } from '../src/compare/statistics.js';
import { podsNeeded } from '../src/fleet/verdicts.js';
import { describe, test } from './support/suite.js';

const near = (value: number, expected: number, within = 1e-9) =>
  assert.ok(Math.abs(value - expected) <= within, `${value} is not ${expected} ± ${within}`);

/** Permeability of a membrane at term, and at 12 to 26 weeks (Hollander and Wolfe, table 4.1). */
const term = [0.8, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
const weeks = [1.15, 0.88, 0.9, 0.74, 1.21];

/** The two-sided probability by every choice of as many values. */
function counted(own: readonly number[], other: readonly number[]): number {
  const all = ranks([...own, ...other]);
  const expected = (own.length * (all.length + 1)) / 2;
  const distance = Math.abs(all.slice(0, own.length).reduce((a, b) => a + b, 0) - expected);
  let [extreme, total] = [0, 0];
  for (let choice = 0; choice < 2 ** all.length; choice++) {
    const chosen = all.filter((_, at) => (choice >> at) & 1);
    if (chosen.length !== own.length) continue;
    total += 1;
    if (Math.abs(chosen.reduce((a, b) => a + b, 0) - expected) >= distance - 1e-9) extreme += 1;
  }
  return extreme / total;
}

const differences = (own: readonly number[], other: readonly number[]): number[] =>
  own.flatMap((value) => other.map((each) => value - each)).sort((a, b) => a - b);

describe('the rank-sum test', () => {
  test('gives the published probability', () => {
    // One-sided it is 0.1272.
    near(rankSumTest(term, weeks), 0.2544, 1e-4);
    near(rankSumTest(weeks, term), rankSumTest(term, weeks));
  });

  test('gives the probability of all choices, with ties, too', () => {
    const next = random(1);
    for (let round = 0; round < 60; round++) {
      const [n, m] = [1 + Math.floor(next() * 6), 1 + Math.floor(next() * 6)];
      const values = (count: number) => Array.from({ length: count }, () => Math.floor(next() * 6));
      const [own, other] = [values(n), values(m)];
      near(rankSumTest(own, other), counted(own, other), 1e-9);
    }
  });

  test('finds a difference between equal groups in about one of twenty, counted or not', () => {
    const next = random(2);
    for (const [n, m] of [
      [6, 20],
      [5, 200],
      [60, 60],
    ] as const) {
      let found = 0;
      for (let round = 0; round < 1000; round++) {
        const values = (count: number) => Array.from({ length: count }, () => -Math.log(1 - next()));
        if (rankSumTest(values(n), values(m)) <= 0.05) found += 1;
      }
      assert.ok(found >= 25 && found <= 66, `${n} and ${m}: ${found} of 1000`);
    }
  });

  test('is certain of nothing where there is nothing', () => {
    assert.equal(rankSumTest([], [1, 2]), 1);
    assert.equal(rankSumTest([3, 3, 3], [3, 3]), 1);
    assert.equal(
      rankSumTest(
        Array.from({ length: 50 }, () => 1),
        Array.from({ length: 50 }, () => 1),
      ),
      1,
    );
    near(rankSumTest([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), 2 / 252);
  });
});

describe('the shift between two groups', () => {
  test('is the median of all differences', () => {
    near(shiftBetween(term, weeks).value, 0.305);
    const next = random(3);
    for (let round = 0; round < 40; round++) {
      const values = () => Array.from({ length: 1 + Math.floor(next() * 40) }, () => next() ** 3);
      const [own, other] = [values(), values()];
      near(shiftBetween(own, other).value, median(differences(own, other)), 1e-12);
    }
  });

  test('has the interval that the test does not reject, counted or not', () => {
    const next = random(4);
    for (const most of [12, 80])
      for (let round = 0; round < 12; round++) {
        const values = () => Array.from({ length: 6 + Math.floor(next() * most) }, () => next() - 0.3);
        const [own, other] = [values(), values()];
        const { low, high, isInterval } = shiftBetween(own, other);
        assert.ok(isInterval);
        const p = (shift: number) =>
          rankSumTest(
            own.map((value) => value - shift),
            other,
          );
        for (const [edge, sign] of [
          [low, 1],
          [high, -1],
        ] as const) {
          assert.ok(p(edge + sign * 1e-9) > 0.05, 'inside');
          assert.ok(p(edge - sign * 1e-9) <= 0.05, 'outside');
        }
      }
  });

  test('has no interval where the groups are too small', () => {
    assert.equal(shiftBetween([1, 2, 3], [4, 5, 6]).isInterval, false);
    assert.equal(shiftBetween([1, 2, 3, 4], [5, 6, 7, 8]).isInterval, true);
    assert.equal(
      shiftBetween(
        [1],
        Array.from({ length: 70 }, (_, at) => at),
      ).isInterval,
      false,
    );
  });

  test('of 4,000 and 4,000 values is found without making all 16 million differences', () => {
    const next = random(5);
    const values = (factor: number) => Array.from({ length: 4000 }, () => Math.log(factor * (1 + next())));
    const { value, low, high } = shiftBetween(values(1.1), values(1));
    assert.ok(low < value && value < high && low < Math.log(1.1) && Math.log(1.1) < high);
    assert.ok(high - low < 0.04, `${high - low}`);
  });
});

describe('a median', () => {
  test('has an interval that holds it in about 95 of 100 samples, of 25 and of 200', () => {
    const next = random(6);
    for (const count of [25, 200]) {
      let held = 0;
      for (let round = 0; round < 400; round++) {
        const { value, low, high } = medianOf(Array.from({ length: count }, () => -Math.log(1 - next())));
        assert.ok(low <= value && value <= high);
        if (low <= Math.LN2 && Math.LN2 <= high) held += 1;
      }
      assert.ok(held >= 368 && held <= 398, `${held} of 400`);
    }
  });

  test('of few values has all of them as its interval', () => {
    assert.deepEqual(medianOf([3, 1, 2]), { value: 2, low: 1, high: 3 });
    assert.deepEqual(medianOf([7]), { value: 7, low: 7, high: 7 });
  });
});

test('a verdict needs five pods of each variant, and more with many variants', () => {
  assert.deepEqual([1, 2, 6, 7, 22, 23].map(podsNeeded), [5, 5, 5, 6, 6, 6]);
  assert.equal(podsNeeded(60), 7);
});
