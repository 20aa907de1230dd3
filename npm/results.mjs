// What test/support/without-vitest.mjs has written of a test file, as one summary of all: for npm/win32.mjs and platforms.

import { existsSync, readFileSync } from 'node:fs';

/** @typedef {import('../test/support/reporters.js').Summary} Summary */

/**
 * Adds the results of a test file to a summary, prints them, and says whether the file has passed.
 * @param {Summary} summary
 * @param {string} name Of the test file.
 * @param {string} file With the results.
 * @param {{ status: number | null, signal: NodeJS.Signals | null }} end How the program came to its end.
 */
export function add(summary, name, file, { status, signal }) {
  /** @type {{ name: string, state: string, why?: string }[]} */
  const all = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : [];
  const count = (/** @type {string} */ state) => all.filter((each) => each.state === state).length;
  const [passed = 0, failed, skipped] = ['passed', 'failed', 'skipped'].map(count);
  console.log(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  for (const { name: test, state, why } of all)
    if (state !== 'passed') console.log(`  ${state}: ${test}${why ? `: ${why}` : ''}`);
  if (status !== 0) console.log(`  ended with ${signal ?? `status ${status}`}`);
  const isGood = status === 0 && passed > 0;
  // A test at which Node came to its end is still running.
  const broken = all.filter(({ state }) => state !== 'passed' && state !== 'skipped');
  summary.passed += passed;
  summary.failed.push(...broken.map((test) => `${name}: ${test.name}`));
  if (!isGood && broken.length === 0) summary.failed.push(`${name}: came to no end`);
  for (const { state, why = '' } of all)
    if (state === 'skipped') summary.skipped[why] = (summary.skipped[why] ?? 0) + 1;
  return isGood;
}
