// compare() from TypeScript: events, figures, refusals. A fake launcher reports figures that are known.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { type CompareOptions, compare, readResults } from '../index.js';
import { parseResults } from '../src/compare/results.js';
import { events, fakeBinaries, results } from './fixtures-ts/compared.js';
import * as tools from './fixtures-ts/tools.js';
import { cannotPreload } from './support/shims.js';
import { beforeAll, describe, test } from './support/suite.js';

/** What the fake launcher reports, by subject. */
function fake(reports: object): NodeJS.ProcessEnv {
  return { ...process.env, FAKE_LAUNCHER: JSON.stringify(reports) };
}

const MIB = 2 ** 20;
const rss = (...mib: number[]) => mib.map((each) => each * MIB);

/** jemalloc halves the memory, mimalloc costs a tenth more time, snmalloc is as the baseline. */
const WORLD = {
  '*': { noise: 0.002, rss: rss(50, 100, 100, 80, 60, 50) },
  'jemalloc/low-rss': { noise: 0.002, rss: rss(25, 50, 50, 40, 30, 25), end: { treePeakRss: 5e7 } },
  'mimalloc/low-rss': { noise: 0.002, rss: rss(50, 100, 100, 80, 60, 50), end: { user: 1.1, wall: 1.1 } },
};

const SUBJECTS = ['jemalloc/low-rss', 'mimalloc/low-rss', 'snmalloc/none'];

function options(more: CompareOptions = {}): CompareOptions {
  return { command: ['true'], subjects: SUBJECTS, runs: 6, warmup: 0, seed: 1, env: fake(WORLD), ...more };
}

