// Results of `compare` that look like real ones, without a measurement: the same for the same numbers.

import type {
  CompareResults,
  Comparison,
  Estimate,
  MetricName,
  Run,
  ServiceRun,
  Subject,
  Summary,
} from '../../src/compare/results.js';

const MIB = 2 ** 20;

/** How a subject behaves, relative to the C library's malloc. */
interface Behaviour {
  /** What it uses while it works, and what it keeps of that afterwards. */
  peak: number;
  kept: number;
  cpu: number;
}

const BEHAVIOURS: Record<string, Behaviour> = {
  'default/none': { peak: 1, kept: 0.92, cpu: 1 },
  'default/low-rss': { peak: 0.86, kept: 0.4, cpu: 1.06 },
  'jemalloc/balanced': { peak: 0.83, kept: 0.46, cpu: 0.97 },
  'jemalloc/low-rss': { peak: 0.74, kept: 0.3, cpu: 1.03 },
  'mimalloc/balanced': { peak: 1.04, kept: 0.62, cpu: 0.95 },
  'mimalloc/low-rss': { peak: 0.9, kept: 0.33, cpu: 1.18 },
  'snmalloc/none': { peak: 0.98, kept: 0.85, cpu: 0.93 },
};

export interface Made {
  mode?: CompareResults['mode'];
  /** The subjects' ids, or how many. */
  subjects?: number | readonly string[];
  rounds?: number;
  command?: readonly string[];
  /** Seconds of a run. */
  seconds?: number;
}

export function compared({
  mode = 'batch',
  subjects: asked,
  rounds = 12,
  command,
  seconds = 8,
}: Made = {}): CompareResults {
  const random = sequence(7);
  const ids = typeof asked === 'number' ? many(asked) : (asked ?? Object.keys(BEHAVIOURS));
  const subjects = ids.map(subject);
  const behaviours = new Map(
    ids.map((id) => [
      id,
      BEHAVIOURS[id] ?? {
        peak: 0.7 + 0.4 * random(),
        kept: 0.25 + 0.6 * random(),
        cpu: 0.9 + 0.4 * random(),
      },
    ]),
  );
  const runs = Array.from({ length: rounds }, (_, round) =>
    subjects.map((each) => run(each, behaviours.get(each.id)!, { round: round + 1, mode, seconds, random })),
  ).flat();
  const baseline = ids[0]!;
  const summaries = rounds === 0 ? [] : subjects.map(({ id }) => summary(id, baseline, runs));
  const memory = mode === 'batch' ? 'treePeakRss' : 'rssAfterIdle';
  const best = summaries.toSorted((a, b) => a.metrics[memory]!.median - b.metrics[memory]!.median)[0];
  const ratio = best?.against?.[memory];
  return {
    schema: 1,
    tool: 'malloc-backend 0.1.0',
    created: '2026-11-30T01:40:12.345Z',
    finished: rounds > 0,
    mode,
    command: [
      ...(command ?? (mode === 'batch' ? ['node', 'build.js'] : ['node', 'server.js', '--port', '8080'])),
    ],
    options: {
      budgetMs: 600_000,
      warmup: 1,
      seed: 20_261_130,
      intervalMs: 20,
      ignoreFailure: false,
      ...(mode === 'service'
        ? {
            service: {
              ready: '8080',
              load: 'http://127.0.0.1:8080/',
              rate: 500,
              connections: 50,
              duration: 4,
              warmup: 2.5,
              idle: 3,
            },
          }
        : {}),
    },
    machine: {
      cpu: 'AMD EPYC 7B13',
      cores: 2,
      memory: 24_576 * MIB,
      kernel: '6.1.0-31-amd64',
      libc: 'glibc 2.36',
      node: '20.20.2',
      transparentHugePages: 'madvise',
      load: 0.12,
    },
    baseline,
    subjects,
    runs,
    summaries,
    ...(best === undefined || ratio === undefined
      ? {}
      : {
          advice: {
            subject: best.subject,
            sentence: `${best.subject}: ${memory === 'treePeakRss' ? 'peak RSS' : 'RSS after idle'} ${percent(ratio.ratio)} [${percent(ratio.low)}, ${percent(ratio.high)}], CPU ±0`,
            dockerfile: [
              'COPY node_modules/@malloc-backend/linux-x64-gnu /opt/malloc-backend',
              `ENTRYPOINT ["/opt/malloc-backend/malloc-backend", "run", "${best.subject.split('/')[0]}", "--preset", "low-rss", "--"]`,
            ],
          },
        }),
    warnings:
      rounds === 0
        ? []
        : [
            {
              code: 'LOAD',
              message: 'the load average is 1.4 on 2 cores: other programs run, and spoil the times',
            },
            {
              code: 'OUTLIERS',
              message: '2 of 12 runs took much longer than the others',
              subject: ids.at(-1)!,
            },
          ],
  };
}

const percent = (ratio: number): string =>
  `${ratio < 1 ? '−' : '+'}${Math.round(Math.abs(ratio - 1) * 100)} %`;

/** Of the four backends, most with an option of their own. */
function many(count: number): string[] {
  const ids = Object.keys(BEHAVIOURS);
  const backends = ['jemalloc', 'mimalloc', 'default', 'snmalloc'];
  for (let at = 0; ids.length < count; at++)
    ids.push(`${backends[at % 4]}/${at % 3 === 0 ? 'balanced' : 'low-rss'},option_${at}=${at * 17}`);
  return ids.slice(0, count);
}

