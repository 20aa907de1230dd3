// The load of a service: the built-in one against services of known latencies, and commands.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Latencies, PERCENTILES } from '../src/compare/latency.js';
import { figures } from '../src/compare/load/command.js';
import { runLoad } from '../src/compare/load/load.js';
import type { HttpTask, LoadReport } from '../src/compare/load/messages.js';
import { type Behaviour, type Note, latencies } from './fixtures-ts/service.js';
import * as tools from './fixtures-ts/tools.js';
import { root } from './support/shims.js';
import { describe, test } from './support/suite.js';

const place = { env: process.env, cwd: undefined, output: 'ignore' } as const;
const never = new AbortController().signal;

/** The fixture as a process of its own, and what it noted. */
interface Service {
  child: ChildProcess;
  url: string;
  notes(): Promise<Note[]>;
}

async function started(behaviour: Omit<Behaviour, 'port'>): Promise<Service> {
  const file = join(root, 'dist/test/fixtures-ts/service.js');
  const child = spawn(process.execPath, [file, JSON.stringify({ port: 0, ...behaviour })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const url = `http://127.0.0.1:${/\d+/.exec(String(line))![0]}`;
  const notes = async () => (await (await fetch(`${url}/notes`)).json()) as Note[];
  return { child, url, notes };
}

async function withService<T>(
  behaviour: Omit<Behaviour, 'port'>,
  act: (service: Service) => Promise<T>,
): Promise<T> {
  const service = await started(behaviour);
  try {
    return await act(service);
  } finally {
    service.child.kill('SIGKILL');
  }
}

const http = (url: string, rest: Partial<HttpTask> = {}): HttpTask => ({
  kind: 'http',
  url,
  rate: 200,
  connections: 300,
  warmupMs: 500,
  durationMs: 10_000,
  ...rest,
});

/** The value that so many percent of the values do not exceed. */
function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]!;
}

/** What the service noted of the measured requests, from when each was due. The first note is of the request before the load. */
function noted(notes: readonly Note[], { rate, warmupMs }: HttpTask, report: LoadReport): number[] {
  const first = 1 + Math.round((warmupMs * rate!) / 1000);
  return notes.slice(first).map(({ answered }, at) => answered - (report.start + (at * 1000) / rate!));
}

const names = [
  ['p50', 50],
  ['p99', 99],
  ['p999', 99.9],
] as const;

function isNear(is: number, should: number, what: string): void {
  assert.ok(Math.abs(is / should - 1) < 0.05, `${what} is ${is}, and should be ${should}`);
}

