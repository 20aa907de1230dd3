// The metrics: as prom-client writes them, as a Prometheus server finds them, and through OpenTelemetry's SDK.

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { metrics as global } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { AggregatorRegistry, Registry, register as standard } from 'prom-client';
import { type MemoryBreakdown, heapProfile, memory } from '../index.js';
import { observeMallocMetrics } from '../src/metrics/opentelemetry.js';
import { collectMallocMetrics } from '../src/metrics/prometheus.js';
import * as tools from './fixtures-ts/tools.js';
import { kill, start } from './support/run.js';
import { noPrometheus, serve } from './support/prometheus.js';
import { SWITCHING, cannotPreload, isGlibc, notGlibc, root, shim } from './support/shims.js';
import { afterAll, describe, test } from './support/suite.js';

const fixture = join(root, 'dist', 'test', 'fixtures-ts', 'metrics.js');
const children: ChildProcess[] = [];
afterAll(() => children.forEach(kill));

function started(command: string, args: string[], env: Record<string, string> = {}): ChildProcess {
  const child = start(command, args, { env });
  child.stdin?.on('error', () => {});
  children.push(child);
  return child;
}

/** The service on that allocator; its port. */
async function service(env: Record<string, string> = {}): Promise<number> {
  const [line] = (await once(started(process.execPath, [fixture], env).stdout ?? assert.fail(), 'data')) as [
    Buffer,
  ];
  return Number(line.toString());
}

/** The samples of the text format: `name{label="value",…} value`. */
function samples(text: string) {
  return [...text.matchAll(/^(\w+)\{(.*)\} (\S+)$/gm)].map(([, name = '', labels = '', value]) => ({
    name,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key, text])),
    value: Number(value),
  }));
}

const STATISTICS = ['allocated', 'active', 'metadata', 'resident', 'mapped', 'retained'];
const told = {
  default: isGlibc ? ['allocated', 'mapped'] : [],
  jemalloc: STATISTICS,
  mimalloc: ['mapped'],
  snmalloc: ['active'],
};

