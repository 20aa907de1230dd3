// The format of the results of `compare`: the check of a file, and the JSON Schema beside the types.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CompareResults, METRICS, parseResults, readResults } from '../src/compare/results.js';
import type { Schema } from '../src/schema.js';
import * as tools from './fixtures-ts/tools.js';
import { interfaces, keys } from './support/schemas.js';
import { root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const schema = JSON.parse(readFileSync(join(root, 'src/compare/results.schema.json'), 'utf8')) as Schema & {
  $defs: Record<string, Schema>;
};

const proof = {
  pid: 7,
  backend: 'default',
  version: 'glibc 2.36',
  library: '/probe.so',
  owner: '/libc.so.6',
};

/** Small, with every part that is not optional. */
function results(): CompareResults {
  const subject = {
    id: 'default/none',
    backend: 'default',
    preset: 'none',
    set: {},
    version: '',
    library: '',
  };
  const sample = { at: 20, rss: 1, treeRss: 2, cpu: 0.1 };
  const estimate = { median: 1, low: 1, high: 1, n: 1 };
  return {
    schema: 1,
    tool: 'malloc-backend 0.1.0',
    created: '2026-11-30T00:00:00.000Z',
    finished: false,
    mode: 'batch',
    command: ['true'],
    options: { runs: 10, warmup: 1, seed: 1, intervalMs: 20, ignoreFailure: false },
    machine: { cpu: 'x', cores: 2, memory: 1, kernel: '6', libc: 'glibc 2.36', node: '20.19.0', load: 0 },
    baseline: 'default/none',
    subjects: [subject as CompareResults['subjects'][0]],
    runs: [
      {
        subject: 'default/none',
        round: 1,
        at: '2026-11-30T00:00:00.000Z',
        wall: 1,
        user: 1,
        system: 0,
        peakRss: 1,
        treePeakRss: 1,
        minorFaults: 0,
        majorFaults: 0,
        voluntarySwitches: 0,
        involuntarySwitches: 0,
        samples: [sample],
        proof: proof as CompareResults['runs'][0]['proof'],
      },
    ],
    summaries: [{ subject: 'default/none', metrics: { wall: estimate } }],
    warnings: [],
  };
}

/** The message for results that were changed. */
function complaint(change: (results: CompareResults) => unknown): string {
  const changed = results();
  change(changed);
  let message = '';
  assert.throws(
    () => parseResults(changed, 'a.json'),
    (error: NodeJS.ErrnoException) => {
      message = error.message;
      return error.code === 'ERR_RESULTS_INVALID';
    },
  );
  return message;
}

describe('the results of compare', () => {
  test('are taken where they have the format', () => {
    const given = results();
    assert.equal(parseResults(given, 'a.json'), given);
  });

  test('are refused with the name of the first wrong key', () => {
    const prefix = 'a.json does not hold results of compare: ';
    const cases: [(results: CompareResults) => unknown, string][] = [
      [
        (r) => Object.assign(r, { schema: 2 }),
        'its schema is 2, and this version of malloc-backend reads schema 1',
      ],
      [(r) => Object.assign(r, { schema: '1' }), 'schema must be 1, not "1"'],
      [(r) => Object.assign(r, { comand: [] }), 'there is no key comand. Did you mean command?'],
      [(r) => Object.assign(r, { command: [] }), 'command must have at least 1 entries, not 0'],
      [(r) => Reflect.deleteProperty(r, 'machine'), 'machine is missing'],
      [(r) => Object.assign(r.runs[0]!, { wall: '1' }), 'runs[0].wall must be a number, not "1"'],
      [(r) => Object.assign(r.runs[0]!, { wall: NaN }), 'runs[0].wall must be a number, not NaN'],
      [(r) => Object.assign(r.runs[0]!, { wall: -1 }), 'runs[0].wall must be at least 0, not -1'],
      [(r) => Object.assign(r.runs[0]!, { round: 1.5 }), 'runs[0].round must be an integer, not 1.5'],
      [(r) => Object.assign(r.runs[0]!, { proof: null }), 'runs[0].proof must be an object, not null'],
      [
        (r) => Object.assign(r.runs[0]!.samples[0]!, { rss: true }),
        'runs[0].samples[0].rss must be a number, not true',
      ],
      [(r) => Object.assign(r.options, { budgetMs: 0 }), 'options.budgetMs must be more than 0, not 0'],
      [
        (r) => Object.assign(r.subjects[0]!, { preset: 'fast' }),
        `subjects[0].preset must be one of "low-rss", "balanced", "throughput", "none", not "fast"`,
      ],
      [
        (r) => Object.assign(r.subjects[0]!.set, { narenas: 1 }),
        'subjects[0].set.narenas must be a string, not 1',
      ],
      [(r) => (r.baseline = 'jemalloc/none'), 'baseline is "jemalloc/none", which is no id in subjects'],
      [(r) => (r.runs[0]!.subject = 'x'), 'runs[0].subject is "x", which is no id in subjects'],
    ];
    for (const [change, expected] of cases) assert.equal(complaint(change), prefix + expected);
  });

  test('are read from a file, and a broken file is named', () => {
    const good = tools.file('good.json', JSON.stringify(results()));
    assert.deepEqual(readResults(good), results());
    const half = tools.file('half.json', JSON.stringify(results()).slice(0, 100));
    assert.throws(() => readResults(half), {
      code: 'ERR_RESULTS_INVALID',
      message: /half\.json.*it is not JSON/,
    });
    assert.throws(() => readResults(tools.scratch('none.json')), {
      code: 'ERR_RESULTS_INVALID',
      message: /none\.json.*it cannot be read: ENOENT/,
    });
    for (const text of ['null', '7', '[]', '"x"'])
      assert.throws(() => readResults(tools.file('other.json', text)), {
        message: /the value must be an object/,
      });
  });
});

describe('results.schema.json', () => {
  test('has the keys of the types', () => {
    const types = interfaces('src/compare/results.ts');
    assert.ok(types.size > 10, `${types.size} types`);
    for (const [name, expected] of types)
      assert.deepEqual(keys(name === 'CompareResults' ? schema : schema.$defs[name]!), expected, name);
  });

  test('has every metric', () => {
    for (const part of ['metrics', 'against'])
      assert.deepEqual(Object.keys(schema.$defs['Summary']!.properties![part]!.properties!), [...METRICS]);
  });

  test('is in the package', () => {
    const file = require.resolve('malloc-backend/schemas/compare-results.json', { paths: [root] });
    assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), schema);
  });
});
