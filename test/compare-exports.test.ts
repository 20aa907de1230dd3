// What `compare` says about its runs: figures, curves, warnings, CSV, Markdown.

import assert from 'node:assert/strict';
import type { CompareResults, Machine, Run } from '../index.js';
import { renderCsv } from '../src/compare/export/csv.js';
import { amount, bytes, change, duration, seconds, verdict } from '../src/compare/export/format.js';
import { quoted, renderMarkdown } from '../src/compare/export/markdown.js';
import { sparklines, typicalRun } from '../src/compare/export/sparkline.js';
import { parseResults } from '../src/compare/results.js';
import { summarize } from '../src/compare/summary.js';
import { warningsBefore, warningsOf } from '../src/compare/warnings.js';
import { painter, report } from '../src/cli/terminal.js';
import { describe, test } from './support/suite.js';

const MACHINE: Machine = {
  cpu: 'x',
  cores: 4,
  memory: 2 ** 34,
  kernel: '6.1',
  libc: 'glibc 2.36',
  node: '22.12.0',
  load: 0,
};

/** A run of one second on one core. */
function aRun(subject: string, round: number, more: Partial<Run> = {}): Run {
  return {
    subject,
    round,
    at: '2026-11-30T00:00:00.000Z',
    wall: 1,
    user: 0.9,
    system: 0.1,
    peakRss: 2 ** 26,
    treePeakRss: 2 ** 26,
    minorFaults: 0,
    majorFaults: 0,
    voluntarySwitches: 0,
    involuntarySwitches: 0,
    samples: [],
    proof: { pid: 1, backend: 'default', version: '', library: '', owner: '' },
    ...more,
  };
}

const SUBJECTS = ['default/none', 'jemalloc/none'] as const;

/** As many rounds, with what each run differs by. */
function resultsOf(
  rounds: number,
  more: (subject: string, round: number) => Partial<Run> = () => ({}),
): CompareResults {
  const runs = Array.from({ length: rounds }, (_, at) => at + 1).flatMap((round) =>
    SUBJECTS.map((subject) => aRun(subject, round, more(subject, round))),
  );
  const results: CompareResults = {
    schema: 1,
    tool: 'malloc-backend 0.1.0',
    created: '2026-11-30T00:00:00.000Z',
    finished: true,
    mode: 'batch',
    command: ['node', 'a b.js'],
    options: { runs: rounds, warmup: 1, seed: 1, intervalMs: 20, ignoreFailure: false },
    machine: MACHINE,
    baseline: SUBJECTS[0],
    subjects: SUBJECTS.map((id) => {
      const backend = id === 'default/none' ? 'default' : 'jemalloc';
      return { id, backend, preset: 'none', set: {}, version: '', library: '' };
    }),
    runs,
    summaries: [],
    warnings: [],
  };
  return parseResults({ ...results, summaries: summarize(results) }, 'the test');
}

describe('figures', () => {
  test('have three digits and a unit', () => {
    const texts: [string, string][] = [
      [seconds(0), '0.00 ms'],
      [seconds(0.0000042), '4.20 µs'],
      [seconds(0.0421), '42.1 ms'],
      [seconds(1.239), '1.24 s'],
      [seconds(75), '75.0 s'],
      [seconds(1234.5), '1235 s'],
      [bytes(999), '999 bytes'],
      [bytes(1000), '0.98 KiB'],
      [bytes(812 * 2 ** 20), '812 MiB'],
      [bytes(1000 * 2 ** 20), '0.98 GiB'],
      [amount('throughput', 1234.5), '1235/s'],
      [amount('p99', 12.34), '12.3 ms'],
      [duration(45_400), '45 s'],
      [duration(500_000), '8 min 20 s'],
      [duration(7_500_000), '2 h 5 min'],
      [duration(-1), '0 s'],
    ];
    for (const [text, expected] of texts) assert.equal(text, expected);
  });

  test('changes have a sign', () => {
    assert.deepEqual([0.51, 1.004, 1.05, 2, 1, 0.9999].map(change), [
      '−49 %',
      '+0.4 %',
      '+5 %',
      '+100 %',
      '±0 %',
      '±0 %',
    ]);
    const of = (found: 'lower' | 'no difference' | 'undecided') =>
      verdict({ ratio: 0.51, low: 0.493, high: 0.528, p: 0, verdict: found });
    assert.deepEqual(
      [of('lower'), of('no difference'), of('undecided')],
      ['−49 % [−51, −47]', '±0', 'undecided [−51, −47]'],
    );
  });
});

describe('the curve of RSS', () => {
  const sample = (at: number, treeRss: number) => ({ at, rss: treeRss, treeRss, cpu: 0 });

  test('has one scale for all subjects, in height and in time', () => {
    const results = resultsOf(1, (subject) =>
      subject === 'default/none'
        ? { wall: 0.08, samples: [sample(0, 25), sample(20, 50), sample(40, 75), sample(60, 100)] }
        : { wall: 0.04, samples: [sample(0, 10), sample(20, 50)] },
    );
    const curves = sparklines(results, 4);
    assert.equal(curves.get('default/none'), '▃▅▇█');
    assert.equal(curves.get('jemalloc/none'), '▁▅');
  });

  test('is of the run in the middle, and empty without samples', () => {
    const runs = [10, 30, 20].map((meanRss, at) => aRun('x', at + 1, { meanRss, samples: [sample(0, 1)] }));
    assert.equal(typicalRun(runs)?.meanRss, 20);
    assert.equal(sparklines(resultsOf(1), 4).get('default/none'), '');
  });
});

