// How far an estimate of a heap profile may be from the truth.

import assert from 'node:assert/strict';
import { type Sample, sum } from './pprof.js';

/** The standard deviation of an estimate, as a share: of `count` blocks, each is seen with the probability p. */
function deviation(bytes: number, each: number, interval: number): number {
  const p = 1 - Math.exp(-each / interval);
  return Math.sqrt((1 - p) / ((bytes / each) * p));
}

export function assertEstimate(
  samples: Sample[],
  bytes: number,
  each: number,
  interval: number,
  what: string,
): void {
  const estimate = sum(samples);
  // One of 1.7 million correct runs is further off than this.
  const tolerance = 5 * deviation(bytes, each, interval) + 0.002;
  const off = Math.abs(estimate / bytes - 1);
  assert.ok(
    off <= tolerance,
    `${what}: ${estimate} for ${bytes}: ${off.toFixed(3)} > ${tolerance.toFixed(3)}`,
  );
}
