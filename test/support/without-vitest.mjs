// Runs compiled test files where vitest cannot: in a Node under wine. Stands in for the module `vitest`.
//
//   node test/support/without-vitest.mjs <results.json> dist/test/<name>.test.js …
//
// The results are written to a file after each test, because the tests before a crash count too, and because what Node writes
// to its standard output does not always leave wine.

import { writeFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** @typedef {{ name: string, before: Function[], after: Function[], afterEach: Function[], members: Member[] }} Suite */
/** @typedef {{ name: string, suite?: boolean, body: Function }} Member */

class Skipped extends Error {}

/** @type {{ name: string, state: 'running' | 'passed' | 'failed' | 'skipped', why?: string }[]} */
const results = [];

/** @param {string} name @returns {Suite} */
const suite = (name) => ({ name, before: [], after: [], afterEach: [], members: [] });
let current = suite('');

/** @param {string} name @param {[Function] | [object, Function]} rest */
export const describe = (name, ...rest) =>
  current.members.push({ name, suite: true, body: /** @type {Function} */ (rest.at(-1)) });
/** @param {string} name @param {[Function] | [object, Function]} rest */
export const test = (name, ...rest) =>
  current.members.push({ name, body: /** @type {Function} */ (rest.at(-1)) });
/** @param {Function} hook */
export const beforeAll = (hook) => current.before.push(hook);
/** @param {Function} hook */
export const afterAll = (hook) => current.after.push(hook);
/** @param {Function} hook */
export const afterEach = (hook) => current.afterEach.push(hook);

const context = {
  /** @param {string} reason */
  skip(reason) {
    throw new Skipped(reason);
  },
};

const save = () => writeFileSync(process.argv[2] ?? '', JSON.stringify(results, null, 1));

/** @param {string} name @param {Function} body */
async function perform(name, body) {
  const result = { name, state: /** @type {(typeof results)[number]['state']} */ ('running'), why: '' };
  results.push(result);
  save();
  try {
    await body();
    result.state = 'passed';
  } catch (error) {
    result.state = error instanceof Skipped ? 'skipped' : 'failed';
    result.why =
      error instanceof Skipped ? error.message : String(/** @type {Error} */ (error)?.stack ?? error);
  }
  save();
}

/** @param {Suite} all */
async function runAll(all) {
  for (const hook of all.before) await hook();
  for (const { name, suite: isSuite, body } of all.members) {
    const full = all.name === '' ? name : `${all.name} > ${name}`;
    if (!isSuite) {
      await perform(full, async () => {
        await body(context);
        for (const hook of all.afterEach) await hook();
      });
      continue;
    }
    current = suite(full);
    const inner = current;
    await body();
    await runAll(inner);
  }
  for (const hook of all.after) await hook();
}

const own = pathToFileURL(import.meta.filename).href;
registerHooks({
  resolve: (specifier, from, next) =>
    specifier === 'vitest' ? { url: own, shortCircuit: true } : next(specifier, from),
});

async function main() {
  for (const file of process.argv.slice(3)) {
    current = suite('');
    const inner = current;
    await import(pathToFileURL(resolve(file)).href);
    await runAll(inner);
  }
  save();
  process.exit(results.some(({ state }) => state === 'failed') ? 1 : 0);
}

// Not awaited: the test files import this module, and would wait for it to end.
void main();