describe('warnings', () => {
  const codes = (results: CompareResults) => warningsOf(results).map(({ code }) => code);

  test('are not given for a good comparison', () => {
    assert.deepEqual(codes(resultsOf(20)), []);
    assert.deepEqual(warningsBefore(MACHINE, { MALLOC_BACKEND_JEMALLOC: 'x' }), []);
  });

  test('of the machine', () => {
    const before = (machine: Partial<Machine>, env: NodeJS.ProcessEnv = {}) =>
      warningsBefore({ ...MACHINE, ...machine }, env, 4).map(({ code }) => code);
    assert.deepEqual(before({ governor: 'powersave' }), ['GOVERNOR']);
    assert.deepEqual(before({ governor: 'performance' }), []);
    assert.deepEqual(before({ load: 1.1 }), ['LOAD']);
    for (const name of ['MALLOC_CONF', 'MIMALLOC_PURGE_DELAY', 'GLIBC_TUNABLES', 'MALLOC_ARENA_MAX'])
      assert.deepEqual(before({}, { [name]: '1' }), ['ALLOCATOR_VARIABLES'], name);
  });

  test('of a machine that becomes slower, but not of one that is unsteady', () => {
    const drifting = resultsOf(20, (_, round) => ({ user: 1 + round / 100 }));
    const { message } = warningsOf(drifting).find(({ code }) => code === 'DRIFT')!;
    assert.match(message, /^the machine became 1[789] % slower/);
    assert.deepEqual(codes(resultsOf(20, (_, round) => ({ user: 1 + (round % 2) / 50 }))), []);
    assert.deepEqual(
      codes(resultsOf(9, (_, round) => ({ user: 1 + round / 100 }))),
      [],
      'too few rounds to tell',
    );
  });

  test('of runs that are far from the others', () => {
    const results = resultsOf(12, (subject, round) =>
      subject === 'jemalloc/none' && round === 5 ? { user: 3 } : {},
    );
    const [warning] = warningsOf(results);
    assert.equal(warning?.code, 'OUTLIERS');
    assert.equal(warning.subject, 'jemalloc/none');
    assert.match(warning.message, /^1 of 12 runs under jemalloc\/none/);
  });

  test('of short runs, of busy cores, of what failed and what was left behind', () => {
    assert.deepEqual(codes(resultsOf(2, () => ({ wall: 0.005, user: 0.004, system: 0 }))), ['SHORT']);
    assert.deepEqual(codes(resultsOf(2, () => ({ user: 3.9 }))), ['CORES']);
    assert.deepEqual(codes(resultsOf(2, () => ({ failure: { code: 1, signal: null } }))), [
      'FAILED_RUNS',
      'FAILED_RUNS',
    ]);
    assert.deepEqual(codes(resultsOf(2, () => ({ leftBehind: 2 }))), ['LEFT_BEHIND', 'LEFT_BEHIND']);
  });
});

describe('exports', () => {
  const half = resultsOf(12, (subject, round) => ({
    treePeakRss: (subject === 'default/none' ? 2 : 1) * 2 ** 26 + round * 4096,
  }));

  test('CSV quotes as RFC 4180 has it', () => {
    const odd = resultsOf(1);
    const name = 'jemalloc/none,"x"=1';
    odd.runs[1]!.subject = name;
    const lines = renderCsv(odd).split('\r\n');
    assert.match(
      lines[2]!,
      /^"jemalloc\/none,""x""=1",1,2026-11-30T00:00:00\.000Z,0\.9,0\.1,1,1,67108864,67108864,,/,
    );
    assert.equal(lines.length, 4);
  });

  test('Markdown has the table, the command and the circumstances', () => {
    const text = renderMarkdown({ ...half, advice: { subject: null, sentence: 'a | b' } });
    assert.match(
      text,
      /^\| subject \| time \| CPU \| peak RSS \| RSS over time \|\n\| --- \| ---: \| ---: \| ---: \| --- \|\n/,
    );
    assert.match(
      text,
      /\| jemalloc\/none \| 1\.00 s ±0 \| 1\.00 s ±0 \| 64\.0 MiB −50 % \[−50, −50\] \| {2}\|/,
    );
    assert.ok(text.includes('**a \\| b**'));
    assert.ok(text.includes("```sh\nnode 'a b.js'\n```"));
    assert.match(
      text,
      /Medians of 12 rounds, differences to default\/none with 95 % intervals; 2026-11-30 00:00 UTC; 4 × x, 16\.0 GiB; Linux 6\.1;/,
    );
    assert.equal(quoted("it's"), "'it'\\''s'");
  });

  test('the terminal leaves the intervals out where the table is too wide', () => {
    const plain = painter({ isTTY: false });
    assert.match(report(half, plain), /64\.0 MiB −50 % \[−50, −50\]/);
    assert.match(report(half, plain, 200), /64\.0 MiB −50 % \[−50, −50\]/);
    const narrow = report(half, plain, 80);
    assert.match(narrow, /64\.0 MiB −50 %\n/);
    assert.ok(
      narrow
        .split('\n')
        .slice(0, 3)
        .every((line) => line.length <= 80),
    );
  });

  test('the terminal is coloured, unless the user wants no colour', () => {
    assert.match(report(half, painter({ isTTY: true })), /\u001b\[32m64\.0 MiB −50 %/);
    process.env['NO_COLOR'] = '1';
    assert.ok(!report(half, painter({ isTTY: true })).includes('\u001b'));
    delete process.env['NO_COLOR'];
  });
});