describe('the load by a fixed rate', () => {
  test('reports the percentiles of a known distribution, with a stall', async () => {
    const stall = { stallAt: 1 + 100 + 1000, stallMs: 500 };
    await withService(stall, async ({ url, notes }) => {
      const task = http(url);
      const report = await runLoad(task, place, never);
      const all = noted(await notes(), task, report);
      assert.equal(all.length, 2000);
      // The timers of a loaded machine are late: no request can be faster than the distribution says, but any can be slower.
      const known = latencies(101, 2000, 5, { at: 5000, ms: 500 });
      for (const [name, percent] of names) {
        const is = report.latency![name]!;
        isNear(is, percentile(all, percent), name);
        assert.ok(is > 0.95 * percentile(known, percent), `${name} is ${is}`);
      }
      // Who sends nothing during the stall has one slow request of 2,000.
      assert.ok(report.latency!.p99! > 350, `p99 is ${report.latency!.p99}`);
      assert.ok(report.latency!.max! > 490, `max is ${report.latency!.max}`);
      assert.equal(report.errors, 0);
      isNear(report.throughput!, 200, 'throughput');
      isNear(report.end - report.start, 10_000, 'the time');
      assert.equal(report.generator!.waited, 0);
    });
  });

  test('counts from when a request was due where all connections are busy', async () => {
    await withService({ delay: 50 }, async ({ url, notes }) => {
      // Two connections with 50 ms for each answer make 40 in a second at most.
      const task = http(url, { rate: 80, connections: 2, durationMs: 3000 });
      const report = await runLoad(task, place, never);
      const all = noted(await notes(), task, report);
      for (const [name, percent] of names) isNear(report.latency![name]!, percentile(all, percent), name);
      assert.ok(report.throughput! < 42, `${report.throughput} in a second`);
      assert.ok(report.generator!.waited > 0.9, `${report.generator!.waited} waited`);
    });
  });

  test('counts who has no answer at the end as an error that waited so long', async () => {
    await withService({ stallAt: 51, stallMs: 1e9 }, async ({ url }) => {
      const report = await runLoad(http(url, { rate: 100, warmupMs: 0, durationMs: 1000 }), place, never);
      assert.ok(report.errors! >= 50, `${report.errors} errors`);
      assert.match(report.problem!, /no answer came within 5 s of the end of the load/);
      // 40 of 100 are those due in the stall's first 0.4 of 0.5 s, and 5 s after it.
      assert.ok(report.latency!.p90! > 5000, `p90 is ${report.latency!.p90}`);
    });
  });

  test('counts bad answers, and says what the first was', async () => {
    await withService({ delay: 0, failEach: 10 }, async ({ url }) => {
      const report = await runLoad(http(url, { rate: 100, warmupMs: 0, durationMs: 1000 }), place, never);
      assert.equal(report.errors, 10);
      assert.equal(report.problem, 'the answer was 500 Internal Server Error');
      isNear(report.throughput!, 90, 'throughput');
    });
  });

  test('counts what a service that crashes does not answer', async () => {
    await withService({ delay: 0, crashAt: 50 }, async ({ url }) => {
      const report = await runLoad(http(url, { rate: 100, warmupMs: 0, durationMs: 1000 }), place, never);
      assert.equal(report.errors, 51);
      assert.match(report.problem!, /ECONNRE(SET|FUSED)|socket hang up/);
    });
  });

  test('refuses to begin where nobody answers, and where the answer is bad', async () => {
    const port = await tools.freePort();
    await tools.rejects(
      runLoad(http(`http://127.0.0.1:${port}/`), place, never),
      'ERR_LOAD_FAILED',
      /ECONNREFUSED/,
    );
    await withService({ failEach: 1 }, ({ url }) =>
      tools.rejects(
        runLoad(http(url), place, never),
        'ERR_LOAD_FAILED',
        /has no good answer before the load: the answer was 500/,
      ),
    );
  });

  test('ends when it is aborted', async () => {
    await withService({ delay: 0 }, async ({ url, notes }) => {
      const controller = new AbortController();
      const load = runLoad(http(url, { durationMs: 600_000 }), place, controller.signal);
      await Promise.race([load, tools.until('requests', async () => (await notes()).length > 10)]);
      controller.abort(new Error('enough'));
      await assert.rejects(load, /enough/);
      const { length } = await notes();
      assert.equal((await notes()).length, length, 'requests go on');
    });
  });
});

describe('the load without a rate', () => {
  test('counts the answers, and tells no latency', async () => {
    await withService({ delay: 20 }, async ({ url, notes }) => {
      const task = http(url, { rate: undefined, connections: 4, warmupMs: 200, durationMs: 2000 });
      const report = await runLoad(task, place, never);
      const answered = (await notes()).filter(
        ({ answered }) => answered > report.start && answered < report.end,
      ).length;
      isNear(report.throughput!, answered / 2, 'throughput');
      assert.ok(report.throughput! <= 200, `${report.throughput} in a second`);
      assert.equal(report.latency, undefined);
      assert.equal(report.histogram, undefined);
    });
  });
});

