// `malloc-backend compare --service`: the phases of a service, and what goes wrong in each.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type CompareResults, type Run, readResults } from '../index.js';
import { asCost } from '../src/compare/advice.js';
import { type Decision, repeated } from '../src/compare/decision.js';
import { rateOf } from '../src/compare/service-options.js';
import { warningsOfService } from '../src/compare/service-warnings.js';
import type { Behaviour, Note } from './fixtures-ts/service.js';
import * as tools from './fixtures-ts/tools.js';
import { environment } from './support/environment.js';
import { family } from './support/progress.js';
import { cannotPreload, root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const program = (behaviour: Behaviour): string[] => [
  '--',
  process.execPath,
  join(root, 'dist/test/fixtures-ts/service.js'),
  JSON.stringify(behaviour),
];

/** Words of a command line, in one place of another list. */
const words = (...all: string[]): string[] => all;

/** One round of two subjects, with short phases. */
const SHORT = ['--service', '--runs', '1', '--backends', 'snmalloc', '--idle', '300ms'];
const LOAD = ['--rate', '100', '--duration', '1s', '--warmup-load', '500ms'];

interface Compared {
  code: number | null;
  stdout: string;
  stderr: string;
  results: CompareResults;
}

let count = 0;

/** Runs the command, and reads its results, if there are any. */
async function compare(...all: string[]): Promise<Compared> {
  const file = tools.scratch(`service-${count++}.json`);
  const outcome = await tools.command(['compare', '--export-json', file, ...all]);
  const results = existsSync(file) ? readResults(file) : ({ runs: [] } as unknown as CompareResults);
  return { ...outcome, results };
}

const url = (port: number): string => `http://127.0.0.1:${port}/`;

/** That nothing of the service runs any more. */
async function isFree(port: number): Promise<void> {
  await tools.until(`the end of port ${port}`, async () => {
    const server = createServer();
    try {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
      return true;
    } catch {
      return false;
    } finally {
      server.close();
    }
  });
}

describe('compare --service', { skip: cannotPreload }, () => {
  test('starts, loads, idles and stops the service under each subject', async () => {
    const port = await tools.freePort();
    const { code, stdout, stderr, results } = await compare(
      ...SHORT,
      ...LOAD,
      '--ready',
      url(port),
      '--load',
      url(port),
      ...program({ port, delay: 20 }),
    );
    assert.equal(code, 0, stderr);
    assert.equal(results.mode, 'service');
    assert.deepEqual(results.options.service, {
      ready: url(port),
      load: url(port),
      rate: 100,
      connections: 100,
      duration: 1,
      warmup: 0.5,
      idle: 0.3,
      readyTimeout: 60,
    });
    assert.deepEqual(results.runs.map(({ subject }) => subject).sort(), ['default/none', 'snmalloc/none']);
    for (const { service, samples, proof, subject, wall } of results.runs) {
      assert.equal(proof.backend, subject.split('/')[0]);
      const { phases, latency, throughput, errors, histogram, ...rest } = service!;
      const { ready, loadStart, loadEnd, idleEnd } = phases;
      assert.ok(
        0 < ready && ready < loadStart && loadEnd < idleEnd && idleEnd <= wall * 1000,
        JSON.stringify(phases),
      );
      assert.ok(loadStart - ready > 499, 'the warm-up comes first');
      assert.ok(loadEnd - loadStart > 999, 'the load takes a second');
      assert.ok(idleEnd - loadEnd > 298, 'the service idles');
      assert.ok(latency!.p50! >= 20 && latency!.p50! < 1000, JSON.stringify(latency));
      assert.ok(throughput! > 50 && throughput! < 100.1, `${throughput} in a second`);
      assert.equal(errors, 0);
      assert.equal(histogram!.length, 14);
      const highest = Math.max(...samples.map(({ treeRss }) => treeRss));
      for (const rss of [rest.rssAtPeak, rest.rssAfterLoad, rest.rssAfterIdle])
        assert.ok(rss > 2e7 && rss <= highest, `${rss} of ${highest}`);
    }
    for (const title of ['RSS after idle', 'RSS at peak', 'p99', 'throughput'])
      assert.ok(stdout.includes(title), `${title} in ${stdout}`);
    for (const { metrics } of results.summaries)
      for (const name of [
        'throughput',
        'p50',
        'p99',
        'p999',
        'rssAtPeak',
        'rssAfterLoad',
        'rssAfterIdle',
        'cpu',
      ] as const)
        assert.ok(metrics[name]!.median > 0, name);
    await isFree(port);
  });

  for (const [what, ready] of [
    ['a port', (port: number) => String(port)],
    ['a text', (port: number) => `listening on ${port}`],
  ] as const)
    test(`is ready by ${what}`, async () => {
      const port = await tools.freePort();
      const { code, stderr, results } = await compare(
        ...SHORT,
        ...LOAD,
        '--ready',
        ready(port),
        '--load',
        url(port),
        ...program({ port, delay: 0, listenAfter: 200 }),
      );
      assert.equal(code, 0, stderr);
      assert.equal(results.runs.length, 2);
      for (const { service } of results.runs) assert.ok(service!.phases.ready > 200);
    });

  test('finds a rate where none is given', async () => {
    const port = await tools.freePort();
    const { code, stderr, results } = await compare(
      ...SHORT,
      ...words('--duration', '1s', '--warmup-load', '0s', '--ready', String(port), '--load', url(port)),
      ...program({ port, delay: 50 }),
    );
    assert.equal(code, 0, stderr);
    const { rate } = results.options.service!;
    // Ten connections with 50 ms for an answer make 200 in a second at most.
    assert.ok(rate! > 5 && rate! <= 100, `the rate is ${rate}`);
    assert.deepEqual([rateOf(200), rateOf(4321), rateOf(0.5)], [100, 2200, 1]);
  });

  test('measures the throughput alone with the rate max', async () => {
    const port = await tools.freePort();
    const { code, stdout, stderr, results } = await compare(
      ...SHORT,
      ...words(
        '--rate',
        'max',
        '--duration',
        '1s',
        '--warmup-load',
        '0s',
        '--ready',
        String(port),
        '--load',
        url(port),
      ),
      ...program({ port, delay: 50 }),
    );
    assert.equal(code, 0, stderr);
    for (const { service } of results.runs) {
      assert.ok(service!.throughput! > 10 && service!.throughput! <= 210, `${service!.throughput}`);
      assert.equal(service!.latency, undefined);
    }
    assert.ok(!stdout.includes('p99'));
  });

  test('takes a command for the load', async () => {
    const port = await tools.freePort();
    const load = `echo '{"throughput": 123, "p99": 4.5}'`;
    const { code, stderr, results } = await compare(
      ...SHORT,
      ...words('--ready', String(port), '--load', load),
      ...program({ port }),
    );
    assert.equal(code, 0, stderr);
    for (const { service } of results.runs) {
      assert.equal(service!.throughput, 123);
      assert.deepEqual(service!.latency, { p99: 4.5 });
    }
  });

  test('ends a service that heeds no SIGTERM, and what it started', async () => {
    const port = await tools.freePort();
    const { code, stderr, results } = await compare(
      ...SHORT,
      ...words('--ready', String(port), '--load', 'true'),
      ...program({ port, isMeek: false, hasChild: true }),
    );
    assert.equal(code, 0, stderr);
    assert.equal(results.runs.length, 2);
    await isFree(port);
  });

  test('refuses options that contradict one another', async () => {
    const { code, stderr } = await tools.command(['tune', '--for', 'rss', '--ready', '3000', '--', 'true']);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /--ready is for a service; add --service/);
    for (const [message, ...given] of [
      ['--ready is for a service; add --service', '--ready', '3000'],
      ['--warmup-load is for a service; add --service', '--warmup-load', '1s'],
      ['--service needs --ready, which says when', '--service', '--load', 'http://x'],
      ['--service needs --load, which loads', '--service', '--ready', '3000'],
      ['--rate must be a number', '--service', '--ready', '3000', '--load', 'http://x', '--rate', 'fast'],
      [
        'service.rate is for the built-in load',
        '--service',
        '--ready',
        '3000',
        '--load',
        'true',
        '--rate',
        '9',
      ],
      ['service.load is no URL', '--service', '--ready', '3000', '--load', 'http://'],
      ['ignoreFailure is for commands', '--service', '--ready', '3000', '--load', 'true', '--ignore-failure'],
    ] as const) {
      const { code, stderr } = await compare(...given, '--', 'true');
      assert.equal(code, 2, `${given.join(' ')}: ${stderr}`);
      assert.ok(stderr.includes(message), stderr);
    }
  });
});

