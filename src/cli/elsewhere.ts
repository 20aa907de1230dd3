import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { isatty } from 'node:tty';
import { parseArgs } from 'node:util';
import { parseBackend } from '../backend.js';
import { MallocBackendError } from '../errors.js';
import { leaveOut, whyNotSupported } from '../process/supported.js';
import { split } from './words.js';

/** The commands where there is no process surface: on another system than Linux. */

/** What `run` and `env` take; crates/cli has their help. */
const options = {
  preset: { type: 'string' },
  set: { type: 'string', multiple: true },
  children: { type: 'string' },
  format: { type: 'string' },
  'if-supported': { type: 'boolean', default: false },
} as const;

/** What says in a format of `env` that nothing is to be set, where that is more than nothing. */
const EMPTY: Readonly<Record<string, string>> = { json: '{}', compose: 'environment: {}', k8s: 'env: []' };

/** `run`, `env` and `doctor`. */
export function main([name, ...args]: string[]): void | Promise<void> {
  if (name === 'doctor') return doctor(args);
  const [own, program] = split(args, options);
  const { values, positionals } = parseArgs({ args: own, options, allowPositionals: true });
  parseBackend(positionals[0]);
  const asked = { by: '--if-supported', given: values['if-supported'] };
  leaveOut(asked, name === 'env' ? 'nothing is to be set' : 'the program runs without a switch');
  if (name === 'run') return become(program);
  const empty = EMPTY[values.format ?? 'shell'];
  if (empty !== undefined) console.log(empty);
}

/** There is no exec: the program is a child, which gets the signals that can be handed on, and ends this process as it ends. */
export async function become([command, ...args]: readonly string[]): Promise<void> {
  if (command === undefined || command === '') {
    throw new MallocBackendError('ERR_INVALID_ARGUMENT', 'no command was given');
  }
  let child: ChildProcess;
  // A terminal gives its signals to the child as well.
  const forwarded = (['SIGTERM', 'SIGINT', 'SIGHUP'] as const).map(
    (signal) => [signal, () => (isatty(0) && signal === 'SIGINT' ? undefined : child.kill(signal))] as const,
  );
  // First: a signal that ended this process would leave the child behind. (They run in the event loop: by then there is a child.)
  for (const [signal, handler] of forwarded) process.on(signal, handler);
  child = spawn(command, args, { stdio: 'inherit' });
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('exit', (...how) => resolve(how));
    child.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        new MallocBackendError(
          error.code === 'ENOENT' ? 'ERR_PROGRAM_NOT_FOUND' : 'ERR_EXEC_FAILED',
          `cannot start ${JSON.stringify(command)}: ${error.message}`,
          { cause: error },
        ),
      ),
    );
  });
  for (const [signal, handler] of forwarded) process.off(signal, handler);
  process.exitCode = code ?? 128 + constants.signals[signal!];
}

/** What there is to say: that nothing can be switched. It has the shape that the command has on Linux. */
function doctor(args: string[]): void {
  const { values } = parseArgs({
    args,
    options: {
      pid: { type: 'string' },
      expect: { type: 'string' },
      memory: { type: 'boolean' },
      json: { type: 'boolean' },
    },
  });
  const platform = `${process.platform}-${process.arch}`;
  const obstacles = [{ code: 'PLATFORM', message: whyNotSupported() }];
  console.log(
    values.json
      ? JSON.stringify({ platform, switchable: false, backends: [], obstacles }, null, 2)
      : `platform   ${platform}\n\nIn the way:\n  - ${whyNotSupported()}`,
  );
  process.exitCode = 1;
}
