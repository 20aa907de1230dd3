// The verdicts of `compareFleet` on simulated fleets of 2,000 pods: how often they are wrong, and how often right.

import assert from 'node:assert/strict';
import {
  FLEET_METRICS,
  type FleetMetric,
  type FleetOptions,
  type FleetResults,
  type Verdict,
  compareFleet,
} from '../index.js';
import { summariesOf } from '../src/fleet/verdicts.js';
import * as tools from './fixtures-ts/tools.js';
import {
  END,
  type Pod,
  SCRAPE_SECONDS,
  type World,
  serveFleet,
  simulate,
  valuesOf,
} from './support/fleet.js';
import { noPrometheus, promtool } from './support/prometheus.js';
import { succeed } from './support/run.js';
import { afterAll, describe, test } from './support/suite.js';

const server = await serveFleet();
afterAll(() => server.stop());

async function compared(world: World, seed: number, requests?: string): Promise<FleetResults> {
  const pods = simulate(world, seed);
  server.show(pods);
  return compareFleet({
    prometheus: server.url,
    workload: 'job="api"',
    until: new Date(END * 1000),
    sinceMs: (world.scrapes ?? 40) * SCRAPE_SECONDS * 1000,
    baseline: 'default/none',
    ...(requests === undefined ? {} : { requests }),
  });
}

const verdictOf = ({ summaries }: FleetResults, name: FleetMetric): Verdict =>
  summaries.at(-1)!.against![name]!.verdict;

/**
 * How often each verdict comes out, by the values of the pods alone: the way through a server takes the longest, and what it
 * brings is compared below.
 */
function tally(world: World): Record<FleetMetric, Record<Verdict, number>> {
  const counts = () => ({ lower: 0, higher: 0, 'no difference': 0, undecided: 0 });
  const found = Object.fromEntries(FLEET_METRICS.map((name) => [name, counts()]));
  for (let seed = 1; seed <= TIMES; seed++) {
    const [, summary] = summariesOf(simulate(world, seed).map(valuesOf), VARIANTS);
    for (const name of FLEET_METRICS) {
      const comparison = summary!.against![name];
      if (comparison !== undefined) found[name]![comparison.verdict] += 1;
    }
  }
  return found as Record<FleetMetric, Record<Verdict, number>>;
}

const VARIANTS = ['default/none', 'jemalloc/low-rss'];
const TIMES = 40;
/** Nineteen of twenty. */
const MOST = TIMES * 0.95;

describe('verdicts on 2,000 simulated pods', () => {
  test("two equal halves have 'no difference' in each metric", () => {
    const found = tally({ baseline: 1000, other: 1000 });
    for (const name of ['meanRss', 'medianRss', 'peakRss', 'cpu'] as const)
      assert.ok(found[name]['no difference'] >= MOST, `${name}: ${JSON.stringify(found[name])}`);
  });

  test('5 % less and 5 % more in a half are found', () => {
    const less = tally({ baseline: 1000, other: 1000, rss: 0.95, cpu: 1.05 });
    for (const name of ['meanRss', 'medianRss', 'peakRss'] as const)
      assert.ok(less[name].lower >= MOST, `${name}: ${JSON.stringify(less[name])}`);
    assert.ok(less.cpu.higher >= MOST, JSON.stringify(less.cpu));
    const more = tally({ baseline: 1000, other: 1000, rss: 1.05 });
    assert.ok(more.meanRss.higher >= MOST, JSON.stringify(more.meanRss));
  });

  test('10 % is found with 100 of the pods, and 30 % less with 20 of them', () => {
    const hundred = tally({ baseline: 1900, other: 100, rss: 0.9, cpu: 1.1 });
    assert.ok(hundred.meanRss.lower >= MOST, JSON.stringify(hundred.meanRss));
    assert.ok(hundred.cpu.higher >= MOST, JSON.stringify(hundred.cpu));
    const twenty = tally({ baseline: 1980, other: 20, rss: 0.7 });
    assert.ok(twenty.meanRss.lower >= MOST, JSON.stringify(twenty.meanRss));
  });

  test('chance names a difference in fewer than one of twenty equal fleets, however unequal the groups', () => {
    for (const world of [
      { baseline: 1900, other: 100 },
      { baseline: 1980, other: 20, spread: 0.4, restarts: [0.05, 0.05] },
    ] satisfies World[]) {
      const { lower, higher } = tally(world).meanRss;
      assert.ok(lower + higher <= TIMES / 20, JSON.stringify([world, lower, higher]));
    }
  });

  test('of few pods with many scrapes each, chance names a difference no more often', () => {
    const { lower, higher } = tally({ baseline: 8, other: 8, scrapes: 400 }).meanRss;
    assert.ok(lower + higher <= TIMES / 20, `${lower} and ${higher}`);
  });

  test('restarts that both variants have change nothing', () => {
    const { meanRss } = tally({ baseline: 1000, other: 1000, rss: 0.95, restarts: [0.03, 0.03] });
    assert.ok(meanRss.lower >= MOST, JSON.stringify(meanRss));
  });

  test('are those of the values that come through a server', async () => {
    const world = { baseline: 1900, other: 100, rss: 0.9 };
    const { summaries, pods } = await compared(world, 1);
    const direct = summariesOf(simulate(world, 1).map(valuesOf), VARIANTS);
    assert.equal(pods.length, 2000);
    for (const name of ['meanRss', 'medianRss', 'peakRss', 'cpu'] as const)
      assert.deepEqual(summaries[1]!.against![name], direct[1]!.against![name], name);
  });
});

