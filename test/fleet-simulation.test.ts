// The verdicts of `compareFleet` on simulated fleets of 2,000 pods: how often they are wrong, and how often right.

import assert from 'node:assert/strict';
import { FLEET_METRICS, type FleetMetric, type FleetResults, type Verdict, compareFleet } from '../index.js';
import { summariesOf } from '../src/fleet/verdicts.js';
import { END, SCRAPE_SECONDS, type World, serveFleet, simulate, valuesOf } from './support/fleet.js';
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

  const asked = (by: readonly string[]) =>
    compareFleet({
      prometheus: server.url,
      workload: 'job="api"',
      until: new Date(END * 1000),
      sinceMs: 40 * SCRAPE_SECONDS * 1000,
      by,
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
    for (const pod of pods.slice(30))
      for (const key of ['at', 'rss', 'cpu', 'started', 'requests'] as const) pod[key] = pod[key].slice(-9);
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
