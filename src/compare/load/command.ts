// Loads a service by a shell command.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Latency } from '../latency.js';
import { type CommandTask, type LoadReport, monotonic } from './messages.js';

/** How much of the output is kept: what a report can hold, and what a message can quote. */
const KEPT = 64 * 1024;
const QUOTED = 2000;

/** How long the command may take to end after SIGTERM. */
const GRACE_MS = 2000;

let running: ChildProcess | undefined;

/**
 * Runs the command to its end.
 *
 * @throws an Error, if the command fails or takes too long.
 */
export async function loadByCommand({ command, timeoutMs, isShown }: CommandTask): Promise<LoadReport> {
  const start = monotonic();
  // A group of its own, which can be ended whole.
  const child = spawn('/bin/sh', ['-c', command], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  running = child;
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out = (out + text).slice(-KEPT)));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err = (err + text).slice(-QUOTED)));
  if (isShown) {
    child.stdout.pipe(process.stdout);
    child.stderr.pipe(process.stderr);
  }
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    void endCommand();
  }, timeoutMs);
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  const end = monotonic();
  clearTimeout(timer);
  await endCommand();
  // The rest of the output: nobody of the group writes any more.
  await Promise.race([once(child, 'close'), new Promise((resolve) => setTimeout(resolve, 500).unref())]);
  if (isLate) throw new Error(`it took longer than ${timeoutMs / 1000} s (--load-timeout)${quoted(err)}`);
  if (code !== 0)
    throw new Error(`${signal === null ? `exit status ${code}` : `ended by ${signal}`}${quoted(err)}`);
  return { start, end, ...figures(out) };
}

const quoted = (text: string): string =>
  text.trim() === '' ? '' : `. The end of its standard error:\n${text.trim()}`;

/** Ends the command and everything in its group. */
export async function endCommand(): Promise<void> {
  const child = running;
  running = undefined;
  if (child?.pid === undefined) return;
  const isGone = child.exitCode !== null || child.signalCode !== null;
  if (!isGone) {
    send(child.pid, 'SIGTERM');
    const late = new Promise((resolve) => setTimeout(resolve, GRACE_MS).unref());
    await Promise.race([once(child, 'exit'), late]);
  }
  send(child.pid, 'SIGKILL');
}

function send(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // Nobody of the group is left.
  }
}

const LATENCIES = ['p50', 'p90', 'p99', 'p999', 'max'] as const satisfies (keyof Latency)[];

/** What the last line of the output says, where that is an object in JSON: `{"throughput": 950, "p99": 12.5}`. */
export function figures(output: string): Pick<LoadReport, 'throughput' | 'errors' | 'latency'> {
  let said: Record<string, unknown>;
  try {
    said = JSON.parse(output.trim().split('\n').at(-1)!) as Record<string, unknown>;
  } catch {
    return {};
  }
  if (typeof said !== 'object' || said === null) return {};
  const number = (name: string): number | undefined => {
    const value = said[name];
    return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
  };
  const [throughput, errors] = [number('throughput'), number('errors')];
  const latency = Object.fromEntries(
    LATENCIES.flatMap((name) => {
      const value = number(name);
      return value === undefined ? [] : [[name, value]];
    }),
  );
  return {
    ...(throughput === undefined ? {} : { throughput }),
    ...(errors === undefined ? {} : { errors }),
    ...(Object.keys(latency).length === 0 ? {} : { latency }),
  };
}
