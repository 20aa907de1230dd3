// Loads a service by a process of its own: the built-in HTTP load, or the user's command.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { MallocBackendError } from '../../errors.js';
import type { LoadMessage, LoadReport, LoadTask } from './messages.js';

/** Where a load runs. */
export interface LoadPlace {
  env: NodeJS.ProcessEnv;
  cwd: string | undefined;
  output: 'ignore' | 'inherit';
}

const QUOTED = 2000;

/** The bundled command, dist/cli/compare.cjs, is in another folder than this module. */
const file = (): string => {
  const beside = join(__dirname, 'process.js');
  return existsSync(beside) ? beside : join(__dirname, '../src/compare/load/process.js');
};

/**
 * Loads the service, to the end of the load or until the signal is aborted. Nothing of the load runs any more when this settles.
 *
 * @throws {@link MallocBackendError} `ERR_LOAD_FAILED`; the signal's reason
 */
export async function runLoad(task: LoadTask, place: LoadPlace, signal: AbortSignal): Promise<LoadReport> {
  signal.throwIfAborted();
  const { env, cwd, output } = place;
  const child = fork(file(), [], {
    cwd,
    env,
    execArgv: [],
    // Ctrl-C in a terminal is for the comparison, which ends this process.
    detached: true,
    stdio: ['ignore', output, output === 'ignore' ? 'pipe' : output, 'ipc'],
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-QUOTED)));
  let message: LoadMessage | undefined;
  child.once('message', (told: LoadMessage) => (message = told));
  const stop = (): void => {
    if (child.connected) child.disconnect();
  };
  signal.addEventListener('abort', stop);
  child.send(task, () => {});
  try {
    const [code, by] = (await once(child, 'exit')) as [number | null, string | null];
    signal.throwIfAborted();
    if (message?.type === 'done') return message.report;
    const why =
      message?.message ??
      `the process that makes the load ended (${by ?? `exit status ${code}`})${said === '' ? '' : `: ${said.trim()}`}`;
    throw loadFailed(task, why);
  } catch (cause) {
    if (signal.aborted || cause instanceof MallocBackendError) throw cause;
    throw loadFailed(task, `the process that makes the load cannot start: ${(cause as Error).message}`);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** The error for a load that fails as a whole. */
export function loadFailed(task: LoadTask, why: string): MallocBackendError {
  const name =
    task.kind === 'http' ? `the load by ${task.url}` : `the load command ${JSON.stringify(task.command)}`;
  return new MallocBackendError('ERR_LOAD_FAILED', `${name} failed: ${why}`);
}
