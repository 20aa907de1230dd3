import type { ChildProcess, StdioOptions } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { MemoryAllocatorBackend } from '../backend.js';
import { MallocBackendError, shown } from '../errors.js';

/** A child's descriptors, one by one. */
export type Stdio = Exclude<StdioOptions, string>[number][];

/**
 * What the caller wants for them, and always the first three: they have defaults of their own, which another entry behind
 * them must not shift.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`
 */
export function descriptors(wanted: StdioOptions): Stdio {
  if (typeof wanted !== 'string' && !Array.isArray(wanted)) {
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      `stdio must be a string such as 'pipe', or an array of what child_process takes, not ${shown(wanted)}`,
    );
  }
  const stdio: Stdio = typeof wanted === 'string' ? [wanted, wanted, wanted] : [...wanted];
  while (stdio.length < 3) stdio.push('pipe');
  return stdio;
}

/**
 * What tells the library which descriptor it is to report to, and how it knows that one again
 * (crates/preload/src/descriptor.rs): Node's pipes are pairs of sockets, which it makes in this process.
 */
export function reportTo(fd: number): string {
  return `${fd}:${process.pid}`;
}

/**
 * Where the child is to start.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT` where there is no such folder
 */
export function workingDirectory(cwd: string | URL | null | undefined): { cwd?: string } {
  // Node takes these for none as well.
  if (cwd === undefined || cwd === null || cwd === '') return {};
  const folder = cwd instanceof URL ? fileURLToPath(cwd) : cwd;
  if (typeof folder === 'string' && isFolder(folder)) return { cwd: folder };
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `cwd must be an existing folder that this process can read, not ${shown(folder)}`,
  );
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** What becomes of a proof. The first call counts. */
export interface Verdict<Proof> {
  resolve(proof: Proof): void;
  fail(why: string): void;
  /** Nothing came, for that reason unless a signal ended the child. */
  miss(why: string): void;
}

/** Who hears what comes through a channel. */
export interface Listener {
  data(chunk: string): void;
  /** Nothing more will come. */
  end(): void;
  /** Nothing will come: the child could not be started. */
  lost?(): void;
}

/**
 * The proof that comes through a descriptor of the child that was opened for it, which the caller does not get to see,
 * nor any behind.
 *
 * It is rejected with `ERR_NOT_APPLIED`. Nobody needs to handle that where the child tells as much by itself: it could not
 * start and someone listens for its errors, or a signal ended it before it could report.
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
      // What was said already is heard first: it may have waited for the event loop, while the program became another.
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
    // Out of descriptors, Node gives a child that has no streams at all, and says why on the next tick.
    const streams = (child.stdio ?? []) as unknown as (Readable | null)[];
    const channel = streams[fd] ?? null;
    if (channel === null) {
      setImmediate(() => lose('the system could not start it'));
      return;
    }
    streams.length = fd;
    const end = (): void => {
      // From here on an error without a listener is again what it is for any child.
      child.off('error', onError);
      listener.end();
    };
    channel.setEncoding('utf8');
    // Read to its end, also when all is said: who writes is not to wait.
    channel.on('data', (chunk: string) => {
      isSilent = false;
      clearInterval(watch);
      listener.data(chunk);
    });
    channel.once('error', onError);
    channel.once('close', () => {
      const isRunning = child.exitCode === null && child.signalCode === null;
      // It has ended, and is to say how in a moment.
      if (isRunning && mapsOf(child) === '') child.once('exit', end);
      else end();
    });
    // What a child has inherited keeps the channel open after its end. Its own report, sent before, is read in the next
    // turn of the event loop.
    child.once('exit', () => setImmediate(() => setImmediate(() => channel.destroy())));
  });
  return proof;
}

/** How often is looked for a library that will never report. */
const WATCH_MS = 1000;

/** How often a child may be seen at the same point, or how many seconds of CPU time it may take, before it reports. */
const PATIENCE = 10;

/**
 * Tells why a child will not report, once it has had its time: it sleeps on, or works on. One that waits for a processor, or
 * for a debugger, has not had it.
 */
function watchProgress(child: ChildProcess): () => string | undefined {
  let before = '';
  let asleep = 0;
  return () => {
    const { state = '', ticks = 0 } = statOf(child);
    const now = `${state} ${ticks}`;
    asleep = state === 'S' && now === before ? asleep + 1 : 0;
    before = now;
    // (Linux counts 100 ticks a second for programs: sysconf(3), _SC_CLK_TCK.)
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

/** What it does, and for how long it has (proc_pid_stat(5)). */
function statOf(child: ChildProcess): { state?: string; ticks?: number } {
  const stat = proc(child, 'stat');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.length < 13 ? {} : { state: fields[0]!, ticks: Number(fields[11]) + Number(fields[12]) };
}

/** A file about a process, or nothing. */
function proc({ pid }: ChildProcess, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}

const IGNORED =
  "the dynamic loader ignored the library; check that the child's user can read the library and all folders above it";

/** Empty for a process that has ended; undefined for one that may not be looked into, whether it runs or not. */
function mapsOf({ pid }: ChildProcess): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/maps`, 'latin1');
  } catch (error) {
    return ['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '') ? '' : undefined;
  }
}

/** Whether glibc's loader is past what is preloaded, which it maps before what the program needs, without the library. */
function isIgnored(maps: string | undefined, library: string): boolean {
  if (maps === undefined) return false;
  // (Of one whose code may not be executed there is a mapping, too.)
  const isLoaded = maps
    .split('\n')
    .some((line) => line.includes(' r-xp ') && line.includes(`/${basename(library)}`));
  return /\/libc(?:\.so\.6|-2\.\d+\.so)$/m.test(maps) && !isLoaded;
}
