// Tests the crates: malloc-backend with every set of features that it is built with, malloc-backend-process,
// malloc-backend-launch, malloc-backend-python, and malloc-backend-pool, the last once more as loom runs its threads.
//
// The sets differ in none of the features of the crates that hold the allocators' C and C++, nor from the preloaded
// libraries (npm/build.mjs), so that each allocator is compiled once. `dynamic-tls` would be another build of all
// three; the addon's own tests cover it.
//
//   node test/crates.mjs

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const allocators = ['jemalloc', 'mimalloc', 'snmalloc'];

// With a global allocator under test, tests side by side would see one another's memory in its statistics.
const serial = ['--', '--test-threads=1'];

/** @type {string[][]} */
const sets = [
  [],
  ...allocators.map((allocator) => [allocator]),
  [...allocators, 'serde'],
  ...allocators.map((allocator) => [...allocators, `global-${allocator}`]),
];

/**
 * @typedef {object} Result
 * @property {string} name
 * @property {boolean} passed
 * @property {number} tests
 * @property {number} ignored
 * @property {number} build Seconds.
 * @property {number} run Seconds.
 */

/**
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {{ succeeded: boolean, output: string, seconds: number }}
 */
function cargo(args, env) {
  const started = performance.now();
  const { status, error, stdout, stderr } = spawnSync(
    'cargo',
    ['test', '--release', '--locked', ...args, ...serial],
    {
      cwd: root,
      env: { ...process.env, ...env },
      encoding: 'utf8',
      maxBuffer: 2 ** 30,
    },
  );
  if (error !== undefined) {
    console.error(`test/crates.mjs: cannot run cargo (${error.message}); install Rust 1.88 or newer`);
    process.exit(1);
  }
  const seconds = (performance.now() - started) / 1000;
  return { succeeded: status === 0, output: stderr + stdout, seconds };
}

/**
 * @param {string} name
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Result}
 */
function test(name, args, env = {}) {
  const built = cargo([...args, '--no-run'], env);
  const { succeeded, output, seconds } = built.succeeded ? cargo([...args, '--no-fail-fast'], env) : built;
  let [tests, ignored] = [0, 0];
  for (const [, passes, , ignores] of output.matchAll(
    /^test result: .* (\d+) passed; (\d+) failed; (\d+) ignored/gm,
  )) {
    tests += Number(passes);
    ignored += Number(ignores);
  }
  // A filter or a file that is not found would be a success of no tests.
  const passed = succeeded && tests > 0;
  if (!passed) console.log(output);
  console.log(`${passed ? 'ok' : 'not ok'} - ${name}`);
  return { name, passed, tests, ignored, build: built.seconds, run: built.succeeded ? seconds : 0 };
}

const results = [
  ...sets.map((set) => {
    const features = set.join(',');
    const args = ['-p', 'malloc-backend', '--no-default-features', '--features', features];
    return test(`malloc-backend [${features}]`, args);
  }),
  test('malloc-backend-pool', ['-p', 'malloc-backend-pool', '--features', 'jemalloc']),
  // Beside the rest, which other flags would have built anew.
  test(
    'malloc-backend-pool [loom]',
    ['-p', 'malloc-backend-pool', '--lib', '--target-dir', join(root, 'target', 'loom')],
    { RUSTFLAGS: '--cfg loom' },
  ),
  test('malloc-backend-process', ['-p', 'malloc-backend-process']),
  test('malloc-backend-profile', ['-p', 'malloc-backend-profile']),
  test('malloc-backend-launch', ['-p', 'malloc-backend-launch']),
  test('malloc-backend-diagnose', ['-p', 'malloc-backend-diagnose']),
  test('malloc-backend-measure', ['-p', 'malloc-backend-measure']),
  test('malloc-backend-python', ['-p', 'malloc-backend-python']),
  test('malloc-backend-python [interpreter]', ['-p', 'malloc-backend-python', '--features', 'interpreter']),
];

const width = Math.max(...results.map(({ name }) => name.length));
console.log(`\n${'crate and features'.padEnd(width)}          tests  ignored  build/s  run/s`);
for (const { name, passed, tests, ignored, build, run } of results) {
  const figures = [String(tests).padStart(6), String(ignored).padStart(8), build.toFixed(1).padStart(8)];
  console.log(
    `${name.padEnd(width)}  ${passed ? 'passed' : 'FAILED'} ${figures.join(' ')} ${run.toFixed(1).padStart(6)}`,
  );
}
if (results.some(({ passed }) => !passed)) process.exitCode = 1;
