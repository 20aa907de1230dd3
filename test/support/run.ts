// Runs programs under a watchdog: one that does not end is looked at, killed with all its children, and a failure.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { environment } from './environment.js';

export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** What came through file descriptor 3. */
  third: string;
}

export interface Options {
  env?: Record<string, string>;
  cwd?: string;
  /** Given on stdin, which then ends. */
  input?: string;
  /** Seconds until it counts as hung. */
  seconds?: number;
}

/** Where the threads of a process stand: by gdb where there is one, else by the kernel's word. */
export function whereabouts(pid: number): string {
  const gdb = spawnSync('gdb', ['-p', `${pid}`, '-batch', '-ex', 'thread apply all bt 16'], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  if (gdb.status === 0) return gdb.stdout.replace(/^(warning|\[New|Reading|0x.*in \?\?).*\n/gm, '');
  try {
    return readdirSync(`/proc/${pid}/task`)
      .map((task) => `${task}: ${readFileSync(`/proc/${pid}/task/${task}/wchan`, 'utf8')}`)
      .join('\n');
  } catch (error) {
    return `(no gdb, and ${String(error)})`;
  }
}

/** Starts a program in a process group of its own, so that nothing of it is left behind. */
export function start(command: string, args: string[], { env = {}, cwd }: Options = {}): ChildProcess {
  return spawn(command, args, {
    cwd,
    detached: true,
    env: environment(env),
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  });
}

/** Kills a program started above, and its children. */
export function kill(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group is gone.
  }
}

/** By events, so that others can listen to the stream as well. */
function collect(stream: Readable): () => string {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}

/** What a started program says until it ends. */
export async function ended(child: ChildProcess, { seconds = 60 }: Options = {}): Promise<Outcome> {
  let hung: string | undefined;
  const watchdog = setTimeout(() => {
    hung = child.pid === undefined ? '' : whereabouts(child.pid);
    kill(child);
  }, seconds * 1000);
  try {
    const said = [1, 2, 3].map((fd) => collect(child.stdio[fd] as Readable));
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    const [stdout = '', stderr = '', third = ''] = said.map((each) => each());
    if (hung !== undefined) {
      throw new Error(
        `hung: ${child.spawnargs.join(' ')} did not end in ${seconds} s\n${stdout}${stderr}${hung}`,
      );
    }
    return { code, signal, stdout, stderr, third };
  } finally {
    clearTimeout(watchdog);
    kill(child);
  }
}

export async function run(command: string, args: string[] = [], options: Options = {}): Promise<Outcome> {
  const child = start(command, args, options);
  child.stdin?.on('error', () => {}); // it may end without having read
  child.stdin?.end(options.input ?? '');
  return ended(child, options);
}

/** As `run`, for a program that must end with 0. */
export async function succeed(command: string, args: string[] = [], options: Options = {}): Promise<Outcome> {
  const outcome = await run(command, args, options);
  if (outcome.code !== 0) {
    const how = outcome.signal ?? `status ${outcome.code}`;
    throw new Error(`${command} ${args.join(' ')} ended with ${how}\n${outcome.stdout}${outcome.stderr}`);
  }
  return outcome;
}
