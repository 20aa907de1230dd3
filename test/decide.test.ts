// When memory is given back by itself: the decision with a clock of the test's.

import assert from 'node:assert/strict';
import { type Bounds, begin, decide } from '../src/memory/decide.js';
import { describe, test } from './support/suite.js';

const bounds: Bounds = { idle: 0.1, threshold: 0.9, interval: 100 };

/** What comes of looks one interval apart, each a utilisation and a pressure: `.`, `i`dle or `t`hreshold. */
function decisions(looks: readonly (readonly [number, number?])[], given: Partial<Bounds> = {}): string {
  const all = { ...bounds, ...given };
  let state = begin(all.interval);
  let now = 1e6;
  return looks
    .map(([utilization, pressure]) => {
      now += all.interval;
      const { state: next, release } = decide(state, { now, utilization, pressure }, all);
      state = next;
      return release?.[0] ?? '.';
    })
    .join('');
}

const times = <Value>(count: number, value: Value) => Array.from({ length: count }, () => value);

describe('decide()', () => {
  const quiet = [0.05] as const;
  const busy = [0.5] as const;

  test('idle: after two quiet looks, once', () => {
    assert.equal(decisions([quiet, quiet, quiet, quiet]), '.i..');
    assert.equal(decisions([quiet, busy, quiet, busy, quiet, quiet]), '.....i');
    assert.equal(decisions(times(5, busy)), '.....');
  });

  test('idle: again only after it was clearly busy', () => {
    const [barely, clearly] = [[0.15], [0.2]] as const;
    assert.equal(decisions([quiet, quiet, barely, quiet, quiet, quiet]), '.i....');
    assert.equal(decisions([quiet, quiet, clearly, quiet, quiet, quiet]), '.i..i.');
  });

  test('idle: never without it', () => {
    assert.equal(decisions(times(4, quiet), { idle: undefined }), '....');
  });

  const used = (pressure: number) => [0.5, pressure] as const;

  test('threshold: at once, and again after it has fallen', () => {
    assert.equal(decisions([used(0.89), used(0.9), used(0.91)]), '.t.');
    assert.equal(decisions([used(0.9), used(0.86), used(0.9)]), 't..', 'within the slack');
    assert.equal(decisions([used(0.9), used(0.84), used(0.9), used(0.9)]), 't.t.');
    assert.equal(decisions([used(0.9), [0.5], used(0.9)]), 't.t', 'the limit was taken away in between');
  });

  test('threshold: while it does not fall, after pauses that double up to 256 looks', () => {
    const found = decisions(times(1200, used(0.95)));
    const at = [...found.matchAll(/t/g)].map(({ index }) => index);
    const pauses = at.slice(1).map((look, index) => look - (at[index] ?? 0));
    assert.deepEqual(pauses, [4, 8, 16, 32, 64, 128, 256, 256, 256]);
    // Once it fell, the first pause is short again.
    const again = decisions([...times(20, used(0.95)), used(0.5), ...times(5, used(0.95))]);
    assert.equal(again.slice(20), '.t...t');
  });

  test('threshold: never without it, nor without a limit', () => {
    assert.equal(decisions(times(3, used(0.99)), { threshold: undefined }), '...');
    assert.equal(decisions(times(3, busy)), '...');
  });

  test('both: near the limit is the reason that counts, and idle comes when that waits', () => {
    assert.equal(decisions(times(6, [0, 0.95])), 'ti..t.');
  });
});