describe('a service that cannot be measured', { skip: cannotPreload }, () => {
  test('never gets ready', async () => {
    const port = await tools.freePort();
    for (const [ready, reason] of [
      [url(port), /ECONNREFUSED/],
      [String(port), /ECONNREFUSED/],
      ['hear, hear', /its output does not have the text/],
    ] as const) {
      const { code, stderr, results } = await compare(
        ...words(...SHORT, '--ready', ready, '--load', 'true', '--ready-timeout', '300ms'),
        ...program({ port, listenAfter: 1e6 }),
      );
      assert.equal(code, 1, stderr);
      assert.match(stderr, /malloc-backend: the service was not ready after 0\.3 s under [\w/]+ \(--ready /);
      assert.match(stderr, reason);
      assert.equal(results.runs.length, 0);
    }
    await isFree(port);
  });

  test('ends before it is ready: the error has its last words', async () => {
    const { code, stderr } = await compare(
      ...words(...SHORT, '--ready', '9', '--load', 'true'),
      ...words('--', 'sh', '-c', 'echo no database >&2; exit 4'),
    );
    assert.equal(code, 1);
    assert.match(
      stderr,
      /the service ended before it was ready under [\w/]+: exit status 4\. The end of its standard error:\nno database/,
    );
  });

  test('has its port taken: nothing starts', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const mark = tools.scratch('taken.mark');
    const { code, stderr } = await compare(
      ...words(...SHORT, '--ready', String(port), '--load', url(port)),
      ...program({ port, mark }),
    );
    server.close();
    assert.equal(code, 1);
    assert.ok(
      stderr.includes(`127.0.0.1:${port} is taken before the service starts, by process ${process.pid} (`),
      stderr,
    );
    assert.ok(!existsSync(mark));
  });

  test('crashes under load: the runs before are kept', async () => {
    const port = await tools.freePort();
    const file = tools.scratch('crashes.json');
    const node = program({ port, delay: 0 })[1];
    const script = `grep -q '"round"' '${file}' 2>/dev/null && set -- "$2" "$2"; exec '${node}' '${program({ port })[2]}' "$1"`;
    const [good, bad] = [
      { port, delay: 0 },
      { port, delay: 0, crashAt: 30 },
    ].map((each) => JSON.stringify(each));
    const { code, stderr } = await tools.command(
      [
        'compare',
        '--export-json',
        file,
        ...SHORT,
        ...LOAD,
        '--ready',
        String(port),
        '--load',
        url(port),
      ].concat(['--', 'sh', '-c', script, 'sh', good!, bad!]),
    );
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /the service ended under load under [\w/]+: exit status 3\. The end of its standard error:\nout of luck/,
    );
    assert.match(stderr, /1 run saved; go on with: malloc-backend compare --resume /);
    assert.equal(readResults(file).runs.length, 1);
    await isFree(port);
  });

  test('has a load command that fails, and one that takes too long', async () => {
    const port = await tools.freePort();
    for (const [load, message] of [
      [
        'echo no network >&2; exit 5',
        /the load command ".*" failed: exit status 5\. The end of its standard error:\nno network/,
      ],
      ['sleep 1000', /the load command "sleep 1000" failed: it took longer than 0\.3 s/],
    ] as const) {
      const { code, stderr } = await compare(
        ...words(...SHORT, '--ready', String(port), '--load', load, '--load-timeout', '300ms'),
        ...program({ port }),
      );
      assert.equal(code, 1, stderr);
      assert.match(stderr, message);
      await isFree(port);
    }
  });

  test('answers no request well', async () => {
    const port = await tools.freePort();
    const { code, stderr } = await compare(
      ...words(...SHORT, ...LOAD, '--ready', String(port), '--load', url(port)),
      ...program({ port, delay: 0, failEach: 1 }),
    );
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /the load by http:\S+ failed: .* has no good answer before the load: the answer was 500/,
    );
    await isFree(port);
  });
});