function subject(id: string): Subject {
  const [head = '', ...pairs] = id.split(',');
  const [backend, preset] = head.split('/') as [Subject['backend'], Subject['preset']];
  const set = Object.fromEntries(pairs.map((pair) => pair.split('=') as [string, string]));
  return {
    id,
    backend,
    preset,
    set,
    version: backend === 'default' ? 'glibc 2.36' : '5.3.0',
    library: `/app/node_modules/@malloc-backend/linux-x64-gnu/libmalloc_backend_${backend}.so`,
  };
}

interface Circumstances {
  round: number;
  mode: CompareResults['mode'];
  seconds: number;
  random: () => number;
}

function run(
  { id, backend, version, library }: Subject,
  { peak, kept, cpu }: Behaviour,
  { round, mode, seconds, random }: Circumstances,
): Run {
  const noise = (size: number) => 1 + size * (random() + random() + random() - 1.5);
  const wall = seconds * (mode === 'batch' ? cpu : 1) * noise(0.05);
  const used = seconds * 0.9 * cpu * noise(0.04);
  const highest = 620 * MIB * peak * noise(0.03);
  const end = 620 * MIB * kept * noise(0.04);
  const phases = { ready: 40 * wall, loadStart: 120 * wall, loadEnd: 650 * wall, idleEnd: 1000 * wall };
  const samples = Array.from({ length: 200 }, (_, at) => {
    const part = at / 199;
    const rss = Math.round(memory(part, highest, end) * noise(0.004));
    return { at: Math.round(part * wall * 1000), rss, treeRss: rss, cpu: used * part };
  });
  const peakRss = Math.max(...samples.map(({ rss }) => rss));
  return {
    subject: id,
    round,
    at: '2026-11-30T01:41:00.000Z',
    wall,
    user: used * 0.85,
    system: used * 0.15,
    peakRss,
    treePeakRss: peakRss,
    meanRss: samples.reduce((sum, { rss }) => sum + rss, 0) / samples.length,
    minorFaults: 120_000,
    majorFaults: 0,
    voluntarySwitches: 900,
    involuntarySwitches: 120,
    samples,
    proof: { pid: 4000 + round, backend, version, library, owner: library } as Run['proof'],
    ...(mode === 'service' ? { service: service(cpu * noise(0.04), phases, peakRss, end) } : {}),
  };
}

/** Up in steps, a plateau with teeth, and down to what is kept. */
function memory(part: number, highest: number, end: number): number {
  if (part < 0.12) return 45 * MIB + (highest * 0.4 - 45 * MIB) * (part / 0.12);
  if (part < 0.65) return highest * (0.4 + 0.6 * ((part - 0.12) / 0.53) ** 0.5 - 0.08 * ((part * 17) % 1));
  return end + (highest * 0.92 - end) * Math.exp(-(part - 0.65) * 18);
}

function service(slower: number, phases: ServiceRun['phases'], rssAtPeak: number, end: number): ServiceRun {
  const at = (percentile: number) =>
    slower * 1.4 * (1 - Math.min(percentile, 99.999) / 100) ** -(0.15 + 0.25 * slower) +
    (percentile > 99 ? 9 * slower ** 4 : 0);
  const percentiles = [
    0, 10, 25, 50, 75, 80, 85, 90, 92.5, 95, 97.5, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 100,
  ];
  return {
    throughput: 500 / Math.max(1, slower),
    errors: 0,
    latency: { p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: at(100) },
    histogram: percentiles.map((percentile) => [percentile, at(percentile)]),
    phases,
    rssAtPeak,
    rssAfterLoad: end * 1.4,
    rssAfterIdle: end,
  };
}

const OF: Record<MetricName, (run: Run) => number | undefined> = {
  wall: ({ wall, service }) => (service === undefined ? wall : undefined),
  cpu: ({ user, system }) => user + system,
  peakRss: ({ peakRss }) => peakRss,
  treePeakRss: ({ treePeakRss }) => treePeakRss,
  meanRss: ({ meanRss }) => meanRss,
  throughput: ({ service }) => service?.throughput,
  p50: ({ service }) => service?.latency?.p50,
  p99: ({ service }) => service?.latency?.p99,
  p999: ({ service }) => service?.latency?.p999,
  rssAtPeak: ({ service }) => service?.rssAtPeak,
  rssAfterLoad: ({ service }) => service?.rssAfterLoad,
  rssAfterIdle: ({ service }) => service?.rssAfterIdle,
};

function summary(id: string, baseline: string, runs: readonly Run[]): Summary {
  const of = (subject: string) => runs.filter((each) => each.subject === subject);
  const metrics: Summary['metrics'] = {};
  const against: NonNullable<Summary['against']> = {};
  for (const [name, value] of Object.entries(OF) as [MetricName, (run: Run) => number | undefined][]) {
    const [own, other] = [of(id), of(baseline)].map((all) =>
      all.map(value).filter((each) => each !== undefined),
    );
    if (own!.length === 0) continue;
    metrics[name] = estimate(own!);
    against[name] = comparison(own!.map((each, at) => each / other![at]!));
  }
  return { subject: id, metrics, ...(id === baseline ? {} : { against }) };
}

function estimate(values: readonly number[]): Estimate {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.round((sorted.length - 1) * part)]!;
  return { median: at(0.5), low: at(0.25), high: at(0.75), n: values.length };
}

function comparison(ratios: readonly number[]): Comparison {
  const { median, low, high } = estimate(ratios);
  const verdict =
    high < 1 ? 'lower' : low > 1 ? 'higher' : high - low < 0.04 ? 'no difference' : ('undecided' as const);
  return {
    ratio: median,
    low,
    high,
    p: verdict === 'lower' || verdict === 'higher' ? 0.0004 : 0.41,
    verdict,
  };
}

/** Numbers between 0 and 1 that look random (Lehmer's generator). */
function sequence(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}
