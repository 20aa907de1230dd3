import type { ChildProcess, StdioOptions } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { MemoryAllocatorBackend } from '../backend.js';
import { invalidArgument, MallocBackendError, shown } from '../errors.js';

/** `stdio` as an array: one entry for each descriptor of the child. */
export type Stdio = Exclude<StdioOptions, string>[number][];

/**
 * The caller's `stdio` as an array of at least three entries. The first three have defaults of their own, and a further
 * entry must not take their place.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`
 */
export function descriptors(wanted: StdioOptions): Stdio {
  if (typeof wanted !== 'string' && !Array.isArray(wanted)) {
    throw invalidArgument(
      `stdio must be a string such as 'pipe', or an array of what child_process takes, not ${shown(wanted)}`,
    );
  }
  const stdio: Stdio = typeof wanted === 'string' ? [wanted, wanted, wanted] : [...wanted];
  while (stdio.length < 3) stdio.push('pipe');
  return stdio;
}

/**
 * The value that names the descriptor for the library's report. The process id lets the library recognise the descriptor
 * (crates/preload/src/descriptor.rs): Node's pipes are pairs of sockets, which this process makes.
 */
export function reportTo(fd: number): string {
  return `${fd}:${process.pid}`;
}

/**
 * The child's working directory.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT` if the folder does not exist
 */
