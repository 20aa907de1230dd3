// The metrics: as prom-client writes them, as a Prometheus server finds them, and through OpenTelemetry's SDK.

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { metrics as global } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { Registry, register as standard } from 'prom-client';
import { type MemoryBreakdown, memory } from '../index.js';
import { observeMallocMetrics } from '../src/metrics/opentelemetry.js';
import { collectMallocMetrics } from '../src/metrics/prometheus.js';
import * as tools from './fixtures-ts/tools.js';
import { kill, start } from './support/run.js';
import { SWITCHING, cannotPreload, isGlibc, root, shim } from './support/shims.js';
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
      const totals = ['releases', 'released_bytes', 'release_seconds'].map((name) => `${name}_total`);
      assert.deepEqual(
        [...names].sort(),
        ['info', 'rss_bytes', 'memory_bytes', ...told[backend].map((name) => `${name}_bytes`), ...totals]
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
      const counted = (scrape: string) => samples(scrape).filter(({ name }) => name.endsWith('_total'));
      assert.deepEqual(counted(text), counted(first), 'a scrape adds nothing');
      assert.match(text, /^# TYPE malloc_backend_memory_bytes gauge$/m);
      assert.match(text, /^# TYPE malloc_backend_released_bytes_total counter$/m);
    });

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
      /^malloc_backend_memory_bytes\{backend="mimalloc",part="malloc"\} \d+$/m,
    );
    assert.equal((JSON.parse(await get('/memory')) as MemoryBreakdown).active.backend, 'mimalloc');
  });

  const prometheus = tools.which('prometheus');
  test(
    'a Prometheus server finds them',
    { skip: prometheus === undefined && 'prometheus is not installed (Debian: apt-get install prometheus)' },
    async () => {
      const target = `127.0.0.1:${await service({ LD_PRELOAD: shim('jemalloc') })}`;
      const config = tools.file(
        'prometheus.yml',
        `{ global: { scrape_interval: 1s, scrape_timeout: 1s }, scrape_configs: [{ job_name: service, static_configs: [{ targets: ['${target}'] }] }] }`,
        0o644,
      );
      const address = `127.0.0.1:${await freePort()}`;
      const options = [`--config.file=${config}`, `--storage.tsdb.path=${tools.scratch('tsdb')}`];
      const server = started(prometheus ?? '', [...options, `--web.listen-address=${address}`]);
      let log = '';
      server.stderr?.on('data', (chunk: Buffer) => (log += chunk));
      const query = async (expression: string): Promise<Result[]> => {
        const reply = await fetch(`http://${address}/api/v1/query?query=${encodeURIComponent(expression)}`);
        return ((await reply.json()) as { data: { result: Result[] } }).data.result;
      };
      // The server starts, and scrapes for the first time, when it is ready to.
      const { metric } = await tools.until('a scrape', async () => {
        assert.equal(server.exitCode, null, log);
        const [info] = await query('malloc_backend_info').catch(() => []);
        return info;
      });
      assert.deepEqual(
        [metric['backend'], metric['allocator'], metric['kind'], metric['instance']],
        ['jemalloc', 'jemalloc', 'shim', target],
      );
      const [share] = await query(
        'sum without (part) (malloc_backend_memory_bytes) / malloc_backend_rss_bytes',
      );
      assert.ok(Math.abs(Number(share?.value[1]) - 1) < 0.05, JSON.stringify(share));
      const names = (await query('{__name__=~"malloc_backend_.+", backend="jemalloc"}')).map(
        (result) => result.metric['__name__'],
      );
      for (const name of [...STATISTICS.map((each) => `${each}_bytes`), 'released_bytes_total'])
        assert.ok(names.includes(`malloc_backend_${name}`), name);
    },
  );
});

interface Result {
  metric: Record<string, string>;
  value: [time: number, value: string];
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe('observeMallocMetrics()', { skip: cannotPreload }, () => {
  test('through the SDK’s exporter', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 1 << 30 });
    const provider = new MeterProvider({ readers: [reader] });
    const observation = observeMallocMetrics(provider);
    try {
      await provider.forceFlush();
      const { active, rss } = await memory();
      const backend = active.backend ?? active.allocator;
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
      const [own] = points('memory.rss');
      assert.deepEqual(own?.attributes, { backend });
      assert.ok(Math.abs((own?.value ?? 0) - rss) < rss / 2);
      const parts = points('memory.usage');
      const sum = parts.reduce((all, { value }) => all + value, 0);
      assert.ok(Math.abs(sum - (own?.value ?? 0)) < 0.05 * sum);
      assert.ok(parts.some(({ attributes }) => attributes['part'] === 'v8_heap'));
      for (const name of told.default) assert.equal(points(name).length, 1, name);
      for (const name of ['releases', 'released', 'release.duration'])
        assert.deepEqual(points(name), [{ attributes: { backend }, value: 0 }]);
      assert.equal(metrics.get('malloc_backend.memory.usage')?.descriptor.unit, 'By');
      assert.equal(metrics.get('malloc_backend.release.duration')?.descriptor.unit, 's');

      // Nothing is read any more: the SDK repeats what it had.
      observation.stop();
      observation[Symbol.dispose]();
      exporter.reset();
      const more = Buffer.alloc(32 << 20, 1);
      await provider.forceFlush();
      const [after] = exporter
        .getMetrics()
        .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((each) => each.metrics));
      assert.equal(after?.descriptor.name, 'malloc_backend.memory.rss');
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
