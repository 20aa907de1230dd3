// The shell commands around the runs: --setup, --prepare, --cleanup.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { MallocBackendError } from '../errors.js';
import { aborted } from './batch.js';

export interface Surroundings {
  env: NodeJS.ProcessEnv;
  cwd: string | undefined;
  output: 'ignore' | 'inherit';
}

const QUOTED = 2000;

/**
 * Runs a shell command to its end.
 *
 * @param name - The option that it comes from, for the message.
 *
 * @throws {@link MallocBackendError} `ERR_COMMAND_FAILED`, `ERR_ABORTED`
 */
export async function shell(
  name: string,
  command: string,
  { env, cwd, output }: Surroundings,
  signal?: AbortSignal,
): Promise<void> {
  if (signal?.aborted) throw aborted();
  const child = spawn('/bin/sh', ['-c', command], {
    cwd,
    env,
    // A group of its own, so that an abort ends what the shell has started.
    detached: true,
    stdio: ['ignore', output, output === 'ignore' ? 'pipe' : output],
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-QUOTED)));
  const stop = (): void => endGroup(child);
  signal?.addEventListener('abort', stop);
  try {
    // Not 'close': a service that the command leaves in the background may keep the pipe.
    const [code, by] = (await once(child, 'exit')) as [number | null, string | null];
    if (signal?.aborted) throw aborted();
    if (code === 0) return;
    // What it said last may still be in the pipe.
    await new Promise((resolve) => setImmediate(resolve));
    const how = by === null ? `exit status ${code}` : `ended by ${by}`;
    const rest = said.trim() === '' ? '' : `. The end of its standard error:\n${said.trim()}`;
    throw new MallocBackendError(
      'ERR_COMMAND_FAILED',
      `the command of ${name}, ${JSON.stringify(command)}, failed: ${how}${rest}`,
    );
  } finally {
    signal?.removeEventListener('abort', stop);
    child.stderr?.destroy();
  }
}

function endGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGTERM');
  } catch {
    // The group is gone.
  }
}
