// The statistics of `compare`, against published values and against all cases counted one by one.

import assert from 'node:assert/strict';
import { random, shuffled } from '../src/compare/random.js';
import {
  bootstrapMedian,
  hodgesLehmann,
  holm,
  median,
  outliers,
  quantile,
  ranks,
  signedRankTest,
  trend,
  twoSided,
} from '../src/compare/statistics.js';
import { describe, test } from './support/suite.js';

const near = (value: number, expected: number, within = 1e-9, what = '') =>
  assert.ok(Math.abs(value - expected) <= within, `${what} ${value} is not ${expected} ± ${within}`);

/** Hamilton depression scores of nine patients before and after treatment (Hollander and Wolfe, table 3.1). */
const before = [1.83, 0.5, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.3];
const after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
const depression = before.map((value, at) => value - after[at]!);

/** The two-sided probability by all 2^n choices of signs. */
function counted(differences: readonly number[]): number {
  const all = ranks(differences.map(Math.abs));
  const used = all.filter((_, at) => differences[at] !== 0);
  const half = used.reduce((total, rank) => total + rank, 0) / 2;
  const own = all.reduce((total, rank, at) => total + (differences[at]! > 0 ? rank : 0), 0);
  let extreme = 0;
  for (let signs = 0; signs < 2 ** used.length; signs++) {
    const total = used.reduce((sum, rank, at) => sum + ((signs >> at) & 1 ? rank : 0), 0);
    if (Math.abs(total - half) >= Math.abs(own - half) - 1e-9) extreme += 1;
  }
  return extreme / 2 ** used.length;
}

describe('the signed-rank test', () => {
  test('gives the published probability', () => {
    near(signedRankTest(depression), 0.0390625);
  });

  test('gives the probability of all choices of signs, with ties and zeros, too', () => {
    const next = random(1);
    for (let round = 0; round < 200; round++) {
      const count = 1 + Math.floor(next() * 11);
      const differences = Array.from({ length: count }, () => Math.floor(next() * 9) - 4);
      near(signedRankTest(differences), counted(differences), 1e-12, differences.join(' '));
    }
  });

  test('is certain of nothing where there is nothing', () => {
    assert.equal(signedRankTest([]), 1);
    assert.equal(signedRankTest([0, 0, 0]), 1);
    near(signedRankTest(Array.from({ length: 10 }, () => 1)), 2 / 1024);
  });
});

describe('the Hodges–Lehmann estimate', () => {
  test('gives the published estimate and interval', () => {
    const { value, low, high, isInterval } = hodgesLehmann(depression);
    near(value, 0.46);
    near(low, 0.01);
    near(high, 0.786);
    assert.ok(isInterval);
  });

  test('has the interval that the test does not reject', () => {
    const next = random(2);
    for (let round = 0; round < 20; round++) {
      const differences = Array.from({ length: 6 + Math.floor(next() * 20) }, () => next() - 0.3);
      const { low, high } = hodgesLehmann(differences);
      const p = (shift: number) => signedRankTest(differences.map((value) => value - shift));
      const [inside, outside] = [1e-9, -1e-9];
      for (const [edge, sign] of [
        [low, 1],
        [high, -1],
      ] as const) {
        assert.ok(p(edge + sign * inside) > 0.05, 'inside');
        assert.ok(p(edge + sign * outside) <= 0.05, 'outside');
      }
    }
  });

  test('has no interval below six differences', () => {
    assert.equal(hodgesLehmann([1, 2, 3, 4, 5]).isInterval, false);
    assert.equal(hodgesLehmann([1, 2, 3, 4, 5, 6]).isInterval, true);
  });
});

describe("Holm's correction", () => {
  test('gives the values of p.adjust of R', () => {
    const corrected = holm([0.01, 0.04, 0.03, 0.005]);
    for (const [at, expected] of [0.03, 0.06, 0.06, 0.02].entries()) near(corrected[at]!, expected, 1e-12);
    assert.deepEqual(holm([0.9, 0.8]), [1, 1]);
    assert.deepEqual(holm([]), []);
  });
});

describe('medians', () => {
  test('of odd and even counts', () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1, 3, 2]), 2.5);
  });

  test('quantiles are those of type 7', () => {
    const values = [1, 2, 3, 4, 10];
    assert.deepEqual(
      [0, 0.25, 0.5, 0.875, 1].map((part) => quantile(values, part)),
      [1, 2, 3, 7, 10],
    );
  });

  test('have an interval that holds the true median in about 95 of 100 samples', () => {
    const next = random(3);
    let held = 0;
    for (let round = 0; round < 400; round++) {
      const sample = Array.from({ length: 25 }, () => -Math.log(1 - next()));
      const { low, high } = bootstrapMedian(sample, next);
      if (low <= Math.LN2 && Math.LN2 <= high) held += 1;
    }
    assert.ok(held >= 360 && held <= 396, `${held} of 400`);
  });

  test('have the same interval for the same seed', () => {
    const values = [5, 1, 4, 2, 3];
    assert.deepEqual(bootstrapMedian(values, random(7, 1)), bootstrapMedian(values, random(7, 1)));
  });
});

describe('a trend', () => {
  test('is found and measured', () => {
    const { p, slope } = trend([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    // S = 45, its variance 125.
    near(p, twoSided(44 / Math.sqrt(125)), 1e-12);
    near(slope, 1);
    assert.equal(trend([1, 1, 1]).p, 1);
    assert.equal(trend([1]).slope, 0);
  });

  test('has the probability of a normal distribution', () => {
    for (const [z, p] of [
      [0, 1],
      [1, 0.317310508],
      [1.959963985, 0.05],
      [-3, 0.002699796],
    ] as const)
      near(twoSided(z), p, 5e-7);
  });
});

describe('outliers', () => {
  test('are far from the others', () => {
    assert.deepEqual(outliers([100, 101, 99, 100, 102, 98, 180]), [6]);
    assert.deepEqual(outliers([100, 100, 100, 100, 103]), []);
    assert.deepEqual(outliers([100, 100, 100, 100, 106]), [4]);
  });
});

describe('random numbers', () => {
  test('are the same for the same seeds and others for others', () => {
    const drawn = (...seeds: number[]) => {
      const next = random(...seeds);
      return Array.from({ length: 5 }, next);
    };
    assert.deepEqual(drawn(1, 2), drawn(1, 2));
    const seen = [[1, 2], [2, 1], [1, 3], [1], [2], [2 ** 33 + 1]].map((seeds) => drawn(...seeds).join());
    assert.equal(new Set(seen).size, seen.length);
  });

  test('are spread evenly', () => {
    const next = random(4);
    const bins = Array.from({ length: 10 }, () => 0);
    for (let round = 0; round < 10_000; round++) bins[Math.floor(next() * 10)]! += 1;
    for (const bin of bins) assert.ok(bin > 880 && bin < 1120, `${bins}`);
  });

  test('give each order equally often', () => {
    const orders = new Map<string, number>();
    for (let round = 0; round < 6000; round++) {
      const order = shuffled(['a', 'b', 'c'], random(5, round)).join('');
      orders.set(order, (orders.get(order) ?? 0) + 1);
    }
    assert.equal(orders.size, 6);
    for (const [order, count] of orders) assert.ok(count > 850 && count < 1150, `${order} ${count}`);
  });
});
