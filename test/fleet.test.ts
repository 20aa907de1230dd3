// `compareFleet` and `compare --prometheus` on a real Prometheus: with 2,000 pods whose truth is known, and with two services.

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { type FleetOptions, type FleetResults, compareFleet } from '../index.js';
import { FLEET_METRICS } from '../src/fleet/results.js';
import { summariesOf } from '../src/fleet/verdicts.js';
import { type Schema, mismatch } from '../src/schema.js';
import * as tools from './fixtures-ts/tools.js';
import { END, openMetrics, simulate, valuesOf } from './support/fleet.js';
import { type Server, noPrometheus, promtool, serve } from './support/prometheus.js';
import { kill, start, succeed } from './support/run.js';
import { interfaces, keys } from './support/schemas.js';
import { cannotPreload, root } from './support/shims.js';
import { afterAll, beforeAll, describe, test } from './support/suite.js';

type Defined = Schema & { $defs: Record<string, Schema> };
const schema = JSON.parse(
  readFileSync(require.resolve('malloc-backend/schemas/fleet-results.json', { paths: [root] }), 'utf8'),
) as Defined;

const near = (value: number | undefined, expected: number, part: number, what: string) =>
  assert.ok(
    value !== undefined && Math.abs(value / expected - 1) <= part,
    `${what}: ${value}, not ${expected}`,
  );