const asked = (by: readonly string[], more: Partial<FleetOptions> = {}) =>
  compareFleet({
    prometheus: server.url,
    workload: 'job="api"',
    until: new Date(END * 1000),
    sinceMs: 40 * SCRAPE_SECONDS * 1000,
    by,
    ...more,
  });

const SCRAPED = ['at', 'rss', 'cpu', 'started', 'requests'] as const;

/** Leaves out scrapes of a pod. */
function keep(pod: Pod, isKept: (scrape: number) => boolean): void {
  for (const key of SCRAPED) pod[key] = pod[key].filter((_, scrape) => isKept(scrape));
}

describe('the values of a pod', () => {
  test('are the same with fewer scrapes: CPU and requests are of the time between its own first and last', async () => {
    const pods = simulate({ baseline: 20, other: 20, restarts: [0, 0] }, 1);
    for (const pod of pods.slice(20)) keep(pod, (scrape) => scrape % 3 === 0);
    // A network that was down.
    keep(pods[1]!, (scrape) => scrape < 8 || scrape > 31);
    server.show(pods);
    const results = await asked(['backend'], { requests: 'http_requests_total' });
    assert.equal(results.query.scrapeSeconds, SCRAPE_SECONDS);
    for (const { labels, at, cpu, requests } of pods) {
      const found = results.pods.find(({ pod }) => pod === labels.instance)!;
      const seconds = at.at(-1)! - at[0]!;
      for (const [value, counter] of [
        [found.cpu, cpu],
        [found.requests, requests],
      ] as const) {
        const expected = (counter.at(-1)! - counter[0]!) / seconds;
        assert.ok(Math.abs(value! / expected - 1) < 1e-9, `${found.pod}: ${value}, not ${expected}`);
      }
    }
  });

  test('are of moments that were there, as Prometheus itself finds', { skip: noPrometheus }, async () => {
    server.show(simulate({ baseline: 20, other: 20 }, 1));
    // promtool counts the time from 1970.
    const [until, sinceMs] = [new Date(1_200_000), 1_200_000];
    await asked(['backend'], { until, sinceMs });
    const [peaks, first] = [/^max_over_time\(\(sum/, /^min_over_time/].map((start) => {
      const found = server.asked().filter((query) => start.test(query));
      assert.equal(found.length, 1, server.asked().join('\n'));
      return found[0]!;
    });
    // Asked for only where pods have ended, and in the same way.
    const last = first!.replaceAll('min', 'max');
    const pod = (instance: string, more: string) =>
      `malloc_backend_rss_bytes{job="api",backend="default",instance="${instance}",${more}}`;
    const series = [
      // A process whose `config` changes in the middle of a step of time, by a restart.
      [pod('changes', 'config="none"'), '100x20 300 stale'],
      [pod('changes', 'config="01234567"'), '_x22 280x18'],
      // Two processes, of which each has its peak at another moment.
      [pod('two', 'port="1"'), '200x9 300 200x30'],
      [pod('two', 'port="2"'), '200x29 350 200x10'],
      // One that is scraped every second time, and not at all for a while.
      [pod('rare', 'config="none"'), '_ _ 100 _ 120 _x20 110 _ 100 stale'],
    ];
    const expected = {
      peaks: { changes: 300, two: 550, rare: 120 },
      first: { changes: 0, two: 0, rare: 60 },
      last: { changes: 1200, two: 1200, rare: 810 },
    };
    const samples = (values: Record<string, number>) =>
      Object.entries(values).map(([instance, value]) => ({
        labels: `{backend="default", instance="${instance}"}`,
        value,
      }));
    const tests = [
      [peaks, expected.peaks],
      [first, expected.first],
      [last, expected.last],
    ] as const;
    const file = {
      tests: [
        {
          interval: `${SCRAPE_SECONDS}s`,
          input_series: series.map(([name, values]) => ({ series: name, values })),
          promql_expr_test: tests.map(([expr, values]) => ({
            expr,
            eval_time: '20m',
            exp_samples: samples(values),
          })),
        },
      ],
    };
    // JSON is YAML.
    await succeed(promtool ?? '', ['test', 'rules', tools.file('moments.yml', JSON.stringify(file), 0o644)]);
  });

  test('are asked for in parts, where there are too many for one query', async () => {
    server.show(simulate({ baseline: 200, other: 200 }, 1));
    await asked(['backend'], { sinceMs: 14 * 86_400_000 });
    const parts = server.asked().filter((query) => query.startsWith('max_over_time((sum by'));
    const lengths = parts.map((query) => Number(/\[(\d+)ms:30000ms\]\)$/.exec(query)?.[1]));
    // Before the first scrape there is no peak: of four parts, three are left out.
    assert.deepEqual(lengths, [375_000_000]);
    const oldest = server.asked().find((query) => query.startsWith('min_over_time'));
    assert.match(oldest ?? '', /\[84600000ms:30000ms\]\)$/);
  });
});

