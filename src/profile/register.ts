/**
 * `node --import malloc-backend/profile app.js`: a heap profile from the first line of the program. The profile is written to a
 * file when the process ends, and when the process gets a signal.
 *
 * The module reads these variables:
 *
 * - `MALLOC_BACKEND_PROFILE_FILE`: the file. `%p` stands for the process id. Default: `heap-%p.pb.gz` in the folder in which
 *   the process was started.
 * - `MALLOC_BACKEND_PROFILE_INTERVAL`: the mean distance of two samples in bytes. Default: 524288 (512 KiB).
 * - `MALLOC_BACKEND_PROFILE_SIGNAL`: a signal, such as `SIGUSR2`. At this signal, the process writes the profile so far, to
 *   the same file. Default: none.
 *
 * With `MALLOC_BACKEND_PROFILE=socket`, the module starts no profile and writes no file. Instead, `malloc-backend profile --pid`
 * can take profiles of the process, as after `heapProfile.listen()`.
 *
 * Child processes with the same variables and options write files of their own if the name of the file has `%p`. The module does nothing in workers: the
 * profile of the process contains all threads. A process that a signal ends writes no file.
 */

import '../bundled.js';
import { renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { type MallocBackendError, invalidArgument, shown } from '../errors.js';
import { heapProfile, stopNow } from './heap-profile.js';

/** No process can handle these. */
const UNHANDLED: ReadonlySet<string> = new Set(['SIGKILL', 'SIGSTOP']);

/** Those of the file's, and the one that chooses. */
const OF_FILE = ['FILE', 'INTERVAL', 'SIGNAL'].map((each) => `MALLOC_BACKEND_PROFILE_${each}`);
const VARIABLES = ['MALLOC_BACKEND_PROFILE', ...OF_FILE];

if (isMainThread) register();

function register(): void {
  const { env } = process;
  for (const name of VARIABLES) if (env[name] === '') throw wrong(name, 'must not be empty; leave it out');
  const mode = env['MALLOC_BACKEND_PROFILE'];
  if (mode === 'socket') return listen();
  if (mode !== undefined)
    throw wrong('MALLOC_BACKEND_PROFILE', `must be "socket", or missing for a file, not ${shown(mode)}`);
  const name = env['MALLOC_BACKEND_PROFILE_FILE'] ?? 'heap-%p.pb.gz';
  // The program may change the folder.
  const file = resolve(name.replaceAll('%p', String(process.pid)));
  const interval = env['MALLOC_BACKEND_PROFILE_INTERVAL'];
  const signal = env['MALLOC_BACKEND_PROFILE_SIGNAL'];
  if (interval !== undefined && !/^\d+$/.test(interval)) {
    throw wrong('MALLOC_BACKEND_PROFILE_INTERVAL', `must be a number of bytes, not ${shown(interval)}`);
  }
  if (signal !== undefined && (!Object.hasOwn(constants.signals, signal) || UNHANDLED.has(signal))) {
    throw wrong(
      'MALLOC_BACKEND_PROFILE_SIGNAL',
      `must be the name of a signal that a process can handle, not ${shown(signal)}`,
    );
  }
  heapProfile.start(interval === undefined ? {} : { interval: Number(interval) });
  if (signal !== undefined) {
    process.on(signal as NodeJS.Signals, () => {
      heapProfile.snapshot().then((profile) => write(file, () => profile), tell);
    });
  }
  process.on('exit', () => {
    // The program may have stopped the profile.
    if (heapProfile.state().running) write(file, stopNow);
  });
}

function listen(): void {
  for (const name of OF_FILE) {
    if (process.env[name] !== undefined)
      throw wrong(name, 'has no effect with MALLOC_BACKEND_PROFILE=socket; leave one of them out');
  }
  // If this fails, the process ends with the error: it was told to listen.
  void heapProfile.listen();
}

/** Writes a complete file or none. */
function write(file: string, profile: () => Uint8Array): void {
  const unfinished = `${file}.new`;
  try {
    writeFileSync(unfinished, profile());
    renameSync(unfinished, file);
  } catch (error) {
    tell(error);
    try {
      unlinkSync(unfinished);
    } catch {
      // It was not made.
    }
  }
}

/** A failure must not change how the program ends. */
function tell(error: unknown): void {
  console.error(`malloc-backend: cannot write the heap profile: ${(error as Error).message}`);
}

function wrong(variable: string, problem: string): MallocBackendError {
  return invalidArgument(`${variable} ${problem}`);
}