describe('2,000 pods in a real Prometheus', { skip: noPrometheus }, () => {
  const world = { baseline: 1900, other: 100, rss: 0.8, cpu: 1, restarts: [0.002, 0.002] as const };
  const pods = simulate(world, 7);
  let server: Server;
  beforeAll(async () => {
    const file = tools.file('fleet.om', openMetrics(pods), 0o644);
    const folder = tools.scratch('fleet');
    await succeed(promtool ?? '', ['tsdb', 'create-blocks-from', 'openmetrics', '--quiet', file, folder]);
    server = await serve([], { folder });
  });
  afterAll(() => server.stop());

  const options = (more: Partial<FleetOptions> = {}): FleetOptions => ({
    prometheus: server.url,
    workload: 'job="api"',
    until: new Date(END * 1000),
    sinceMs: 3_600_000,
    requests: 'http_requests_total',
    ...more,
  });

  test('have the verdicts of their truth, and values that were computed by hand', async () => {
    const results = await compareFleet(options());
    assert.equal(results.baseline, 'default/none');
    assert.deepEqual(
      results.variants.map(({ id, pods, leftOut }) => [id, pods, leftOut]),
      [
        ['default/none', 1900, 0],
        ['jemalloc/low-rss', 100, 0],
      ],
    );
    assert.equal(results.query.scrapeSeconds, 30);
    const byName = new Map(results.pods.map((pod) => [pod.pod, pod]));
    for (const pod of pods) {
      const [found, expected] = [byName.get(pod.labels.instance)!, valuesOf(pod)];
      assert.equal(found.restarts, expected.restarts, found.pod);
      assert.equal(found.scrapes, expected.scrapes, found.pod);
      assert.equal(found.peakRss, expected.peakRss, found.pod);
      near(found.meanRss, expected.meanRss, 0.05, `mean RSS of ${found.pod}`);
      // Half of the time it is lower: after a restart, two halves may be far apart.
      near(
        found.medianRss,
        expected.medianRss,
        found.restarts === 0 ? 0.03 : 0.3,
        `median RSS of ${found.pod}`,
      );
      near(found.cpu, expected.cpu!, 0.03, `CPU of ${found.pod}`);
      assert.ok(found.ageSeconds! > 0 && found.requests! > 0 && found.cpuPerRequest! > 0);
    }
    const against = results.summaries[1]!.against!;
    assert.equal(against.meanRss!.verdict, 'lower');
    assert.equal(against.peakRss!.verdict, 'lower');
    assert.notEqual(against.cpu!.verdict, 'lower');
    const direct = summariesOf(pods.map(valuesOf), ['default/none', 'jemalloc/low-rss'])[1]!.against!;
    near(against.meanRss!.ratio, direct.meanRss!.ratio, 0.005, 'the ratio');
    assert.equal(results.advice.subject, 'jemalloc/low-rss');
    assert.match(results.advice.sentence, /^jemalloc low-rss: mean RSS −(19|2\d) % \[.*\], peak RSS −/);
  });

  test('are compared by other labels, and with another baseline', async () => {
    const results = await compareFleet(options({ by: ['backend'], baseline: 'jemalloc' }));
    assert.deepEqual(
      results.variants.map(({ id }) => id),
      ['jemalloc', 'default'],
    );
    assert.equal(results.summaries[1]!.against!.meanRss!.verdict, 'higher');
    const config = await compareFleet(options({ by: ['config'] }));
    assert.deepEqual(
      config.variants.map(({ id }) => id),
      ['none', '0123abcd'],
    );
  });

  test('of which too few are chosen are not enough', async () => {
    const { advice } = await compareFleet(
      options({ workload: 'job="api",instance=~"10.0.(0.1.|7.10[89]):9100"' }),
    );
    assert.match(
      advice.sentence,
      /^Not enough pods: default has 10, jemalloc low-rss has 2, and a verdict needs 5 of each\./,
    );
  });

  test('that are not there are answered with those that are', async () => {
    const cases: [Partial<FleetOptions>, code: string, ...RegExp[]][] = [
      [
        { workload: 'job="ap"' },
        'ERR_NOTHING_TO_COMPARE',
        /no series malloc_backend_rss_bytes\{job="ap"\} in the last 1 h 0 min; job is one of: api\. Correct --workload/,
      ],
      [
        { workload: 'zone="x",preset="fast"' },
        'ERR_NOTHING_TO_COMPARE',
        /zone is no label of it; preset is one of: low-rss, none/,
      ],
      [
        { prefix: 'shop_' },
        'ERR_NOTHING_TO_COMPARE',
        /no series shop_malloc_backend_rss_bytes in the last.*collectMallocMetrics.*--metric-prefix/,
      ],
      [
        { by: ['zone'] },
        'ERR_NOTHING_TO_COMPARE',
        /no series has the label zone; the labels are: backend, config, instance, job, preset/,
      ],
      [
        { by: ['job'] },
        'ERR_NOTHING_TO_COMPARE',
        /all pods are of one variant, api, by job; .* compare by a label that differs: backend, config, preset/,
      ],
      [
        { baseline: 'mimalloc/none' },
        'ERR_NOTHING_TO_COMPARE',
        /no pods of the baseline mimalloc\/none; the variants are: default\/none, jemalloc\/low-rss/,
      ],
      [
        { requests: 'http_request_total' },
        'ERR_NOTHING_TO_COMPARE',
        /no series http_request_total\{job="api"\}/,
      ],
      [
        { workload: 'job=api' },
        'ERR_PROMETHEUS_FAILED',
        /Prometheus refuses a query: .*parse error.*check --workload.*The query: count_over_time/s,
      ],
    ];
    for (const [more, code, ...patterns] of cases)
      await tools.rejects(compareFleet(options(more)), code, ...patterns);
  });

  test('are compared by the command, which writes every export', async () => {
    const files = ['json', 'csv', 'md'].map((format) => tools.scratch(`fleet.${format}`));
    const since = `${Math.ceil((Date.now() - END * 1000) / 60_000) + 60}m`;
    const asked = ['--by', 'backend', '--workload', 'job="api"', '--since', since];
    const exports = ['--export-json', files[0]!, '--export-csv', files[1]!, '--export-markdown', files[2]!];
    const words = ['compare', '--prometheus', server.url, ...asked, ...exports];
    const { code, stdout, stderr } = await tools.command(words);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^variant +pods +restarts +age +mean RSS +median RSS +peak RSS +CPU\n/);
    assert.match(stdout, /\ndefault \(baseline\) +1900 .*\njemalloc +100 .* −\d+ % \[/);
    assert.match(stdout, /\n\njemalloc: mean RSS −/);
    assert.match(stderr, /^Warning: whether all pods had the same load is not known; /m);
    const results = JSON.parse(readFileSync(files[0]!, 'utf8')) as FleetResults;
    assert.deepEqual([results.schema, results.mode, results.pods.length], [1, 'fleet', 2000]);
    assert.equal(mismatch(results, schema), undefined);
    const csv = readFileSync(files[1]!, 'utf8').split('\r\n');
    assert.equal(csv.length, 2002);
    assert.match(csv[0]!, /^variant,pod,scrapes,observedSeconds,restarts,ageSeconds,meanRss,/);
    assert.match(
      readFileSync(files[2]!, 'utf8'),
      /^\| variant \| pods \| .*\n\| --- \| ---: \|.*\n\| default \| 1900 \|/,
    );
  });
});

