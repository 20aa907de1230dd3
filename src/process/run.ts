import type { Readable } from 'node:stream';
import { MallocBackendError } from '../errors.js';
import { type Proof, type SwitchedChild, type SwitchedSpawnOptions, spawn } from './spawn.js';

/** The options of {@link spawn}. The default of `stdio` is `inherit`. The output of each pipe is collected. */
export type RunOptions = SwitchedSpawnOptions;

/** How a program ended. */
export interface RunResult {
  /** The exit status. Null if a signal ended the program. */
  code: number | null;
  /** The signal that ended the program. Null if the program exited. */
  signal: NodeJS.Signals | null;
  /** The standard output as UTF-8 text. Empty if the standard output is not a pipe. */
  stdout: string;
  /** The standard error as UTF-8 text. Empty if the standard error is not a pipe. */
  stderr: string;
  /** The proof that the program ran on the backend. */
  proof: Proof;
}

/**
 * Runs a program on the backend and waits for its end:
 * `const { code, proof } = await run('node', ['server.js'], { backend: 'jemalloc' })`.
 *
 * If the program does not run on the backend, the function ends it with SIGKILL, and the promise rejects. No other promise
 * rejects.
 *
 * @returns How the program ended. The promise resolves even if the exit status is not 0.
 * @throws {@link MallocBackendError} The promise rejects with the errors of {@link spawn}, with `ERR_NOT_APPLIED`, with
 * `ERR_EXEC_FAILED` (the system refused to start the program), or with `ERR_ABORTED` (`options.signal` ended the program).
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

/** Starts the program. If the system refuses, Node either throws here or emits `error` later. */
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