describe('what is not the allocator', () => {
  const codes = ({ warnings }: FleetResults) => warnings.map(({ code }) => code);

  test('is not warned of where the variants differ in nothing else', async () => {
    let warned = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const world = { baseline: 1900, other: 100, rss: 0.8 };
      const results = await compared(world, seed, 'http_requests_total');
      if (codes(results).length > 0) warned += 1;
      assert.equal(results.advice.subject, 'jemalloc/low-rss', results.advice.sentence);
    }
    // The restarts are looked at with a level of 5 %.
    assert.ok(warned <= 2, `${warned} of 10`);
  });

  test('is the age: younger processes have less memory', async () => {
    const world: World = { baseline: 1900, other: 100, ages: [90_000, 120] };
    const { advice, warnings, summaries } = await compared(world, 1);
    assert.equal(summaries[1]!.against!.meanRss!.verdict, 'lower', 'the variants are equal');
    const warning = warnings.find(({ code }) => code === 'AGES');
    assert.match(
      warning?.message ?? '',
      /jemalloc\/low-rss were \d+ min.* old in the median and those of default\/none 2\d h/,
    );
    assert.match(advice.sentence, /this is not proven: see 1 warning below/);
  });

  test('is the number of restarts', async () => {
    const results = await compared({ baseline: 1900, other: 100, restarts: [0.001, 0.02] }, 1);
    const warning = results.warnings.find(({ code }) => code === 'RESTARTS');
    assert.match(
      warning?.message ?? '',
      /restarted \d+ times \(0\.\d\d for each pod\), and those of default\/none \d+ times \(0\.0\d/,
    );
  });

  test('are options that one variant has several of', async () => {
    const pods = simulate({ baseline: 20, other: 20 }, 1);
    pods[25]!.labels = { ...pods[25]!.labels, preset: 'balanced', config: '89abcdef' };
    server.show(pods);
    const mixed = (await asked(['backend'])).warnings.filter(({ code }) => code === 'MIXED');
    assert.deepEqual(
      mixed.map(({ subject, message }) => [subject, message]),
      [
        [
          'jemalloc',
          'jemalloc has pods of several kinds, with preset balanced, low-rss; compare by preset too',
        ],
        [
          'jemalloc',
          'jemalloc has pods of several kinds, with config 0123abcd, 89abcdef; compare by config too',
        ],
      ],
    );
    assert.ok(!codes(await asked(['backend', 'preset', 'config'])).includes('MIXED'));
  });

  test('are pods that ran one variant after the other', async () => {
    const pods = simulate({ baseline: 20, other: 20, rss: 0.5 }, 1);
    pods[25]!.labels.instance = pods[3]!.labels.instance;
    server.show(pods);
    const { warnings, advice } = await asked(['backend']);
    const { message } = warnings.find(({ code }) => code === 'TWO_VARIANTS') ?? assert.fail('no warning');
    assert.match(
      message,
      /^1 pod ran more than one variant.*: 10\.0\.0\.3:9100; look at a time after the change/,
    );
    assert.match(advice.sentence, /not proven: see 1 warning below/);
  });

  test('are pods that ended early, which are left out and counted', async () => {
    const pods = simulate({ baseline: 20, other: 20, rss: 0.5 }, 1);
    for (const pod of pods.slice(30)) for (const key of SCRAPED) pod[key] = pod[key].slice(-9);
    server.show(pods);
    const { warnings, variants, pods: compared } = await asked(['backend']);
    assert.deepEqual(
      variants.map(({ id, pods, leftOut }) => [id, pods, leftOut]),
      [
        ['default', 20, 0],
        ['jemalloc', 10, 10],
      ],
    );
    assert.equal(compared.length, 30);
    const { message } = warnings.find(({ code }) => code === 'SHORT_LIVED') ?? assert.fail('no warning');
    assert.match(message, /^10 pods of jemalloc were scraped too rarely to be compared, beside 10 that are/);
  });

  test('are no pods that began after the last step of time: they are compared', async () => {
    const pods = simulate({ baseline: 20, other: 20, rss: 0.5 }, 1);
    for (const pod of pods.slice(30)) for (const key of SCRAPED) pod[key] = pod[key].slice(-12);
    server.show(pods);
    // A step has an hour and more.
    const { variants, summaries, pods: all } = await asked(['backend'], { sinceMs: 14 * 86_400_000 });
    assert.deepEqual(
      variants.map(({ id, pods, leftOut }) => [id, pods, leftOut]),
      [
        ['default', 20, 0],
        ['jemalloc', 20, 0],
      ],
    );
    assert.equal(summaries[1]?.against?.meanRss?.verdict, 'lower');
    for (const { pod, ageSeconds } of all) assert.ok(ageSeconds! > 0, `${pod} has the age ${ageSeconds}`);
  });

  test('is the load, where a counter of requests tells it', async () => {
    const world = { baseline: 1000, other: 1000, load: 1.2 };
    const results = await compared(world, 1, 'http_requests_total');
    assert.match(
      results.warnings.find(({ code }) => code === 'LOAD')?.message ?? '',
      /^the pods of jemalloc\/low-rss had (19|20|21) % more requests/,
    );
    assert.equal(verdictOf(results, 'cpu'), 'higher', 'more requests take more CPU time');
    assert.equal(verdictOf(results, 'cpuPerRequest'), 'no difference');
    assert.ok(codes(await compared(world, 1)).includes('LOAD_UNKNOWN'));
  });
});