describe('a comparison of a service is interrupted', { skip: cannotPreload }, () => {
  const LONG = ['--rate', '50', '--warmup-load', '0s'];

  /** Starts a comparison that stays in a phase, and waits until it is there. */
  async function inPhase(
    phase: 'start' | 'load' | 'idle',
  ): Promise<{ child: ChildProcess; port: number; said: Promise<string> }> {
    const port = await tools.freePort();
    const mark = tools.scratch(`${phase}-${port}.mark`);
    const all = [
      ...words('--service', '--runs', '1', '--backends', 'snmalloc', ...LONG),
      ...words('--duration', phase === 'load' ? '10m' : '200ms', '--idle', phase === 'idle' ? '10m' : '0s'),
      ...words('--ready', String(port), '--load', url(port)),
      ...program({
        port,
        delay: 0,
        mark,
        hasChild: true,
        ...(phase === 'start' ? { listenAfter: 1e6 } : {}),
      }),
    ];
    const child = tools.watched(
      spawn(process.execPath, [tools.cli, 'compare', ...all], {
        env: environment({}),
        stdio: ['ignore', 'ignore', 'pipe'],
      }),
    );
    const said = text(child.stderr!);
    await tools.until('the service', () => existsSync(mark));
    if (phase === 'start') return { child, port, said };
    const requests = async () => {
      try {
        return ((await (await fetch(`${url(port)}notes`)).json()) as Note[]).length;
      } catch {
        return 0;
      }
    };
    const isLoading = () => family(child.pid!).some(({ pid }) => commandOf(pid).includes('load/process.js'));
    await tools.until('the load', async () => (await requests()) > 5);
    if (phase === 'idle') await tools.until('the end of the load', () => !isLoading());
    return { child, port, said };
  }

  for (const phase of ['start', 'load', 'idle'] as const)
    for (const signal of ['SIGINT', 'SIGKILL'] as const)
      test(`in the phase ${phase}, by ${signal}: nothing runs on`, async () => {
        const { child, port, said } = await inPhase(phase);
        const pids = family(child.pid!).map(({ pid }) => pid);
        assert.ok(pids.length > 2, `${pids.length} processes`);
        child.kill(signal);
        const [code] = (await once(child, 'close')) as [number | null];
        if (signal === 'SIGINT') {
          assert.equal(code, 130, await said);
          assert.match(await said, /malloc-backend: interrupted/);
        }
        await tools.until('the end of all processes', () => pids.every((pid) => commandOf(pid) === ''));
        await isFree(port);
      });
});

