// Runs programs under a watchdog: one that does not end is looked at, killed with all its children, and a failure.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { environment } from './environment.js';
import { type Patience, family, watch, whereabouts } from './progress.js';

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
  /** When it counts as hung. */
  patience?: Patience;
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

/** What a started program says until it ends. To say something is a sign of life. */
export async function ended(child: ChildProcess, { patience }: Options = {}): Promise<Outcome> {
  let hung: string | undefined;
  const { pid } = child;
  const watchdog = watch(
    () => (pid === undefined ? [] : family(pid)),
    (why) => {
      hung = `${why}\n${pid === undefined ? '' : whereabouts(pid)}`;
      kill(child);
    },
    patience,
  );
  try {
    const said = [1, 2, 3].map((fd) => {
      const stream = child.stdio[fd] as Readable;
      stream.on('data', watchdog.alive);
      return collect(stream);
    });
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    const [stdout = '', stderr = '', third = ''] = said.map((each) => each());
    if (hung !== undefined) {
      throw new Error(`hung: ${child.spawnargs.join(' ')}: ${stdout}${stderr}${hung}`);
    }
    return { code, signal, stdout, stderr, third };
  } finally {
    watchdog.stop();
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

/**
 * For a Node that terminates workers. It may end itself where V8 compiles for a worker on another thread meanwhile: without
 * this option a run ended with 'Assertion failed: (data.first) != nullptr' in NodePlatform::ForIsolate (Node 20.20.2), with
 * nothing of ours on the stack.
 */
export const TERMINATES = '--no-concurrent-recompilation';
