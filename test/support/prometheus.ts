// A real Prometheus, on this machine's loopback.

import assert from 'node:assert/strict';
import { type ChildProcess } from 'node:child_process';
import * as tools from '../fixtures-ts/tools.js';
import { kill, start } from './run.js';

export const prometheus = tools.which('prometheus');
export const promtool = tools.which('promtool');

/** Why there is no Prometheus; false where there is. For a test's `skip`. */
export const noPrometheus: string | false =
  prometheus === undefined || promtool === undefined
    ? 'prometheus is not installed (Debian: apt-get install prometheus)'
    : false;

export interface Result {
  metric: Record<string, string>;
  value: [time: number, value: string];
}

/** A running server. */
export interface Server {
  url: string;
  /** What an expression gives now. A query that the server refuses throws. */
  query(expression: string): Promise<Result[]>;
  stop(): void;
}

export interface Job {
  job: string;
  targets: readonly string[];
  labels?: Record<string, string>;
}

let servers = 0;

/** Starts a server that scrapes so often, and waits until it answers. `folder` has blocks that are there already. */
export async function serve(
  jobs: readonly Job[],
  options: { interval?: string; folder?: string; rules?: readonly string[] } = {},
): Promise<Server> {
  const { interval = '1s', rules = [] } = options;
  servers += 1;
  const folder = options.folder ?? tools.scratch(`tsdb-${servers}`);
  const config = {
    global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
    rule_files: rules,
    scrape_configs: jobs.map(({ job, targets, labels = {} }, at) => ({
      job_name: `${job}-${at}`,
      static_configs: [{ targets, labels: { job, ...labels } }],
    })),
  };
  // JSON is YAML.
  const file = tools.file(`prometheus-${servers}.yml`, JSON.stringify(config), 0o644);
  const address = `127.0.0.1:${await tools.freePort()}`;
  const child: ChildProcess = start(prometheus ?? '', [
    `--config.file=${file}`,
    `--storage.tsdb.path=${folder}`,
    '--storage.tsdb.retention.time=100y',
    `--web.listen-address=${address}`,
  ]);
  child.stdin?.on('error', () => {});
  let log = '';
  child.stderr?.on('data', (chunk: Buffer) => (log += chunk));
  child.stdout?.resume();
  const url = `http://${address}`;
  const query = async (expression: string): Promise<Result[]> => {
    const reply = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expression)}`);
    const { data, error } = (await reply.json()) as { data?: { result: Result[] }; error?: string };
    assert.equal(error, undefined, `${expression}: ${error}`);
    return data!.result;
  };
  await tools.until('Prometheus to be ready', async () => {
    assert.equal(child.exitCode, null, log);
    return fetch(`${url}/-/ready`).then(
      ({ ok }) => ok || undefined,
      () => undefined,
    );
  });
  return { url, query, stop: () => kill(child) };
}