describe('the load by a command', () => {
  const command = (command: string, timeoutMs = 600_000) =>
    runLoad({ kind: 'command', command, timeoutMs, isShown: false }, place, never);

  test('takes the figures of the last line', async () => {
    const report = await command(
      `echo begin; echo '{"throughput": 950.5, "errors": 3, "p50": 1, "p99": 2.5}'`,
    );
    const { start, end, ...rest } = report;
    assert.deepEqual(rest, { throughput: 950.5, errors: 3, latency: { p50: 1, p99: 2.5 } });
    assert.ok(end > start);
  });

  test('has no figures where the command prints none', async () => {
    for (const output of ['', 'done', '[1]', 'null', '{"throughput": "many"}', '{"p50": -1}'])
      assert.deepEqual(figures(output), {}, output);
  });

  test('fails with the command, and says what that said', async () => {
    await tools.rejects(
      command('echo no such service >&2; exit 7'),
      'ERR_LOAD_FAILED',
      /the load command "echo no such service >&2; exit 7" failed: exit status 7\. The end of its standard error:\nno such service/,
    );
  });

  test('ends a command that takes too long, and what it started', async () => {
    const pid = tools.scratch('late');
    await tools.rejects(
      command(`trap '' TERM; sleep 1000 & echo $! > ${pid}; wait; sleep 1000`, 1000),
      'ERR_LOAD_FAILED',
      /it took longer than 1 s \(--load-timeout\)/,
    );
    await isGone(pid);
  });

  test('ends what a command leaves behind', async () => {
    const pid = tools.scratch('left');
    await command(`sleep 1000 > /dev/null 2>&1 & echo $! > ${pid}`);
    await isGone(pid);
  });

  test('ends the command when it is aborted', async () => {
    const pid = tools.scratch('aborted');
    const controller = new AbortController();
    const load = runLoad(
      { kind: 'command', command: `echo $$ > ${pid}; sleep 1000; true`, timeoutMs: 600_000, isShown: false },
      place,
      controller.signal,
    );
    await Promise.race([load, tools.until('the command', () => content(pid))]);
    controller.abort(new Error('enough'));
    await assert.rejects(load, /enough/);
    await isGone(pid);
  });

  test('ends the command when the comparison is killed', async () => {
    const pid = tools.scratch('killed');
    const code = `require(${JSON.stringify(join(root, 'dist/src/compare/load/load.js'))}).runLoad(
      { kind: 'command', command: 'echo $$ > ${pid}; sleep 1000; true', timeoutMs: 600_000, isShown: false },
      { env: process.env, output: 'ignore' }, new AbortController().signal)`;
    const child = spawn(process.execPath, ['-e', code], { stdio: 'inherit' });
    await tools.until('the command', () => content(pid));
    child.kill('SIGKILL');
    await isGone(pid);
  });
});

function content(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}

/** Waits until the process of the file does not run any more. */
async function isGone(file: string): Promise<void> {
  const pid = Number(content(file));
  assert.ok(pid > 1, `the file ${file} has no process`);
  await tools.until(`the end of ${pid}`, () => {
    try {
      // A zombie does not run.
      return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    } catch {
      return true;
    }
  });
}

describe('latencies', () => {
  test('are exact to three digits', () => {
    const all = new Latencies();
    for (let ms = 1; ms <= 10_000; ms++) all.record(ms);
    const { p50, p90, p99, p999, max } = all.summary()!;
    for (const [is, should] of [
      [p50, 5000],
      [p90, 9000],
      [p99, 9900],
      [p999, 9990],
      [max, 10_000],
    ] as const)
      assert.ok(Math.abs(is / should - 1) < 0.001, `${is} for ${should}`);
    assert.deepEqual(
      all.curve().map(([percentile]) => percentile),
      [...PERCENTILES],
    );
    assert.equal(all.percentile(0), 1);
  });

  test('hold from a microsecond to an hour, and none is no figure', () => {
    const all = new Latencies();
    assert.equal(all.summary(), undefined);
    assert.deepEqual(all.curve(), []);
    all.record(0);
    all.record(1e9);
    assert.equal(all.percentile(0), 0.001);
    assert.ok(Math.abs(all.summary()!.max / 3_600_000 - 1) < 0.001);
  });
});
