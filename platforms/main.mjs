// Builds the packages of other platforms on a Linux machine on x64, and tests them.
//
//   node platforms/main.mjs build [platform …]
//   node platforms/main.mjs test [--quick | --proof] [--if-possible] [platform …]     builds, too
//   node platforms/main.mjs service [--proof] [--if-possible] [platform …]            builds, and goes the README's path
//
// Without names: all of table.mjs, and Windows. --quick runs a part of the tests. --proof runs that part of what was built without
// the slower optimisations, in the one root where all is built: what .ci/run has the time for. --if-possible passes over a
// platform that the machine or the registries lack something for; without it that is a failure.

import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { Missing, prepare } from './root.mjs';
import { PLATFORMS } from './table.mjs';
import { QUICK, TESTS, prove, service, test } from './test.mjs';
import * as windows from './windows.mjs';

const { values, positionals } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    proof: { type: 'boolean', default: false },
    'if-possible': { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

/** @type {Record<string, { build: () => void, test: () => import('./test.mjs').Found, service: () => string[] }>} */
const platforms = {
  ...Object.fromEntries(
    Object.keys(PLATFORMS).map((name) => [
      name,
      {
        build: () => build(name, !values.proof),
        test: () => (values.proof ? prove(name) : test(name, values.quick ? QUICK : TESTS)),
        service: () => service(name),
      },
    ]),
  ),
  'win32-x64': { ...windows, service: () => ['skipped: there is no malloc to switch on Windows'] },
};
const [action = '', ...named] = positionals;
const names = named.length > 0 ? named : Object.keys(platforms);
const unknown = names.find((name) => !(name in platforms));
if (!['build', 'test', 'service'].includes(action) || unknown !== undefined) {
  const fault = unknown === undefined ? 'say build, test or service' : `there is no platform ${unknown}`;
  console.error(`platforms: ${fault}; the platforms are ${Object.keys(platforms).join(', ')}`);
  process.exit(2);
}

/** The lines of the report on a platform, the first for the table, and how it came out.
 * @param {string} name @returns {{ line: string[], details: string[], failed: boolean }} */
function report(name) {
  const platform = platforms[name] ?? assert.fail(name);
  try {
    prepare();
    platform.build();
    if (action === 'build') return { line: ['built'], details: [], failed: false };
    if (action === 'service') {
      const details = platform.service();
      const failed = details.some((step) => step.startsWith('FAILED'));
      return { line: [failed ? 'FAILED' : 'a service ran'], details, failed };
    }
    const { files, addon, proofs, tests } = platform.test();
    const skipped = Object.values(tests.skipped).reduce((sum, count) => sum + count, 0);
    const proven = proofs && Object.values(proofs).filter((proof) => proof === 'proven').length;
    const counts = [tests.passed, tests.failed.length, skipped];
    const line = [files, addon || 'FAILED', `${proven ?? 'none'}`, ...counts.map(String)];
    const details = [
      ...(proofs === undefined ? ['nothing is proven: there is no malloc to switch'] : []),
      ...Object.entries(proofs ?? {}).flatMap(([backend, proof]) =>
        proof === 'proven' ? [] : [`${backend}: ${proof}`],
      ),
      ...tests.failed.map((test) => `failed: ${test}`),
      ...Object.entries(tests.skipped).map(([reason, count]) => `${count} skipped: ${reason}`),
      ...(values.quick || values.proof ? [] : platform.service()).map((step) => `a service: ${step}`),
    ];
    const failed =
      tests.failed.length > 0 || tests.passed === 0 || /FAILED/.test([...line, ...details].join('\n'));
    return { line, details, failed };
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    const isPassedOver = error instanceof Missing && values['if-possible'];
    return { line: [isPassedOver ? 'passed over' : 'FAILED', message], details: [], failed: !isPassedOver };
  }
}

const reports = names.map((name) => {
  console.log(`\nplatforms: ${action} ${name}`);
  return { name, ...report(name) };
});

console.log();
const heads =
  action !== 'test' ? [] : ['files', 'backends of the addon', 'proven', 'passed', 'failed', 'skipped'];
const rows = [['platform', ...heads], ...reports.map(({ name, line }) => [name, ...line])];
const widths = heads.map((_, index) =>
  Math.max(...rows.filter((row) => row.length > 3).map((row) => row[index + 1]?.length ?? 0)),
);
for (const [name = '', ...cells] of rows)
  console.log(
    [name.padEnd(18), ...cells.map((cell, index) => cell.padEnd(widths[index] ?? 0))].join('  ').trimEnd(),
  );
for (const { name, details } of reports)
  if (details.length > 0) console.log(`\n${name}\n${details.map((detail) => `  ${detail}`).join('\n')}`);
if (reports.some(({ failed }) => failed)) process.exitCode = 1;