describe('compare()', { skip: cannotPreload }, () => {
  beforeAll(() => {
    process.env['MALLOC_BACKEND_BINARY_DIR'] = fakeBinaries();
  });

  test('yields its events in order, and results of the format', async () => {
    const all = await events(options({ runs: 2, warmup: 1 }));
    const types = all.map(({ type }) => type).filter((type) => type !== 'warning');
    const warmups = Array.from({ length: 4 }, () => 'run-start');
    const runs = Array.from({ length: 8 }, () => ['run-start', 'run']).flat();
    assert.deepEqual(types, ['start', ...warmups, ...runs, 'end']);
    for (const event of all) if ('results' in event) parseResults(event.results, 'the event');
    const starts = all.flatMap((event) => (event.type === 'run-start' ? [event] : []));
    assert.deepEqual(
      starts.map(({ round }) => round),
      [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
    );
    assert.deepEqual(starts.at(-1)!.progress.rounds, { least: 2, most: 2 });
    assert.equal(starts.at(-1)!.progress.done, 7);
  });

  test('runs every subject once a round, in an order that the seed decides', async () => {
    const order = async (seed: number) =>
      (await results(options({ seed }))).runs.map(({ subject }) => subject);
    const [once, again, other] = [await order(1), await order(1), await order(2)];
    assert.deepEqual(once, again);
    assert.notDeepEqual(once, other);
    const rounds = Array.from({ length: 6 }, (_, at) => once.slice(at * 4, at * 4 + 4));
    for (const round of rounds) assert.deepEqual(round.toSorted(), ['default/none', ...SUBJECTS]);
    assert.ok(new Set(rounds.map((round) => round.join())).size > 1, 'the order changes from round to round');
  });

  test('finds what differs and what does not', async () => {
    const { summaries, baseline, advice } = await results(options({ runs: 10 }));
    assert.equal(baseline, 'default/none');
    const verdicts = Object.fromEntries(
      summaries.map(({ subject, against = {} }) => [
        subject,
        Object.fromEntries(Object.entries(against).map(([name, { verdict }]) => [name, verdict])),
      ]),
    );
    const same = { wall: 'no difference', cpu: 'no difference' };
    const memory = (verdict: string) => ({
      treePeakRss: verdict,
      meanRss: verdict,
      peakRss: 'no difference',
    });
    assert.deepEqual(verdicts, {
      'default/none': {},
      'jemalloc/low-rss': { ...same, ...memory('lower') },
      'mimalloc/low-rss': { wall: 'higher', cpu: 'higher', ...memory('no difference') },
      'snmalloc/none': { ...same, ...memory('no difference') },
    });
    const jemalloc = summaries.find(({ subject }) => subject === 'jemalloc/low-rss')!;
    assert.ok(Math.abs(jemalloc.against!.treePeakRss!.ratio - 0.5) < 1e-9);
    assert.equal(jemalloc.metrics.treePeakRss!.median, 5e7);
    assert.equal(jemalloc.metrics.treePeakRss!.n, 10);
    assert.equal(advice?.subject, 'jemalloc/low-rss');
    assert.match(
      advice.sentence,
      /^jemalloc low-rss: peak RSS −50 % \[−50, −50\], mean RSS −50 % .*, CPU ±0, time ±0\.$/,
    );
    assert.ok(
      advice.dockerfile!.some((line) => /^ENV LD_PRELOAD=".*libmalloc_backend_jemalloc\.so"$/.test(line)),
    );
  });

  test('says so where nothing is better, and where the price is high', async () => {
    const none = await results(options({ runs: 10, subjects: ['snmalloc/none', 'mimalloc/low-rss'] }));
    assert.deepEqual(none.advice, {
      subject: null,
      sentence: 'Stay with default: nothing else is better.',
    });
    const dear = {
      ...WORLD,
      'jemalloc/low-rss': { ...WORLD['jemalloc/low-rss'], end: { treePeakRss: 5e7, user: 1.2 } },
    };
    const { advice } = await results(options({ runs: 10, env: fake(dear) }));
    assert.equal(advice?.subject, null);
    assert.match(
      advice.sentence,
      /^Stay with default, unless memory is worth the price: jemalloc low-rss has peak RSS −50 %.*CPU \+20 %/,
    );
    const few = await results(options({ runs: 3 }));
    assert.match(
      few.advice!.sentence,
      /^Nothing is certain after 3 rounds; a verdict needs 7\. So far jemalloc low-rss/,
    );
  });

  test('the mean RSS is over time, and a short run has none', async () => {
    const { runs } = await results(options({ runs: 1 }));
    // The launcher says 20 ms for each sample.
    assert.equal(
      runs.find(({ subject }) => subject === 'default/none')!.meanRss,
      Math.round((440 / 6) * MIB),
    );
    const short = await results(options({ runs: 1, env: fake({ '*': { rss: rss(1, 2, 3, 4) } }) }));
    assert.ok(short.runs.every(({ meanRss, samples }) => meanRss === undefined && samples.length === 4));
  });

  test('keeps 200 samples at most, with every peak', async () => {
    const many = Array.from({ length: 1000 }, (_, at) => (at === 501 ? 900 : 100) * MIB);
    const { runs } = await results(options({ runs: 1, env: fake({ '*': { rss: many } }) }));
    for (const { samples } of runs) {
      assert.equal(samples.length, 200);
      assert.equal(Math.max(...samples.map(({ treeRss }) => treeRss)), 900 * MIB);
      assert.deepEqual(
        samples.toSorted((a, b) => a.at - b.at),
        samples,
      );
    }
  });

  test('ends early when every verdict is there, and goes on to the budget when not', async () => {
    const decided = await events(
      options({ runs: undefined as never, budgetMs: 600_000, subjects: ['jemalloc/low-rss'] }),
    );
    const last = decided.at(-1)!;
    assert.ok(last.type === 'end' && last.reason === 'decided', JSON.stringify(last));
    assert.equal(last.results.runs.length, 20);
    const noisy = fake({ '*': { noise: 0.9 } });
    const open = await events(
      options({ runs: undefined as never, budgetMs: 1500, subjects: ['jemalloc/low-rss'], env: noisy }),
    );
    const end = open.at(-1)!;
    assert.ok(end.type === 'end' && end.reason === 'budget', JSON.stringify(end));
    assert.ok(end.results.runs.length >= 2);
    assert.equal(end.results.runs.length % 2, 0);
  });

  test('says before the first round that the budget is too short', async () => {
    const all = await events(options({ runs: undefined as never, budgetMs: 1, warmup: 1 }));
    const at = all.findIndex((event) => event.type === 'warning' && event.warning.code === 'BUDGET');
    assert.ok(at > 0 && at < all.findIndex(({ type }) => type === 'run'));
    assert.equal(all.filter(({ type }) => type === 'run').length, 4, 'one round is measured all the same');
  });

  describe('a run that does not count', () => {
    const one = { subjects: ['jemalloc/low-rss'], runs: 2 };

    test('has no proof: it is an error and no row', async () => {
      const file = tools.scratch('unproved.json');
      const env = fake({ 'jemalloc/low-rss': { proof: { backend: 'default' } } });
      await tools.rejects(
        results(options({ ...one, env, file })),
        'ERR_NOT_APPLIED',
        /jemalloc\/low-rss has the proof of default/,
      );
      if (existsSync(file))
        assert.ok(readResults(file).runs.every(({ subject }) => subject === 'default/none'));
      const refused = fake({ 'jemalloc/low-rss': { instead: 'error' } });
      await tools.rejects(
        results(options({ ...one, env: refused })),
        'ERR_NOT_APPLIED',
        /^under jemalloc\/low-rss: its malloc is/,
      );
    });

    test('has no report', async () => {
      const env = fake({ 'jemalloc/low-rss': { instead: 'silence' } });
      await tools.rejects(
        results(options({ ...one, env })),
        'ERR_MEASURE_FAILED',
        /jemalloc\/low-rss \(exit status 9\)/,
      );
    });

    test('fails: the error says how, and quotes the program', async () => {
      const command = ['sh', '-c', 'echo no such table >&2; exit 3'];
      await tools.rejects(
        results(options({ ...one, command })),
        'ERR_COMMAND_FAILED',
        /failed under [\w/-]+: exit status 3; with --ignore-failure.*\nno such table$/s,
      );
      const killed = ['sh', '-c', 'kill -9 $$'];
      await tools.rejects(
        results(options({ ...one, command: killed })),
        'ERR_COMMAND_FAILED',
        /ended by SIGKILL/,
      );
    });

    test('counts where failures are ignored', async () => {
      const { runs, warnings } = await results(options({ ...one, command: ['false'], ignoreFailure: true }));
      assert.equal(runs.length, 4);
      assert.deepEqual(runs[0]!.failure, { code: 1, signal: null });
      assert.equal(warnings.filter(({ code }) => code === 'FAILED_RUNS').length, 2);
    });
  });

  test('setup, prepare and cleanup run around the runs, cleanup also after a failure', async () => {
    const log = tools.scratch('around.log');
    const say = (word: string) => `echo ${word} >> ${log}`;
    const around = { setup: say('setup'), prepare: say('prepare'), cleanup: say('cleanup') };
    const one = { subjects: ['jemalloc/low-rss'], runs: 1, warmup: 1 };
    await results(options({ ...one, ...around, command: ['sh', '-c', say('run')] }));
    const runs = Array.from({ length: 4 }, () => ['prepare', 'run']).flat();
    assert.deepEqual(readFileSync(log, 'utf8').trim().split('\n'), ['setup', ...runs, 'cleanup']);
    await tools.rejects(results(options({ ...one, ...around, command: ['false'] })), 'ERR_COMMAND_FAILED');
    assert.equal(readFileSync(log, 'utf8').trim().split('\n').at(-1), 'cleanup');
    // A cleanup that fails too does not hide why the runs ended.
    await tools.rejects(
      results(options({ ...one, cleanup: 'exit 4', command: ['false'] })),
      'ERR_COMMAND_FAILED',
      /^(?!the command of --cleanup)/,
    );
    await tools.rejects(
      results(options({ ...one, cleanup: 'exit 4', command: ['true'] })),
      'ERR_COMMAND_FAILED',
      /^the command of --cleanup/,
    );
    await tools.rejects(
      results(options({ ...one, setup: 'echo why >&2; exit 4' })),
      'ERR_COMMAND_FAILED',
      /^the command of --setup, ".*", failed: exit status 4. The end of its standard error:\nwhy$/s,
    );
  });

  test('leaving the loop ends it, with the cleanup', async () => {
    const log = tools.scratch('left.log');
    for await (const event of compare(options({ cleanup: `echo cleanup >> ${log}` })))
      if (event.type === 'run') break;
    assert.equal(readFileSync(log, 'utf8'), 'cleanup\n');
  });

  test('the launcher gets the backend, the preset and the options', async () => {
    const log = tools.scratch('launcher.log');
    const env = { ...fake(WORLD), FAKE_LAUNCHER_LOG: log };
    const subjects = [
      'jemalloc/low-rss,narenas=1,tcache_max=64',
      { backend: 'mimalloc', set: { purge_delay: 7 } },
    ] as const;
    const { subjects: all } = await results(options({ env, subjects, runs: 1, intervalMs: 5 }));
    assert.deepEqual(
      all.map(({ id }) => id),
      ['default/none', 'jemalloc/low-rss,narenas=1,tcache_max=64', 'mimalloc/none,purge_delay=7'],
    );
    assert.deepEqual(readFileSync(log, 'utf8').trim().split('\n').sort(), [
      'default/none --preset none --interval 5',
      'jemalloc/low-rss --preset low-rss --set narenas=1 --set tcache_max=64 --interval 5',
      'mimalloc/none --preset none --set purge_delay=7 --interval 5',
    ]);
  });

  test('an abort ends it, and what is measured is kept', async () => {
    const file = tools.scratch('aborted.json');
    const abort = new AbortController();
    const all = (async () => {
      for await (const event of compare(options({ file, signal: abort.signal })))
        if (event.type === 'run' && event.results.runs.length === 5) abort.abort();
    })();
    await tools.rejects(all, 'ERR_ABORTED', /^the comparison was interrupted$/);
    const kept = readResults(file);
    assert.equal(kept.runs.length, 5);
    assert.equal(kept.finished, false);
    await tools.rejects(results(options({ signal: AbortSignal.abort() })), 'ERR_ABORTED');
  });

  describe('resume', () => {
    test('goes on in the same order, and ends as the whole does', async () => {
      const whole = await results(options());
      const file = tools.scratch('resumed.json');
      for await (const event of compare(options({ file })))
        if (event.type === 'run' && event.results.runs.length === 7) break;
      const resumed = await results({ resume: file, env: fake(WORLD) });
      const order = (all: typeof whole) => all.runs.map(({ subject, round }) => `${round} ${subject}`);
      assert.deepEqual(order(resumed), order(whole));
      assert.ok(resumed.finished);
      assert.deepEqual(readResults(file), resumed);
    });

    test('shows finished results again, and measures more where it is told to', async () => {
      const file = tools.scratch('finished.json');
      await results(options({ file, runs: 2 }));
      const again = await events({ resume: file });
      assert.deepEqual(
        again.map(({ type }) => type).filter((type) => type !== 'warning'),
        ['start', 'end'],
      );
      const more = await results({ resume: file, runs: 3, env: fake(WORLD) });
      assert.equal(more.runs.length, 12);
      assert.equal(more.options.runs, 3);
    });

    test('refuses another command, other options, and what are no results', async () => {
      const file = tools.scratch('refused.json');
      await results(options({ file, runs: 1 }));
      await tools.rejects(
        results({ resume: file, command: ['false'] }),
        'ERR_INVALID_ARGUMENT',
        /is of another command, true/,
      );
      await tools.rejects(
        results({ resume: file, seed: 2 }),
        'ERR_INVALID_ARGUMENT',
        /seed cannot be given with resume/,
      );
      const broken = tools.file('broken.json', '{"schema": 1}');
      await tools.rejects(results({ resume: broken }), 'ERR_RESULTS_INVALID', /tool is missing/);
    });
  });

  test('refuses wrong options before anything runs', async () => {
    const cases: [object, string, RegExp][] = [
      [
        { command: undefined },
        'ERR_INVALID_ARGUMENT',
        /command must be an array of strings with the program first, not undefined/,
      ],
      [{ command: [] }, 'ERR_INVALID_ARGUMENT', /command must be/],
      [{ comand: ['true'] }, 'ERR_INVALID_ARGUMENT', /unknown option "comand". Did you mean command\?/],
      [{ runs: 0 }, 'ERR_INVALID_ARGUMENT', /runs must be an integer of at least 1, not 0/],
      [{ runs: 1.5 }, 'ERR_INVALID_ARGUMENT', /runs must be an integer/],
      [{ budgetMs: -1 }, 'ERR_INVALID_ARGUMENT', /budgetMs must be a number of at least 1/],
      [{ output: 'show' }, 'ERR_INVALID_ARGUMENT', /output must be/],
      [{ input: '/none' }, 'ERR_INVALID_ARGUMENT', /the input \/none cannot be read/],
      [{ setup: '' }, 'ERR_INVALID_ARGUMENT', /setup must be a string that is not empty/],
      [{ signal: {} }, 'ERR_INVALID_ARGUMENT', /signal must be an AbortSignal/],
      [{ subjects: ['jemaloc'] }, 'ERR_UNKNOWN_BACKEND', /Did you mean jemalloc/],
      [{ subjects: ['jemalloc/fast'] }, 'ERR_UNKNOWN_PRESET', /"fast"/],
      [{ subjects: ['jemalloc/none/x'] }, 'ERR_INVALID_ARGUMENT', /a subject is <backend>\/<preset>/],
      [{ subjects: ['jemalloc/none,narenas'] }, 'ERR_INVALID_ARGUMENT', /options of a subject are key=value/],
      [{ subjects: ['jemalloc/none,narena=1'] }, 'ERR_UNKNOWN_OPTION', /narena/],
      [{ subjects: ['snmalloc/low-rss'] }, 'ERR_UNKNOWN_PRESET', /has no options; omit the preset/],
      [{ subjects: [{ backend: 'rust' }] }, 'ERR_BACKEND_UNAVAILABLE', /Rust/],
      [{ baseline: 'default/nine' }, 'ERR_UNKNOWN_PRESET', /Did you mean none/],
      [{ command: ['no-such-program'] }, 'ERR_PROGRAM_NOT_FOUND', /no-such-program/],
      [{ file: '/none/result.json' }, 'ERR_EXPORT_FAILED', /cannot write \/none\/result.json: ENOENT/],
    ];
    for (const [more, code, message] of cases)
      await tools.rejects(results({ ...options(), ...more }), code, message);
  });

  test('warns of variables that override the presets', async () => {
    const { warnings } = await results(
      options({ runs: 1, env: { ...fake(WORLD), MALLOC_CONF: 'narenas:1' } }),
    );
    const { message } = warnings.find(({ code }) => code === 'ALLOCATOR_VARIABLES')!;
    assert.equal(message, 'MALLOC_CONF is set, and overrides the presets of that allocator');
  });
});