describe('the schema of a fleet', () => {
  test('has the keys of the types, and every metric', () => {
    const types = interfaces('src/fleet/results.ts');
    assert.deepEqual([...types.keys()], ['FleetResults', 'FleetQuery', 'FleetVariant', 'FleetPod']);
    for (const [name, expected] of types)
      assert.deepEqual(keys(name === 'FleetResults' ? schema : schema.$defs[name]!), expected, name);
    for (const part of ['metrics', 'against'])
      assert.deepEqual(Object.keys(schema.$defs['Summary']!.properties![part]!.properties!), [
        ...FLEET_METRICS,
      ]);
  });

  test('finds a wrong key', () => {
    assert.match(mismatch({ schema: 2 }, schema) ?? '', /schema must be 1, not 2/);
  });

  test('has the same values as the schema of a comparison', () => {
    const { $defs } = JSON.parse(
      readFileSync(join(root, 'src/compare/results.schema.json'), 'utf8'),
    ) as Defined;
    for (const name of ['Estimate', 'Comparison', 'Warning'])
      assert.deepEqual(schema.$defs[name], $defs[name], name);
  });
});

describe('two services on two backends', { skip: cannotPreload || noPrometheus }, () => {
  const services: ChildProcess[] = [];
  afterAll(() => services.forEach(kill));

  test('are two pods, which are not enough', async () => {
    const fixture = join(root, 'dist', 'test', 'fixtures-ts', 'metrics.js');
    const targets: string[] = [];
    for (const backend of ['default', 'jemalloc']) {
      const words = [tools.cli, 'run', backend, '--preset', 'low-rss', '--', process.execPath, fixture];
      const child = start(process.execPath, words);
      services.push(child);
      child.stdin?.on('error', () => {});
      const [line] = (await once(child.stdout ?? assert.fail(), 'data')) as [Buffer];
      targets.push(`127.0.0.1:${Number(line.toString())}`);
    }
    const server = await serve([{ job: 'api', targets }]);
    try {
      await tools.until('ten scrapes of each', async () => {
        const found = await server.query('count_over_time(malloc_backend_rss_bytes[1h]) >= 10');
        return found.length === 2;
      });
      const words = [
        'compare',
        '--prometheus',
        server.url,
        '--by',
        'backend',
        '--workload',
        'job="api"',
        '--since',
        '1h',
      ];
      const { code, stdout, stderr } = await tools.command(words);
      assert.equal(code, 0, stderr);
      assert.match(
        stdout,
        /\n\nNot enough pods: default has 1, jemalloc has 1, and a verdict needs 5 of each\. So far jemalloc: mean RSS undecided \[/,
      );
      const { pods } = await compareFleet({ prometheus: server.url, sinceMs: 3_600_000 });
      assert.deepEqual(pods.map(({ variant }) => variant).sort(), ['default/low-rss', 'jemalloc/low-rss']);
      for (const { meanRss, cpu, restarts, ageSeconds } of pods) {
        assert.ok(meanRss > 20 * 2 ** 20 && meanRss < 500 * 2 ** 20, `${meanRss}`);
        assert.ok(cpu! > 0 && cpu! < 2, `${cpu}`);
        assert.equal(restarts, 0);
        assert.ok(ageSeconds! > 0 && ageSeconds! < 3600, `${ageSeconds}`);
      }
    } finally {
      server.stop();
    }
  });
});

describe('a Prometheus that does not answer as it should', () => {
  async function answering(answer: (request: IncomingMessage, response: ServerResponse) => void) {
    const server = createServer(answer).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const stop = () => void (server.close(), server.closeAllConnections());
    return { url: `http://127.0.0.1:${port}`, stop };
  }

  test('is told with what to do', async () => {
    const closed = `http://127.0.0.1:${await tools.freePort()}`;
    await tools.rejects(
      compareFleet({ prometheus: closed }),
      'ERR_PROMETHEUS_FAILED',
      /cannot reach Prometheus at http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED.*; check the URL/,
    );
    const cases: [status: number, body: string, pattern: RegExp][] = [
      [401, 'no', /answers with the status 401: it needs credentials.*--header 'Authorization: Bearer …'/],
      [
        404,
        '<html>',
        /does not answer as Prometheus does: the status is 404, and the content is text\/html; give the URL under which/,
      ],
      [200, '"fine"', /does not answer as Prometheus does/],
      [
        422,
        '{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory"}',
        /refuses a query: query processing.*; ask for less with a shorter --since/,
      ],
    ];
    for (const [status, body, pattern] of cases) {
      const server = await answering((_, response) => {
        response.writeHead(status, { 'content-type': 'text/html' }).end(body);
      });
      await tools.rejects(compareFleet({ prometheus: server.url }), 'ERR_PROMETHEUS_FAILED', pattern);
      server.stop();
    }
  });

  test('gets the headers, and the name and the password of the URL, which no message shows', async () => {
    const seen: (string | undefined)[] = [];
    const server = await answering((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(403).end();
    });
    const file = tools.file('headers', 'Authorization: Bearer from-a-file\n', 0o600);
    const words = ['compare', '--prometheus', `${server.url}/prom/`, '--header'];
    const { code, stderr } = await tools.command([...words, `@${file}`]);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^malloc-backend: Prometheus at http:\/\/127\.0\.0\.1:\d+\/prom answers with the status 403/,
    );
    await tools.command([...words, 'Authorization: Bearer given']);
    const url = server.url.replace('//', '//me:s%40cret@');
    const error = await tools.rejects(compareFleet({ prometheus: url }), 'ERR_PROMETHEUS_FAILED', /403/);
    assert.ok(!error.message.includes('cret'), error.message);
    const basic = `Basic ${Buffer.from('me:s@cret').toString('base64')}`;
    const nameless = server.url.replace('//', '//:s%40cret@');
    await tools.rejects(compareFleet({ prometheus: nameless }), 'ERR_PROMETHEUS_FAILED', /403/);
    const alone = `Basic ${Buffer.from(':s@cret').toString('base64')}`;
    assert.deepEqual(seen, ['Bearer from-a-file', 'Bearer given', basic, alone]);
    const wrong = await tools.command([...words, 'secret']);
    assert.equal(wrong.code, 2);
    assert.ok(
      /--header needs a name and a value/.test(wrong.stderr) && !wrong.stderr.includes('secret'),
      wrong.stderr,
    );
    server.stop();
  });

  test('is not waited for after an abort', async () => {
    const abort = new AbortController();
    // It answers nothing.
    const server = await answering(() => abort.abort());
    const work = compareFleet({ prometheus: server.url, signal: abort.signal });
    await tools.rejects(work, 'ERR_ABORTED', /interrupted/);
    await tools.rejects(compareFleet({ prometheus: server.url, signal: abort.signal }), 'ERR_ABORTED');
    server.stop();
  });
});

