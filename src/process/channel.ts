import type { ChildProcess, StdioOptions } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Readable } from 'node:stream';
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

/** Where the child is to start. */
export function workingDirectory(cwd: string | URL | undefined): { cwd?: string } {
  return cwd === undefined ? {} : { cwd: cwd instanceof URL ? fileURLToPath(cwd) : cwd };
}

/** Who hears what comes through a channel. */
export interface Listener {
  data(chunk: string): void;
  /** Nothing more will come. */
  end(): void;
  /** Nothing will come: the child could not be started. */
  fail(why: string): void;
}

/** Listens to a descriptor of the child that was opened for it, which the caller does not get to see, nor any behind. */
export function listen(child: ChildProcess, fd: number, listener: Listener): void {
  // Once there is an end, an error without a listener is again what it is for any child.
  const onError = (error: Error) => listener.fail(error.message);
  child.once('error', onError);
  // Out of descriptors, Node gives a child that has no streams at all, and says why on the next tick.
  const streams = (child.stdio ?? []) as unknown as (Readable | null)[];
  const channel = streams[fd] ?? null;
  if (channel === null) {
    setImmediate(() => listener.fail('it could not be started'));
    return;
  }
  streams.length = fd;
  channel.setEncoding('utf8');
  // Read to its end, also when all is said: who writes is not to wait.
  channel.on('data', (chunk: string) => listener.data(chunk));
  channel.once('error', onError);
  channel.once('close', () => {
    child.off('error', onError);
    listener.end();
  });
  // What a child has inherited keeps the channel open after its end. Its own report, sent before, is read in the next
  // turn of the event loop.
  child.once('exit', () => setImmediate(() => setImmediate(() => channel.destroy())));
}