export function workingDirectory(cwd: string | URL | null | undefined): { cwd?: string } {
  // Node also treats these values as no working directory.
  if (cwd === undefined || cwd === null || cwd === '') return {};
  const folder = cwd instanceof URL ? fileURLToPath(cwd) : cwd;
  if (typeof folder === 'string' && isFolder(folder)) return { cwd: folder };
  throw invalidArgument(`cwd must be an existing folder that this process can read, not ${shown(folder)}`);
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** Settles a proof. Only the first call counts. */
export interface Verdict<Proof> {
  resolve(proof: Proof): void;
  fail(why: string): void;
  /** No report came. `why` is the reason, unless a signal ended the child. */
  miss(why: string): void;
}

/** Gets the text that comes through the channel. */
export interface Listener {
  data(chunk: string): void;
  /** The channel has ended. */
  end(): void;
  /** The child could not be started, so nothing will come. */
  lost?(): void;
}

/**
 * Reads the proof from the descriptor `fd` of the child. This descriptor and all later ones are hidden from the caller.
 *
 * The proof rejects with `ERR_NOT_APPLIED`. The rejection needs no handler if an event of the child reports the failure: the
 * child could not start and somebody listens to `error`, or a signal ended the child before the report.
 */
export function proofOf<Proof>(
  child: ChildProcess,
  fd: number,
  { backend, library }: { backend: MemoryAllocatorBackend; library: string },
  listenerOf: (verdict: Verdict<Proof>) => Listener,
): Promise<Proof> {
  let isTold = () => false;
  const proof = new Promise<Proof>((resolve, reject) => {
    const isStuck = watchProgress(child);
    const watch = setInterval(() => {
      const why = isIgnored(mapsOf(child), library) ? IGNORED : isStuck();
      // First read a report that already waits for the event loop: the program may have replaced itself meanwhile.
      if (why !== undefined) setImmediate(() => isSilent && fail(why));
    }, WATCH_MS).unref();
    let isSilent = true;
    const fail = (why: string): void => {
      clearInterval(watch);
      if (isTold()) proof.catch(() => {});
      reject(
        new MallocBackendError('ERR_NOT_APPLIED', `${child.spawnfile} does not run on ${backend}: ${why}`),
      );
    };
    const listener = listenerOf({
      resolve: (applied) => {
        clearInterval(watch);
        resolve(applied);
      },
      fail,
      miss: (why) => {
        const signal = child.signalCode;
        isTold = () => signal !== null;
        fail(signal === null ? why : `${signal} ended it before the library reported`);
      },
    });
    const lose = (why: string): void => {
      listener.lost?.();
      fail(why);
    };
    const onError = (error: Error): void => {
      isTold = () => child.listenerCount('error') > 0;
      lose(error.message);
    };
    child.once('error', onError);
    // If no descriptor is left, Node returns a child without streams, and emits the reason on the next tick.
    const streams = (child.stdio ?? []) as unknown as (Readable | null)[];
    const channel = streams[fd] ?? null;
    if (channel === null) {
      setImmediate(() => lose('the system could not start it'));
      return;
    }
    streams.length = fd;
    const end = (): void => {
      // From now on, an `error` without a listener ends the process, as for any child.
      child.off('error', onError);
      listener.end();
    };
    channel.setEncoding('utf8');
    // Read to the end even after the report, because a full pipe would block the writer.
    channel.on('data', (chunk: string) => {
      isSilent = false;
      clearInterval(watch);
      listener.data(chunk);
    });
    channel.once('error', onError);
    channel.once('close', () => {
      const isRunning = child.exitCode === null && child.signalCode === null;
      // The child has ended, and Node emits `exit` in a moment.
      if (isRunning && mapsOf(child) === '') child.once('exit', end);
      else end();
    });
    // A grandchild may have inherited the channel and keep it open after the child's end. The child's own report came before
    // its end, so the next turn of the event loop reads it.
    child.once('exit', () => setImmediate(() => setImmediate(() => channel.destroy())));
  });
  return proof;
}

/** The interval of the checks for a library that will never report. */
const WATCH_MS = 1000;

/** In how many checks the child may sleep at the same point, or how many seconds of CPU time it may use, without a report. */
const PATIENCE = 10;

/**
 * Returns a function that tells why the child will not report, as soon as the child has slept or worked for too long. A
 * child that waits for a processor or is stopped by a debugger may wait on.
 */
function watchProgress(child: ChildProcess): () => string | undefined {
  let before = '';
  let asleep = 0;
  return () => {
    const { state = '', ticks = 0 } = statOf(child);
    const now = `${state} ${ticks}`;
    asleep = state === 'S' && now === before ? asleep + 1 : 0;
    before = now;
    // Linux counts 100 ticks a second for programs (sysconf(3), _SC_CLK_TCK).
    const what =
      asleep >= PATIENCE
        ? `the program has slept in ${proc(child, 'wchan') || 'the kernel'} for ${asleep} s`
        : ticks >= PATIENCE * 100
          ? `the program has used ${Math.floor(ticks / 100)} s of CPU time`
          : undefined;
    if (what === undefined) return undefined;
    const others = /(?:^|\0)LD_PRELOAD=([^\0]*)/.exec(proc(child, 'environ'))?.[1] ?? '';
    return (
      `the library has not reported, and ${what} before its main; two preloaded libraries may wait for each other ` +
      `(LD_PRELOAD is ${JSON.stringify(others)}), so try without the other libraries`
    );
  };
}

/** The child's state and its CPU time in ticks (proc_pid_stat(5)). */
function statOf(child: ChildProcess): { state?: string; ticks?: number } {
  const stat = proc(child, 'stat');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.length < 13 ? {} : { state: fields[0]!, ticks: Number(fields[11]) + Number(fields[12]) };
}

/** The text of a file in /proc about the child. Empty if it cannot be read. */
function proc({ pid }: ChildProcess, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}

const IGNORED =
  "the dynamic loader ignored the library; check that the child's user can read the library and all folders above it";

/** The maps of the child. Empty if the child has ended. Undefined if they cannot be read; then the child may run or not. */
function mapsOf({ pid }: ChildProcess): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/maps`, 'latin1');
  } catch (error) {
    return ['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '') ? '' : undefined;
  }
}

/** Whether glibc's loader has ignored the library: it maps preloaded libraries before libc, and only libc is mapped. */
function isIgnored(maps: string | undefined, library: string): boolean {
  if (maps === undefined) return false;
  // A library on a `noexec` file system has a mapping too, but no executable one.
  const isLoaded = maps
    .split('\n')
    .some((line) => line.includes(' r-xp ') && line.includes(`/${basename(library)}`));
  return /\/libc(?:\.so\.6|-2\.\d+\.so)$/m.test(maps) && !isLoaded;
}