describe('collectMallocMetrics()', { skip: cannotPreload }, () => {
  for (const backend of ['default', ...SWITCHING] as const)
    test(`${backend}: what a scrape finds`, async () => {
      const port = await service(backend === 'default' ? {} : { LD_PRELOAD: shim(backend) });
      const scraped = async () => {
        const reply = await fetch(`http://127.0.0.1:${port}/metrics`);
        assert.equal(reply.status, 200);
        return reply.text();
      };
      const first = await scraped();
      const text = await scraped();
      const found = samples(text);
      const names = new Set(found.map(({ name }) => name));
      const profile = ['samples', 'dropped', 'seconds'].map((name) => `heap_profile_${name}`);
      const totals = ['cpu_seconds', 'releases', 'released_bytes', 'release_seconds', ...profile].map(
        (name) => `${name}_total`,
      );
      assert.deepEqual(
        [...names].sort(),
        [
          'info',
          'rss_bytes',
          'memory_bytes',
          'start_time_seconds',
          'heap_profile_running',
          'heap_profile_live',
          ...told[backend].map((name) => `${name}_bytes`),
          ...totals,
        ]
          .map((name) => `malloc_backend_${name}`)
          .sort(),
      );
      for (const { labels } of found) assert.equal(labels['backend'], backend);
      const value = (name: string) =>
        found.find((each) => each.name === `malloc_backend_${name}`)?.value ?? NaN;
      const parts = found.filter(({ name }) => name === 'malloc_backend_memory_bytes');
      const sum = parts.reduce((all, part) => all + part.value, 0);
      assert.ok(Math.abs(sum - value('rss_bytes')) < 0.05 * value('rss_bytes'), text);
      assert.ok(
        parts.some(({ labels }) => labels['part'] === 'v8_heap'),
        text,
      );
      assert.equal(value('releases_total'), backend === 'snmalloc' || told[backend].length === 0 ? 0 : 2);
      const info = found.find(({ name }) => name === 'malloc_backend_info');
      assert.equal(info?.labels['kind'], backend === 'default' ? 'libc' : 'shim');
      assert.ok(Math.abs(value('start_time_seconds') - Date.now() / 1000) < 3600, text);
      const cpu =
        samples(first).find(({ name }) => name === 'malloc_backend_cpu_seconds_total')?.value ?? NaN;
      assert.ok(cpu > 0 && value('cpu_seconds_total') >= cpu && value('cpu_seconds_total') < 600, text);
      const counted = (scrape: string) => samples(scrape).filter(({ name }) => /release.*_total$/.test(name));
      assert.deepEqual(counted(text), counted(first), 'a scrape adds nothing');
      assert.match(text, /^# TYPE malloc_backend_memory_bytes gauge$/m);
      assert.match(text, /^# TYPE malloc_backend_released_bytes_total counter$/m);
    });

  test('the workers of a cluster have the start of the oldest, and the memory of all', async () => {
    const register = new Registry();
    collectMallocMetrics({ register });
    const [own, younger] = [await register.getMetricsAsJSON(), await register.getMetricsAsJSON()];
    const valuesOf = (all: typeof own, name: string) =>
      (all.find((each) => each.name === `malloc_backend_${name}`) ?? assert.fail(name)).values;
    valuesOf(younger, 'start_time_seconds')[0]!.value += 60;
    const together = await AggregatorRegistry.aggregate([own, younger]).getMetricsAsJSON();
    const value = (all: typeof own, name: string) => valuesOf(all, name)[0]!.value;
    assert.equal(value(together, 'start_time_seconds'), value(own, 'start_time_seconds'));
    assert.equal(value(together, 'rss_bytes'), value(own, 'rss_bytes') + value(younger, 'rss_bytes'));
  });

  test(
    'the state of the heap profile, and what it costs',
    { skip: process.arch !== 'x64' && 'heap profiles need x64' },
    async () => {
      const register = new Registry();
      const metrics = collectMallocMetrics({ register });
      const read = async () => {
        const found = samples(await register.metrics());
        return ['running', 'live', 'samples_total', 'dropped_total', 'seconds_total'].map(
          (name) => found.find((each) => each.name === `malloc_backend_heap_profile_${name}`)?.value,
        );
      };
      assert.deepEqual(await read(), [0, 0, 0, 0, 0]);
      heapProfile.start({ interval: 4096, maxSamples: 1000 });
      const kept = Array.from({ length: 20_000 }, () => new ArrayBuffer(4096));
      const [running, live, taken, dropped, seconds] = await read();
      await heapProfile.stop();
      assert.equal(running, 1);
      assert.ok(live! >= 1000 && live! <= 4000 && taken! > 10_000, `${live} of ${taken}`);
      assert.ok(dropped! > 5000 && dropped! < taken!, `${dropped} of ${taken}`);
      assert.ok(seconds! > 0 && seconds! < 60, `${seconds} s for ${kept.length}`);
      assert.deepEqual(await read(), [0, 0, 0, 0, 0]);
      metrics.stop();
    },
  );

  test('twice for one register, and what is no register', async () => {
    const register = new Registry();
    collectMallocMetrics({ register });
    tools.refuses(
      () => collectMallocMetrics({ register }),
      'ERR_INVALID_ARGUMENT',
      /already has malloc_backend_info/,
    );
    collectMallocMetrics({ register, prefix: 'shop_' });
    assert.ok((await register.metrics()).includes('\nshop_malloc_backend_rss_bytes{'));
    tools.refuses(
      () => collectMallocMetrics({ register, prefix: '0-' }),
      'ERR_INVALID_ARGUMENT',
      /prefix.*"0-"/,
    );
    const misspelt = { prefx: 'service_' } as object;
    tools.refuses(
      () => collectMallocMetrics(misspelt),
      'ERR_INVALID_ARGUMENT',
      /unknown option "prefx"\. Did you mean prefix\? .*: register, prefix, labels$/,
    );
    tools.refuses(
      () => collectMallocMetrics({ register: {} as Registry }),
      'ERR_INVALID_ARGUMENT',
      /Registry/,
    );
    const metrics = collectMallocMetrics();
    assert.ok(standard.getSingleMetric('malloc_backend_info') !== undefined, 'prom-client’s own by default');
    metrics.stop();
    assert.deepEqual(standard.getMetricsAsArray(), [], 'all are taken out');
  });

  test('labels stand beside those of the metrics, which cannot be replaced', async () => {
    const register = new Registry();
    const metrics = collectMallocMetrics({ register, labels: { service: 'shop' } });
    const found = samples(await register.metrics());
    assert.ok(found.length > 10);
    for (const { name, labels } of found) assert.equal(labels['service'], 'shop', name);
    metrics.stop();
    metrics.stop();
    assert.equal((await register.metrics()).trim(), '');
    collectMallocMetrics({ register });
    for (const labels of [
      { part: 'x' },
      { backend: 'x' },
      { preset: 'x' },
      { config: 'x' },
      { '0-': 'x' },
      { __a: 'x' },
      { a: 1 },
      [],
      null,
      'x',
    ]) {
      tools.refuses(
        () => collectMallocMetrics({ register: new Registry(), labels: labels as Record<string, string> }),
        'ERR_INVALID_ARGUMENT',
        /label/,
      );
    }
  });

  test('the example is a service that can be scraped', async () => {
    const example = join(root, 'dist', 'examples', 'metrics.js');
    const child = started(process.execPath, [example, '0'], { LD_PRELOAD: shim('mimalloc') });
    const [line] = (await once(child.stdout ?? assert.fail(), 'data')) as [Buffer];
    const [, port] = /^on mimalloc: http:\/\/localhost:(\d+)/.exec(line.toString()) ?? assert.fail(`${line}`);
    const get = async (path: string) => (await fetch(`http://localhost:${port}${path}`)).text();
    assert.match(await get('/compress?mib=2'), /^\d+ bytes\n$/);
    assert.match(
      await get('/metrics'),
      /^malloc_backend_memory_bytes\{backend="mimalloc",preset="none",config="none",part="malloc"\} \d+$/m,
    );
    assert.equal((JSON.parse(await get('/memory')) as MemoryBreakdown).active.backend, 'mimalloc');
  });

  test('a Prometheus server finds them', { skip: noPrometheus }, async () => {
    const target = `127.0.0.1:${await service({ LD_PRELOAD: shim('jemalloc') })}`;
    const server = await serve([{ job: 'service', targets: [target] }]);
    try {
      const { metric } = await tools.until(
        'a scrape',
        async () => (await server.query('malloc_backend_info'))[0],
      );
      assert.deepEqual(
        [metric['backend'], metric['allocator'], metric['kind'], metric['instance']],
        ['jemalloc', 'jemalloc', 'shim', target],
      );
      const [share] = await server.query(
        'sum without (part) (malloc_backend_memory_bytes) / malloc_backend_rss_bytes',
      );
      assert.ok(Math.abs(Number(share?.value[1]) - 1) < 0.05, JSON.stringify(share));
      const names = (await server.query('{__name__=~"malloc_backend_.+", backend="jemalloc"}')).map(
        (result) => result.metric['__name__'],
      );
      for (const name of [...STATISTICS.map((each) => `${each}_bytes`), 'released_bytes_total'])
        assert.ok(names.includes(`malloc_backend_${name}`), name);
    } finally {
      server.stop();
    }
  });
});

describe('the labels preset and config', { skip: cannotPreload }, () => {
  /** backend, preset and config of a service, which all its metrics have. */
  async function labels(child: ChildProcess): Promise<string[]> {
    const [line] = (await once(child.stdout ?? assert.fail(), 'data')) as [Buffer];
    const reply = await fetch(`http://127.0.0.1:${Number(line.toString())}/metrics`);
    const all = samples(await reply.text()).map(({ labels }) =>
      ['backend', 'preset', 'config'].map((name) => labels[name] ?? 'missing').join(' '),
    );
    const [first = '', ...others] = new Set(all);
    assert.deepEqual(others, [], 'all metrics have the same labels');
    return first.split(' ');
  }
  const switched = (words: string[], env: Record<string, string> = {}) =>
    labels(started(process.execPath, [tools.cli, 'run', ...words, '--', process.execPath, fixture], env));
  const plain = (env: Record<string, string> = {}) => labels(started(process.execPath, [fixture], env));
  const DIGITS = /^[0-9a-f]{8}$/;

  test('are those of run', async () => {
    assert.deepEqual(await switched(['jemalloc', '--preset', 'none']), ['jemalloc', 'none', 'none']);
    const low = await switched(['jemalloc', '--preset', 'low-rss']);
    assert.deepEqual(low.slice(0, 2), ['jemalloc', 'low-rss']);
    assert.match(low[2] ?? '', DIGITS);
    const alone = await switched(['jemalloc', '--preset', 'low-rss', '--children', 'none']);
    assert.deepEqual(alone, low, 'the same options have the same digits');
    const single = await switched(['jemalloc', '--preset', 'low-rss', '--set', 'narenas=1']);
    assert.deepEqual(single.slice(0, 2), ['jemalloc', 'low-rss']);
    assert.match(single[2] ?? '', DIGITS);
    assert.notEqual(single[2], low[2], 'other options have other digits');
    assert.deepEqual((await switched(['mimalloc'])).slice(0, 2), ['mimalloc', 'balanced']);
    assert.deepEqual(await switched(['snmalloc']), ['snmalloc', 'none', 'none']);
  });

  test('are those of variables, and of a process that nobody switched', { skip: notGlibc }, async () => {
    assert.deepEqual(await plain(), ['default', 'none', 'none']);
    const own = await plain({ MALLOC_ARENA_MAX: '1' });
    assert.deepEqual(own.slice(0, 2), ['default', 'none'], 'a variable of the user is no preset');
    assert.match(own[2] ?? '', DIGITS);
    const low = await switched(['default', '--preset', 'low-rss']);
    assert.deepEqual(low.slice(0, 2), ['default', 'low-rss']);
    assert.notEqual(low[2], own[2]);
  });

  test('are those of register and env', async () => {
    const env = { MALLOC_BACKEND: 'jemalloc', MALLOC_BACKEND_PRESET: 'throughput' };
    const registered = await labels(started(process.execPath, ['--require', tools.register, fixture], env));
    assert.deepEqual(registered.slice(0, 2), ['jemalloc', 'throughput']);
    const words = ['env', 'jemalloc', '--preset', 'throughput', '--format', 'json'];
    const { stdout } = await tools.command(words);
    assert.deepEqual(await plain(JSON.parse(stdout) as Record<string, string>), registered);
  });
});

describe('observeMallocMetrics()', { skip: cannotPreload }, () => {
  test('through the SDK’s exporter', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 1 << 30 });
    const provider = new MeterProvider({ readers: [reader] });
    const observation = observeMallocMetrics(provider);
    try {
      await provider.forceFlush();
      const { active, rss } = await memory();
      const setup = { backend: active.backend ?? active.allocator, preset: 'none', config: 'none' };
      const exported = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics);
      assert.deepEqual(
        exported.map(({ scope }) => scope.name),
        ['malloc-backend'],
      );
      const metrics = new Map(
        exported.flatMap((scope) => scope.metrics).map((each) => [each.descriptor.name, each]),
      );
      const points = (name: string) =>
        (metrics.get(`malloc_backend.${name}`) ?? assert.fail(`no ${name}`)).dataPoints.map((point) => ({
          attributes: point.attributes,
          value: Number(point.value),
        }));
      const [own] = points('rss');
      assert.deepEqual(own?.attributes, setup);
      assert.ok(Math.abs((own?.value ?? 0) - rss) < rss / 2);
      const parts = points('memory');
      const sum = parts.reduce((all, { value }) => all + value, 0);
      assert.ok(Math.abs(sum - (own?.value ?? 0)) < 0.05 * sum);
      assert.ok(parts.some(({ attributes }) => attributes['part'] === 'v8_heap'));
      for (const name of told.default) assert.equal(points(name).length, 1, name);
      for (const name of ['releases', 'released', 'release'])
        assert.deepEqual(points(name), [{ attributes: setup, value: 0 }]);
      assert.ok(points('cpu')[0]!.value > 0);
      assert.equal(metrics.get('malloc_backend.memory')?.descriptor.unit, 'By');
      assert.equal(metrics.get('malloc_backend.release')?.descriptor.unit, 's');
      assert.equal(metrics.get('malloc_backend.releases')?.descriptor.unit, '{release}');
      assert.deepEqual(points('heap_profile_running'), [{ attributes: setup, value: 0 }]);
      assert.equal(metrics.get('malloc_backend.heap_profile_samples')?.descriptor.unit, '{sample}');

      // Nothing is read any more: the SDK repeats what it had.
      observation.stop();
      observation[Symbol.dispose]();
      exporter.reset();
      const more = Buffer.alloc(32 << 20, 1);
      await provider.forceFlush();
      const after = exporter
        .getMetrics()
        .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((each) => each.metrics))
        .find(({ descriptor }) => descriptor.name === 'malloc_backend.rss');
      assert.equal(after?.dataPoints[0]?.value, own?.value, `with ${more.length} bytes more`);
    } finally {
      await provider.shutdown();
    }
  });

  test('what is no provider', () => {
    tools.refuses(() => observeMallocMetrics({} as never), 'ERR_INVALID_ARGUMENT', /MeterProvider/);
  });

  test('the global provider, and none before it is set', async () => {
    tools.refuses(() => observeMallocMetrics(), 'ERR_INVALID_ARGUMENT', /after the SDK.*pass a provider/);
    // Who names it wants nothing to be observed: an SDK that is switched off sets none.
    observeMallocMetrics(global.getMeterProvider()).stop();

    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 1 << 30 });
    const provider = new MeterProvider({ readers: [reader] });
    global.setGlobalMeterProvider(provider);
    try {
      const observation = observeMallocMetrics();
      await provider.forceFlush();
      observation.stop();
      const [exported] = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics);
      assert.equal(exported?.scope.name, 'malloc-backend');
    } finally {
      global.disable();
      await provider.shutdown();
    }
  });
});