/** The words of a process that runs. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

describe('the decision for a service', () => {
  const service = { ready: '3000', load: 'http://x/', connections: 10, duration: 10, warmup: 3, idle: 10 };
  const decision = (options: object): Decision => ({
    subject: { backend: 'jemalloc' },
    measured: { command: ['node'], baseline: 'default/none', options } as unknown as Decision['measured'],
  });

  test('is measured again with the same load', () => {
    const again = (options: object) => repeated(decision({ warmup: 0, service: options })).service;
    assert.deepEqual(again({ ...service, rate: 200 }), { ...service, rate: 200 });
    assert.deepEqual(again(service), { ...service, rate: 'max' });
    assert.deepEqual(again({ ...service, load: 'k6 run x' }), { ...service, load: 'k6 run x' });
  });

  test('counts less throughput as a cost, and less of all else as a gain', () => {
    const found = { ratio: 0.8, low: 0.5, high: 1, p: 0.01, verdict: 'lower' } as const;
    assert.deepEqual(asCost('p99', found), found);
    assert.deepEqual(asCost('throughput', found), {
      ratio: 1.25,
      low: 1,
      high: 2,
      p: 0.01,
      verdict: 'higher',
    });
  });
});

describe('the warnings of a service', () => {
  const service = { ready: '1', load: 'http://x/', rate: 100, connections: 10, duration: 10, idle: 1 };
  const good = {
    throughput: 100,
    errors: 0,
    latency: { p50: 10, p90: 20, p99: 30, p999: 40, max: 50 },
    generator: { lateP50: 0.1, lateP99: 3, busy: 0.2, waited: 0 },
    phases: { ready: 0, loadStart: 0, loadEnd: 10_000, idleEnd: 11_000 },
    rssAtPeak: 1,
    rssAfterLoad: 1,
    rssAfterIdle: 1,
  };
  const warned = (change: object, options: object = {}) =>
    warningsOfService([{ service: { ...good, ...change } } as unknown as Run], 'default/none', {
      ...service,
      ...options,
    }).map(({ code }) => code);
  const generator = (change: object) => ({ generator: { ...good.generator, ...change } });

  test('tell a service that is saturated from one that fails', () => {
    assert.deepEqual(warned({}), []);
    assert.deepEqual(warned({ throughput: 94 }), ['SATURATED']);
    assert.deepEqual(warned({ throughput: 90, errors: 100 }), ['LOAD_ERRORS']);
    assert.deepEqual(warned(generator({ waited: 0.6 })), ['SATURATED']);
    assert.deepEqual(warned({ throughput: 94 }, { rate: undefined }), []);
  });

  test('tell a load that was too slow', () => {
    assert.deepEqual(warned(generator({ lateP50: 3 })), ['LOAD_LATE']);
    assert.deepEqual(warned(generator({ lateP99: 8 })), ['LOAD_LATE']);
    assert.deepEqual(warned(generator({ busy: 0.95 })), ['LOAD_LATE']);
    assert.deepEqual(warned(generator({ busy: 0.95 }), { rate: undefined }), ['LOAD_LATE']);
    assert.deepEqual(
      warned({ latency: { p50: 0.3, p99: 1 }, ...generator({ lateP50: 0.4, lateP99: 1.5 }) }),
      [],
    );
  });
});
