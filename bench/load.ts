// Whether the load of `compare --service` reports a distribution that is known.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { runLoad } from '../src/compare/load/load.js';
import type { HttpTask } from '../src/compare/load/messages.js';
import { latencies } from '../test/fixtures-ts/service.js';
import { root } from './measure.js';
import { type Options, type Table, markdown } from './table.js';

const RATE = 200;
const WARMUP_S = 2;
const place = { env: process.env, cwd: undefined, output: 'ignore' } as const;

/** The value that so many percent of the values do not exceed. */
function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]!;
}

async function* run({ quick, progress }: Options): AsyncIterable<string> {
  const [seconds, stallMs] = quick ? [10, 500] : [60, 1000];
  const first = 1 + RATE * WARMUP_S;
  const half = (RATE * seconds) / 2;
  // Standing still begins when the request in the middle arrives.
  const behaviour = { port: 0, stallAt: first + half, stallMs };
  const child = spawn(
    process.execPath,
    [join(root, 'dist/test/fixtures-ts/service.js'), JSON.stringify(behaviour)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  try {
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const url = `http://127.0.0.1:${/\d+/.exec(String(line))![0]}/`;
    progress(`a load of ${seconds} s`);
    const task: HttpTask = {
      kind: 'http',
      url,
      rate: RATE,
      connections: 2 * RATE,
      warmupMs: WARMUP_S * 1000,
      durationMs: seconds * 1000,
    };
    const { latency, generator, errors } = await runLoad(task, place, new AbortController().signal);
    const known = latencies(first, RATE * seconds, 1000 / RATE, { at: (half * 1000) / RATE, ms: stallMs });
    const rows = (
      [
        ['p50', 50],
        ['p90', 90],
        ['p99', 99],
        ['p999', 99.9],
        ['max', 100],
      ] as const
    ).map(([name, percent]) => {
      const [is, should] = [latency![name]!, percentile(known, percent)];
      const error = ((is / should - 1) * 100).toFixed(1);
      return [
        name === 'p999' ? 'p99.9' : name,
        `${should.toFixed(1)} ms`,
        `${is.toFixed(1)} ms`,
        `${error} %`,
      ];
    });
    yield [
      markdown(['latency', 'known', 'reported', 'error'], rows),
      `${RATE * seconds} requests at ${RATE} in a second; one stall of ${stallMs} ms; ${errors} errors; the load was late by ` +
        `${generator!.lateP50.toFixed(2)} ms (p50) and ${generator!.lateP99.toFixed(2)} ms (p99).`,
    ].join('\n\n');
  } finally {
    child.kill('SIGKILL');
  }
}

export const load: Table = { title: 'What the load of `compare --service` reports of known latencies', run };
