import type { Readable } from 'node:stream';
import { MallocBackendError } from '../errors.js';
import { type Proof, type SwitchedChild, type SwitchedSpawnOptions, spawn } from './spawn.js';

/** The options of {@link spawn}. `stdio` defaults to `inherit`; what is a pipe is collected. */
export type RunOptions = SwitchedSpawnOptions;

/** How a program ended. */
export interface RunResult {
  /** The exit status; null after a signal. */
  code: number | null;
  /** The signal that ended the program; null after an exit. */
  signal: NodeJS.Signals | null;
  /** The standard output as UTF-8 text; empty unless it is a pipe. */
  stdout: string;
  /** The standard error, likewise. */
  stderr: string;
  /** The proof that the program ran on the backend. */
  proof: Proof;
}

/**
 * Runs a program on the backend and waits for its end:
 * `const { code, proof } = await run('node', ['server.js'], { backend: 'jemalloc' })`.
 *
 * Only this promise is rejected. A program that does not run on the backend is ended by SIGKILL.
 *
 * @returns The end of the program. An exit with another status than 0 rejects nothing.
 * @throws {@link MallocBackendError} (the promise rejects) as {@link spawn}, and `ERR_NOT_APPLIED`; `ERR_EXEC_FAILED`: the
 * system refused to start the program; `ERR_ABORTED`: `options.signal` ended the program.
 */
export function run(command: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = started(command, args, { ...options, stdio: options?.stdio ?? 'inherit' });
    let failure: MallocBackendError | undefined;
    const fail = (error: MallocBackendError): void => {
      failure ??= error;
      child.kill('SIGKILL');
    };
    child.on('error', (cause: NodeJS.ErrnoException) => fail(failed(command, cause)));
    const applied = child.applied.catch(fail);
    child.stdin?.end();
    const [stdout, stderr] = [collected(child.stdout), collected(child.stderr)];
    child.once('close', async (code: number | null, signal: NodeJS.Signals | null) => {
      const proof = await applied;
      if (failure !== undefined || proof === undefined) reject(failure);
      else resolve({ code, signal, stdout: stdout(), stderr: stderr(), proof });
    });
  });
}

/** Some of the system's refusals are events of the child, and others are thrown. */
function started(command: string, args: readonly string[], options: RunOptions): SwitchedChild {
  try {
    return spawn(command, args, options);
  } catch (error) {
    throw error instanceof MallocBackendError ? error : failed(command, error as Error);
  }
}

function failed(command: string, cause: NodeJS.ErrnoException): MallocBackendError {
  return cause.code === 'ABORT_ERR'
    ? new MallocBackendError('ERR_ABORTED', `${command} was ended, because options.signal was aborted`, {
        cause,
      })
    : new MallocBackendError('ERR_EXEC_FAILED', `cannot start ${command}: ${cause.message}`, { cause });
}

function collected(stream: Readable | null): () => string {
  let text = '';
  stream?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return () => text;
}