describe('a counter of requests', () => {
  const requests = 'http_requests_total';

  test('that no pod has is told', async () => {
    const pods = simulate({ baseline: 20, other: 20, rss: 0.5 }, 1);
    const elsewhere = pods.map((pod) => ({ ...pod, labels: { ...pod.labels, instance: 'gateway' } }));
    server.show(pods, elsewhere.slice(0, 1));
    const { warnings, pods: compared } = await asked(['backend'], { requests });
    assert.ok(compared.every((pod) => pod.requests === undefined));
    assert.match(
      warnings.find(({ code }) => code === 'LOAD_UNKNOWN')?.message ?? '',
      /not known: no series of http_requests_total has the same instance as a pod/,
    );
  });

  test('that one variant lacks is told, and the CPU time itself then decides', async () => {
    const pods = simulate({ baseline: 20, other: 20, rss: 0.5, cpu: 2 }, 1);
    server.show(pods, pods.slice(0, 20));
    const { warnings, advice } = await asked(['backend'], { requests });
    const unknown = warnings.filter(({ code }) => code === 'LOAD_UNKNOWN');
    assert.deepEqual(
      unknown.map(({ subject }) => subject),
      ['jemalloc'],
    );
    assert.equal(advice.subject, null);
    assert.match(
      advice.sentence,
      /^Stay with default, unless memory is worth the price: jemalloc has .*, CPU \+\d+ %/,
    );
  });
});

describe('answers besides a winner', () => {
  test('are that there are not enough pods, with how many it takes', async () => {
    const { advice, summaries } = await compared({ baseline: 8, other: 3, rss: 0.5 }, 1);
    assert.equal(advice.subject, null);
    assert.match(
      advice.sentence,
      /^Not enough pods: default has 8, jemalloc low-rss has 3, and a verdict needs 5 of each\. So far jemalloc low-rss: mean RSS undecided \[/,
    );
    assert.equal(summaries[1]!.against!.meanRss!.verdict, 'undecided');
  });

  test('are that nothing is certain, with how many more pods would help', async () => {
    const { advice } = await compared({ baseline: 12, other: 12, spread: 0.2 }, 3);
    assert.match(
      advice.sentence,
      /^Nothing is certain: the pods differ too much\. So far .*\. About \d+ times as many pods would decide it\.$/,
    );
  });

  test('are to stay', async () => {
    const { advice } = await compared({ baseline: 1000, other: 1000 }, 1);
    assert.equal(advice.sentence, 'Stay with default: nothing else is better.');
    const costly = await compared({ baseline: 1000, other: 1000, rss: 0.8, cpu: 1.3 }, 1);
    assert.match(
      costly.advice.sentence,
      /^Stay with default, unless memory is worth the price: jemalloc low-rss has mean RSS −20 %/,
    );
  });
});
