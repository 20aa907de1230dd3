import * as childProcess from 'node:child_process';
import type {
  ChildProcess,
  ChildProcessByStdio,
  ChildProcessWithoutNullStreams,
  ForkOptions,
  SpawnOptions,
  SpawnOptionsWithStdioTuple,
  SpawnOptionsWithoutStdio,
  StdioNull,
  StdioPipe,
} from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { type MemoryAllocatorBackend, type ProcessBackend, shimFile } from '../backend.js';
import { invalidArgument, shown } from '../errors.js';
import { type OptionNames, namesOf, requireOptions } from '../options.js';
import { type BackendChoice, chosen } from './config.js';
import { descriptors, proofOf, reportTo, workingDirectory } from './channel.js';
import { type SwitchOptions, switchedEnvironment, variables } from './environment.js';
import { type Context, prepareLaunch } from './program.js';

/** The proof of a switch: the report of the library in the child, from before the child's `main`. */
export interface Proof {
  /** The child's process id. */
  pid: number;
  backend: ProcessBackend;
  /** The allocator's version. For `default`: the C library's name and version. musl tells no version, only the name is here. */
  version: string;
  /** The file of the preloaded library. For `default` this library is the probe. */
  library: string;
  /** The file whose `malloc` the child uses. */
  owner: string;
}

/** A child process that proves its backend. */
export interface SwitchedChild extends ChildProcess {
  /**
   * Resolves before the child's `main` if the child runs on the backend. Rejects with a {@link MallocBackendError}
   * `ERR_NOT_APPLIED` if the child runs on another allocator. It also rejects if the child sleeps for ten seconds, or uses
   * ten seconds of CPU time, before it reports.
   *
   * If you do not handle a rejection, the rejection ends this process, as every unhandled rejection does. So a failed switch
   * does not go unnoticed. In two cases you need no handler, because an event of the child reports the failure: the child
   * cannot start and you listen to `error`, or a signal ends the child before it reports.
   */
  readonly applied: Promise<Proof>;
}

/** A child process whose `stdio` decides the types of its streams. */
export type SwitchedChildByStdio<In, Out, Err> = SwitchedChild &
  ChildProcessByStdio<
    In extends StdioPipe ? Writable : null,
    Out extends StdioPipe ? Readable : null,
    Err extends StdioPipe ? Readable : null
  >;

/** The options of `child_process.spawn`, the backend, and the options of the switch. */
export type SwitchedSpawnOptions = SpawnOptions & SwitchOptions & BackendChoice;

/** The options of `child_process.fork`, the backend, and the options of the switch. */
export type SwitchedForkOptions = ForkOptions & SwitchOptions & BackendChoice;

/**
 * Starts a program on the backend, like `child_process.spawn`. With `shell`, the shell proves the switch, and the command
 * inherits it.
 *
 * If the program cannot be switched, or an option is wrong, the function throws and starts no process.
 *
 * @throws {@link MallocBackendError} The errors of {@link environment}, and `ERR_PROGRAM_NOT_FOUND`,
 * `ERR_PROGRAM_NOT_EXECUTABLE`, `ERR_CANNOT_SWITCH`.
 */
export function spawn(
  command: string,
  options: SwitchedSpawnOptions & SpawnOptionsWithoutStdio,
): SwitchedChild & ChildProcessWithoutNullStreams;
export function spawn<
  In extends StdioNull | StdioPipe,
  Out extends StdioNull | StdioPipe,
  Err extends StdioNull | StdioPipe,
>(
  command: string,
  options: SwitchedSpawnOptions & SpawnOptionsWithStdioTuple<In, Out, Err>,
): SwitchedChildByStdio<In, Out, Err>;
export function spawn(command: string, options: SwitchedSpawnOptions): SwitchedChild;
export function spawn(
  command: string,
  args: readonly string[] | null | undefined,
  options: SwitchedSpawnOptions & SpawnOptionsWithoutStdio,
): SwitchedChild & ChildProcessWithoutNullStreams;
export function spawn<
  In extends StdioNull | StdioPipe,
  Out extends StdioNull | StdioPipe,
  Err extends StdioNull | StdioPipe,
>(
  command: string,
  args: readonly string[] | null | undefined,
  options: SwitchedSpawnOptions & SpawnOptionsWithStdioTuple<In, Out, Err>,
): SwitchedChildByStdio<In, Out, Err>;
export function spawn(
  command: string,
  args: readonly string[] | null | undefined,
  options: SwitchedSpawnOptions,
): SwitchedChild;
export function spawn(
  command: string,
  argsOrOptions: readonly string[] | SwitchedSpawnOptions | null | undefined,
  maybeOptions?: SwitchedSpawnOptions,
): SwitchedChild {
  const [args, given] = argumentsAndOptions(argsOrOptions, maybeOptions);
  const { backend, children, rest, env, stdio } = prepare(given, SPAWN_OPTIONS);
  const context = contextOf(rest, env);
  if (rest.shell) {
    if (children === 'none') {
      throw invalidArgument(
        "with shell and children: 'none', only the shell would be switched, and not the command; omit one of them",
      );
    }
    prepareLaunch(backend, rest.shell === true ? '/bin/sh' : rest.shell, [], context);
    return prove(backend, stdio.length - 1, childProcess.spawn(command, args, { ...rest, env, stdio }));
  }
  const { file, argv } = prepareLaunch(backend, command, args, context);
  // Start the command as the caller named it, unless it is a script with `env` in its first line: then `env` itself would
  // be switched and would report, so the program is started without `env`.
  const [argv0 = command, ...others] = argv;
  const child =
    argv0 === command
      ? childProcess.spawn(command, args, { ...rest, env, stdio })
      : childProcess.spawn(file, others, { ...rest, argv0, env, stdio });
  return prove(backend, stdio.length - 1, child);
}

