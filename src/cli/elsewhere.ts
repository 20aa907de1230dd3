import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { isatty } from 'node:tty';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { parseBackend } from '../backend.js';
import { invalidArgument, MallocBackendError } from '../errors.js';
import { leaveOut, whyNotSupported } from '../process/supported.js';
import { fail } from './fail.js';

/** The command without the native program of crates/cli: on macOS and Windows, or if the platform package is missing. */

const help = (why: string) => `Choose the memory allocator of a program, with proof that it took effect

Not here: ${why}

Usage: malloc-backend <command> …

Commands:
  run <backend> --if-supported [--] <program> …         run the program without a switch
  python <backend> --if-supported [--] <arguments> …    run Python without a switch
  env <backend> --if-supported [--format <format>]      print that nothing is to be set
  doctor [--json]                                       say that nothing can be switched

Options:
  -v, --version  Print the version
  -h, --help     Print help

Examples:
  malloc-backend run mimalloc --if-supported -- node server.js`;

type Options = NonNullable<ParseArgsConfig['options']>;

const settings = {
  preset: { type: 'string' },
  set: { type: 'string', multiple: true },
  children: { type: 'string' },
  'if-supported': { type: 'boolean', default: false },
} as const;

/** The options of each command. For most options only the name matters. */
const options = {
  run: settings,
  env: { ...settings, format: { type: 'string', default: 'shell' } },
  python: {
    ...settings,
    'no-raw': { type: 'boolean' },
    mem: { type: 'boolean' },
    obj: { type: 'boolean' },
    arena: { type: 'boolean' },
    debug: { type: 'boolean' },
    python: { type: 'string', default: 'python3' },
    malloc: { type: 'string' },
    unset: { type: 'boolean' },
    report: { type: 'boolean' },
  },
} as const;

/** The text with which `env` sets nothing, for the formats that need a text. */
const EMPTY: Readonly<Record<string, string>> = { json: '{}', compose: 'environment: {}', k8s: 'env: []' };

/** `failure` is the error with which the native program did not start, on a platform that has one. */
export function main(words: string[], failure: unknown): void {
  command(words, failure).catch((error: unknown) => {
    // `eval "$(…)" && …` does not see this command's status, but only the status of the printed text.
    if (words[0] === 'env' && !/--format[ =](?!shell)[a-z]/.test(words.join(' '))) console.log('false');
    process.exitCode = fail(error);
  });
}

async function command([name, ...args]: string[], failure: unknown): Promise<void> {
  const why = failure instanceof Error ? failure.message : whyNotSupported();
  const first = args.slice(0, args.includes('--') ? args.indexOf('--') : undefined)[0];
  if ([name, first].some((word) => word !== undefined && ['--help', '-h', 'help'].includes(word)))
    return console.log(help(why));
  if (name !== undefined && ['--version', '-v', '-V'].includes(name)) return console.log(version());
  if (failure !== undefined) throw failure;
  if (name === 'doctor') return doctor(args);
  if (name === 'compare' || name === 'tune')
    throw new MallocBackendError('ERR_BACKEND_UNAVAILABLE', whyNotSupported('comparing allocators'));
  if (name === 'profile')
    throw new MallocBackendError('ERR_BACKEND_UNAVAILABLE', whyNotSupported('a heap profile'));
  if (name === 'run') {
    const { program } = read(args, options.run, 'the program runs without a switch');
    return become(program);
  }
  if (name === 'python') {
    const { values, program } = read(args, options.python, 'Python runs without a switch');
    return become([values.python as string, ...program]);
  }
  if (name !== 'env') {
    const problem = name === undefined ? 'the command is missing' : `unknown command ${name}`;
    throw invalidArgument(`${problem}\n\n${help(why)}`);
  }
  const { values } = read(args, options.env, 'nothing is to be set');
  const empty = EMPTY[values.format as string];
  if (empty !== undefined) console.log(empty);
}

function version(): string {
  const manifest = readFileSync(require.resolve('malloc-backend/package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/** Reads the command's own options and the program. Throws if they are wrong or `--if-supported` is missing. */
function read(args: string[], known: Options, consequence: string) {
  const [own, program] = split(args, known);
  const { values, positionals } = parseArgs({ args: own, options: known, allowPositionals: true });
  parseBackend(positionals[0]);
  leaveOut({ by: '--if-supported', given: values['if-supported'] === true }, consequence);
  return { values, program };
}

/** Splits the words. The program begins after `--`, or at the second word that is neither an option nor an option's value. */
function split(args: readonly string[], known: Options): [own: string[], program: string[]] {
  let backend = false;
  for (let at = 0; at < args.length; at++) {
    const word = args[at] ?? '';
    if (word === '--') return [args.slice(0, at), args.slice(at + 1)];
    if (word.startsWith('--')) {
      if (known[word.slice(2)]?.type === 'string') at += 1;
    } else if (backend) {
      return [args.slice(0, at), args.slice(at)];
    } else {
      backend = true;
    }
  }
  return [[...args], []];
}

/** Runs the program as a child, because these systems have no `exec`. Passes signals on, and ends as the program ends. */
async function become([command, ...args]: readonly string[]): Promise<void> {
  if (command === undefined || command === '') {
    throw invalidArgument('the program is missing');
  }
  let child: ChildProcess;
  // A terminal sends its signals to the child, too.
  const forwarded = (['SIGTERM', 'SIGINT', 'SIGHUP'] as const).map(
    (signal) => [signal, () => (isatty(0) && signal === 'SIGINT' ? undefined : child.kill(signal))] as const,
  );
  // Set up before the start of the child: a signal that ended only this process would leave the child running. (A handler
  // runs in the event loop, and by then the child exists.)
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

/** Prints that nothing can be switched, in the form that the command has on Linux. */
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
