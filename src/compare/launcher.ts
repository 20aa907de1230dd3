// Starts the command by the native launcher, `malloc-backend measure`, and reads what it reports. Node measures nothing itself:
// on Linux the peak RSS of a child begins with the RSS of the process that started it.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { MallocBackendError, type MallocBackendErrorCode } from '../errors.js';
import { binaryFolder } from '../native/loader.js';
import type { Proof } from '../process/spawn.js';
import type { Counters, Subject } from './results.js';

/** What to start. */
export interface Task {
  command: readonly string[];
  subject: Pick<Subject, 'id' | 'backend' | 'preset' | 'set'>;
  env: NodeJS.ProcessEnv;
  cwd: string | undefined;
  intervalMs: number;
  /** The file for standard input; default: none. */
  input: string | undefined;
  /** What happens to standard output and error. `ignore` keeps the end of standard error for a message. */
  output: 'ignore' | 'inherit';
  /** Is told what the program writes to standard output and standard error, as it arrives. */
  watch?: (text: string) => void;
}

/** The events of the launcher, as crates/measure writes them. `at` is in milliseconds of CLOCK_MONOTONIC. */
export interface StartEvent {
  event: 'start';
  at: number;
  pid: number;
  proof: Proof;
}

export interface SampleEvent {
  event: 'sample';
  at: number;
  rss: number;
  pss?: number;
  processes: number;
  treeRss: number;
  treePss?: number;
  cpu: number;
}

export interface EndEvent {
  event: 'end';
  at: number;
  wall: number;
  user: number;
  system: number;
  peakRss: number;
  treePeakRss: number;
  minorFaults: number;
  majorFaults: number;
  voluntarySwitches: number;
  involuntarySwitches: number;
  code: number | null;
  signal: string | null;
  counters: Counters | null;
  leftBehind: number;
}

interface ErrorEvent {
  event: 'error';
  code: MallocBackendErrorCode;
  message: string;
}

type LauncherEvent = StartEvent | SampleEvent | EndEvent | ErrorEvent;

/** What a program did from its start to its end. */
export interface Measured {
  start: StartEvent;
  samples: SampleEvent[];
  end: EndEvent;
  /** The end of what the program wrote to standard error, unless it was shown. */
  stderr: string;
}

/** A program that the launcher started. */
export interface Launched {
  /** Resolves before the program's `main`. */
  readonly started: Promise<StartEvent>;
  /** Resolves when nothing of the program runs any more. */
  readonly ended: Promise<Measured>;
  /** The samples so far. */
  readonly samples: readonly SampleEvent[];
  /** Ends the program, and everything that it started, by SIGTERM, and by SIGKILL where that takes too long. */
  stop(): void;
}

/** How much of standard error a message can quote. */
const QUOTED = 2000;

export function launch(task: Task): Launched {
  const { command, subject, env, cwd, intervalMs, output, watch } = task;
  const options = Object.entries(subject.set).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const interval = ['--interval', String(intervalMs), ...(task.input === undefined ? [] : ['--stdin'])];
  const words = [
    'measure',
    subject.backend,
    '--preset',
    subject.preset,
    ...options,
    ...interval,
    '--',
    ...command,
  ];
  const input = openSync(task.input ?? '/dev/null', 'r');
  let child: ChildProcess;
  try {
    child = spawn(join(binaryFolder(), 'malloc-backend'), words, {
      cwd,
      env,
      // A terminal sends Ctrl-C to its foreground group: the program must get it from the launcher alone, or it would seem
      // to fail by itself.
      detached: true,
      stdio: [
        input,
        watch === undefined ? output : 'pipe',
        watch === undefined && output === 'inherit' ? output : 'pipe',
        'pipe',
      ],
    });
  } finally {
    closeSync(input);
  }
  const samples: SampleEvent[] = [];
  const report = read(child.stdio[3] as Readable, samples);
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-QUOTED)));
  if (watch !== undefined) observe(child, watch, output === 'inherit');
  const exit = exitOf(child, subject.id);
  const failed = async (): Promise<never> => {
    const { error } = await report.finished;
    const how = await exit;
    throw error === undefined
      ? new MallocBackendError(
          'ERR_MEASURE_FAILED',
          `the measuring launcher ended without a report under ${subject.id} (${how}): ${stderr.trim() || 'it said nothing'}`,
        )
      : new MallocBackendError(error.code, `under ${subject.id}: ${error.message}`);
  };
  const started = report.started.then((start) => start ?? failed());
  const ended = started.then(async (start) => {
    const { end } = await report.finished;
    await exit;
    return end === undefined ? failed() : { start, samples, end, stderr };
  });
  // Whoever waits for one alone is told by that one.
  started.catch(() => {});
  ended.catch(() => {});
  return { started, ended, samples, stop: () => void child.kill('SIGTERM') };
}

/** Tells what the program writes, and shows it where that is wanted. */
function observe({ stdout, stderr }: ChildProcess, watch: (text: string) => void, isShown: boolean): void {
  for (const [from, to] of [
    [stdout, process.stdout],
    [stderr, process.stderr],
  ] as const) {
    from?.setEncoding('utf8').on('data', (text: string) => {
      watch(text);
      if (isShown) to.write(text);
    });
  }
}

/** How the launcher itself ended, in words. */
async function exitOf(child: ChildProcess, id: string): Promise<string> {
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    return signal ?? `exit status ${code}`;
  } catch (cause) {
    const message = `cannot start the measuring launcher for ${id}: ${(cause as Error).message}`;
    throw new MallocBackendError('ERR_EXEC_FAILED', message, { cause });
  }
}

interface Report {
  /** Undefined where the report ended before. */
  started: Promise<StartEvent | undefined>;
  finished: Promise<{ end?: EndEvent; error?: ErrorEvent }>;
}

/** Reads one JSON object a line. */
function read(stream: Readable, samples: SampleEvent[]): Report {
  let rest = '';
  let tellStart: (start: StartEvent | undefined) => void;
  const started = new Promise<StartEvent | undefined>((resolve) => (tellStart = resolve));
  const found: { end?: EndEvent; error?: ErrorEvent } = {};
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      const event = JSON.parse(line) as LauncherEvent;
      // At the very end there may be nothing left to look at.
      if (event.event === 'sample') samples.push(...(event.processes > 0 ? [event] : []));
      else if (event.event === 'start') tellStart(event);
      else if (event.event === 'end') found.end = event;
      else found.error = event;
    }
  });
  const finished = new Promise<typeof found>((resolve) => {
    const end = (): void => {
      tellStart(undefined);
      resolve(found);
    };
    stream.once('end', end).once('error', end).once('close', end);
  });
  return { started, finished };
}