/**
 * Starts a Node module on the backend, like `child_process.fork`.
 *
 * @throws {@link MallocBackendError} The errors of {@link spawn}.
 */
export function fork(modulePath: string | URL, options: SwitchedForkOptions): SwitchedChild;
export function fork(
  modulePath: string | URL,
  args: readonly string[] | null | undefined,
  options: SwitchedForkOptions,
): SwitchedChild;
export function fork(
  modulePath: string | URL,
  argsOrOptions: readonly string[] | SwitchedForkOptions | null | undefined,
  maybeOptions?: SwitchedForkOptions,
): SwitchedChild {
  if (typeof modulePath !== 'string' && !(modulePath instanceof URL)) {
    throw invalidArgument(`the module must be a path or a URL, not ${shown(modulePath)}`);
  }
  const [args, given] = argumentsAndOptions(argsOrOptions, maybeOptions);
  const { backend, rest, env, stdio } = prepare(
    given,
    FORK_OPTIONS,
    given?.silent === true ? 'pipe' : 'inherit',
  );
  if (!stdio.includes('ipc')) stdio.splice(-1, 0, 'ipc');
  env[variables.report] = reportTo(stdio.length - 1);
  prepareLaunch(backend, rest.execPath ?? process.execPath, [], contextOf(rest, env));
  return prove(backend, stdio.length - 1, childProcess.fork(modulePath, args, { ...rest, env, stdio }));
}

/** The working directory, the environment and the user with which child_process starts the program. */
export function contextOf({ cwd, uid, gid }: SpawnOptions | ForkOptions, env: NodeJS.ProcessEnv): Context {
  return { ...workingDirectory(cwd), env, uid, gid };
}

/** Reads the parameters as child_process does: the arguments may be missing, null or undefined. */
function argumentsAndOptions<Options extends object>(
  second: readonly string[] | Options | null | undefined,
  third: Options | undefined,
): [args: readonly string[], options: Options | undefined] {
  if (Array.isArray(second)) return [second, third];
  if (second === undefined || second === null) return [[], third];
  if (typeof second === 'object') return [[], second as Options];
  throw invalidArgument(`the arguments must be an array of strings, not ${shown(second)}`);
}

function prepare<Options extends SwitchedSpawnOptions | SwitchedForkOptions>(
  given: Options | undefined,
  known: OptionNames,
  standard: 'pipe' | 'inherit' = 'pipe',
) {
  if (typeof given !== 'object' || given === null) {
    throw invalidArgument('options must be an object with a backend');
  }
  requireOptions(given, known);
  const {
    backend: _backend,
    config: _config,
    children: _children,
    preset: _preset,
    set: _set,
    ...rest
  } = given;
  const { backend, ...options } = chosen(given);
  const env = switchedEnvironment(backend, { ...options, env: given.env ?? process.env }, { probe: true });
  const stdio = descriptors(given.stdio === undefined ? standard : given.stdio);
  stdio.push('pipe');
  env[variables.report] = reportTo(stdio.length - 1);
  return { backend, children: options.children, rest, env, stdio };
}

/** The options of child_process and ours. Node ignores unknown options, so a misspelt preset would go unnoticed. */
export const SPAWN_OPTIONS = namesOf<SwitchedSpawnOptions>({
  argv0: true,
  backend: true,
  children: true,
  config: true,
  cwd: true,
  detached: true,
  env: true,
  gid: true,
  killSignal: true,
  preset: true,
  serialization: true,
  set: true,
  shell: true,
  signal: true,
  stdio: true,
  timeout: true,
  uid: true,
  windowsHide: true,
  windowsVerbatimArguments: true,
});

const FORK_OPTIONS: OptionNames = new Set([
  ...[...SPAWN_OPTIONS].filter((name) => name !== 'shell'),
  ...namesOf<Pick<ForkOptions, 'execArgv' | 'execPath' | 'silent'>>({
    execArgv: true,
    execPath: true,
    silent: true,
  }),
]);

/** Reads the report from the last descriptor, which is hidden from the caller. */
function prove(backend: MemoryAllocatorBackend, fd: number, child: ChildProcess): SwitchedChild {
  const library = shimFile(backend);
  const applied = proofOf<Proof>(child, fd, { backend, library }, ({ resolve, fail, miss }) => {
    let report = '';
    const end = () => {
      try {
        const { applied: isApplied, ...proof } = JSON.parse(report) as Proof & { applied: boolean };
        if (proof.pid !== child.pid) {
          fail(
            `the report is from process ${proof.pid}, which the program started; the loader ignored the library in the program itself`,
          );
        } else if (isApplied && proof.backend === backend) resolve(proof);
        else fail(`it uses the malloc of ${proof.owner}`);
      } catch {
        miss('the preloaded library did not report; the dynamic loader may have ignored it');
      }
    };
    return { data: (chunk) => (report += chunk), end };
  });
  return Object.assign(child, { applied });
}