describe('wrong options', () => {
  const prometheus = 'http://127.0.0.1:9090';

  test('are refused before anything is asked', async () => {
    const cases: [options: object, ...RegExp[]][] = [
      [{}, /the URL of Prometheus must begin with http:\/\/ or https:\/\/.*not undefined/],
      [{ prometheus: 'prometheus:9090' }, /not "prometheus:9090"/],
      [{ prometheus, workloads: 'x' }, /unknown option "workloads"\. Did you mean workload\?/],
      [{ prometheus, by: [] }, /by must be an array of one or more names of labels/],
      [{ prometheus, pod: ['a-b'] }, /pod must be an array/],
      [{ prometheus, by: ['instance'] }, /instance is in by and in pod/],
      [{ prometheus, sinceMs: 1 }, /sinceMs must be a number of at least 5000, not 1/],
      [{ prometheus, until: new Date(NaN) }, /until must be a valid Date/],
      [{ prometheus, requests: 'rate(x[5m])' }, /requests must be the name of a counter/],
      [{ prometheus, prefix: '0-' }, /the prefix must consist/],
      [{ prometheus, headers: { a: 1 } }, /headers must be an object of strings, and "a" is of type number/],
      [{ prometheus, headers: ['a: b'] }, /headers must be an object of strings, not of type array/],
      [{ prometheus, signal: {} }, /signal must be an AbortSignal/],
    ];
    for (const [options, ...patterns] of cases)
      await tools.rejects(compareFleet(options as FleetOptions), 'ERR_INVALID_ARGUMENT', ...patterns);
  });

  test('show no secret', async () => {
    const Authorization = 'Bearer s3cret\nvalue';
    const cases: [options: object, ...RegExp[]][] = [
      [
        { prometheus, headers: { Authorization } },
        /the value of the header Authorization has a character that HTTP/,
      ],
      [{ prometheus, headers: { Authorization: 'Bearer s3cret…' } }, /the value of the header Authorization/],
      [{ prometheus, headers: { Authorization, a: 1 } }, /"a" is of type number/],
      [{ prometheus, headers: { 'Authorization Bearer s3cret': 'a' } }, /after "Authorization"/],
      [{ prometheus: 'ftp://me:s3cret@host/' }, /must begin with http.*not "ftp:\/\/host\/"/],
      [{ prometheus: 'http://me:s3cret/@host' }, /not "http:\/\/host"/],
      [{ prometheus: 'me:s3cret@host:9090' }, /not "host:9090"/],
      [{ prometheus: new URL('http://me:s3cret@host/') }, /not "http:\/\/host\/"/],
      [{ prometheus: 'http://me:s3cret%ss@host' }, /has a % that begins no character; write %25 for a %/],
      [
        { prometheus: 'http://me:s3cret@host', headers: { authorization: 'Bearer s3cret' } },
        /has a name or a password, and there is a header Authorization, too/,
      ],
    ];
    for (const [options, ...patterns] of cases) {
      const error = await tools.rejects(
        compareFleet(options as FleetOptions),
        'ERR_INVALID_ARGUMENT',
        ...patterns,
      );
      assert.ok(!inspect(error).includes('s3cret'), inspect(error));
    }
  });

  test('of the command, too: what would do nothing is refused', { skip: cannotPreload }, async () => {
    const fleet = ['compare', '--prometheus', prometheus];
    const cases: [words: string[], message: RegExp][] = [
      [
        [...fleet, '--runs', '10'],
        /--runs is for measuring on this machine, and --prometheus measures nothing; leave --runs out/,
      ],
      [[...fleet, '--service'], /--service is for measuring/],
      [[...fleet, '--ready', '3000'], /--ready is for measuring/],
      [[...fleet, '--subject', 'jemalloc/none'], /--subject is for measuring/],
      [[...fleet, '--backends', 'jemalloc'], /--backends is for measuring/],
      [[...fleet, '--save', 'x.json'], /--save is for measuring/],
      [[...fleet, '--show-output'], /--show-output is for measuring/],
      [[...fleet, '--export-html', 'x.html'], /--export-html draws the runs of one machine/],
      [[...fleet, '--', 'true'], /leave the program out/],
      [[...fleet, '--since', 'yesterday'], /--since must be a time like/],
      [['compare', '--by', 'backend', '--', 'true'], /--prometheus <URL> is missing/],
      [['compare', '--header', 'a: b', '--', 'true'], /--prometheus <URL> is missing/],
    ];
    for (const [words, message] of cases) {
      const { code, stderr } = await tools.command(words);
      assert.deepEqual([code, message.test(stderr)], [2, true], `${words.join(' ')}: ${stderr}`);
    }
  });
});
