import { createRequire } from 'node:module';
import { constants, accessSync, existsSync, realpathSync, statSync } from 'node:fs';
import { basename, delimiter, isAbsolute, join, resolve } from 'node:path';
import { getSystemErrorMap } from 'node:util';
import { type NativeProgram, linuxBinding } from '../binding.js';
import { type MemoryAllocatorBackend, shimFile, tooSmallForSnmalloc } from '../backend.js';
import { MallocBackendError } from '../errors.js';

/** Where and as whom a command is to run. Default: as this process does. */
export interface Context {
  cwd?: string | undefined;
  env?: NodeJS.ProcessEnv | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
}

/** What to hand to `execve` for a command. */
export interface Launch {
  file: string;
  /** With `argv[0]`. */
  argv: string[];
}

/** How many interpreters may stand behind one another; the kernel allows five. */
const MAX_INTERPRETERS = 5;

/**
 * Finds the program of a command as a shell would, follows a script to its interpreter, and makes sure that the
 * backend's library, for `default` its probe, would be preloaded into what runs in the end.
 *
 * A script whose first line goes through `env` is launched as the program that `env` would find: so the switch is
 * that program's, not `env`'s.
 *
 * @throws {@link MallocBackendError} `ERR_PROGRAM_NOT_FOUND`, `ERR_PROGRAM_NOT_EXECUTABLE`, `ERR_CANNOT_SWITCH`
 */
export function prepareLaunch(
  backend: MemoryAllocatorBackend,
  command: string,
  args: readonly string[],
  context: Context = {},
): Launch {
  const file = findProgram(command, context);
  return follow(backend, { file, argv: [command, ...args] }, context, 0);
}

/** The working directory, by a name that leads there even where it was removed. */
const HERE = '/proc/self/cwd';

/** The absolute path of a file as seen from there. */
export function absolute(file: string, cwd: string | undefined): string {
  if (isAbsolute(file)) return file;
  if (cwd !== undefined) return resolve(cwd, file);
  try {
    return resolve(file);
  } catch {
    return resolve(HERE, file);
  }
}

function follow(backend: MemoryAllocatorBackend, launch: Launch, context: Context, depth: number): Launch {
  const { argv } = launch;
  const file = absolute(launch.file, context.cwd);
  const program = linuxBinding().inspectProgram(file, context.uid, context.gid);
  if (program.kind === 'elf') {
    requireSwitchable(backend, file, program);
    return launch;
  }
  if (program.kind === 'error') {
    // A program may be one that can be run and not read.
    const [code, message] = getSystemErrorMap().get(-(program.errno ?? 0)) ?? [`error ${program.errno}`, ''];
    const why = code === 'EACCES' ? 'it may not be read' : `${code} ${message}`.trimEnd();
    throw new MallocBackendError('ERR_CANNOT_SWITCH', `cannot look into ${file}: ${why}`);
  }
  if (program.kind === 'unknown' || program.interpreter === undefined) {
    throw new MallocBackendError(
      'ERR_PROGRAM_NOT_EXECUTABLE',
      `${file} is neither an ELF program nor a script with a #! line; start a script without one by its ` +
        `interpreter, for example: sh ${file}`,
    );
  }
  if (depth === MAX_INTERPRETERS) {
    throw new MallocBackendError(
      'ERR_PROGRAM_NOT_EXECUTABLE',
      `${file}: too many interpreters, one behind another`,
    );
  }
  const interpreter = existing(absolute(program.interpreter, context.cwd), `the interpreter of ${file}`);
  const rest = [launch.file, ...argv.slice(1)];
  if (basename(interpreter) === 'env') {
    const [name, ...words] = commandOfEnv(program.argument ?? '', file);
    const behind = findProgram(name, context, `the interpreter of ${file}`);
    return follow(backend, { file: behind, argv: [name, ...words, ...rest] }, context, depth + 1);
  }
  // What the kernel would start; it finds that by itself, unless `env` stands further behind.
  const argument = program.argument === undefined ? [] : [program.argument];
  const next = { file: interpreter, argv: [program.interpreter, ...argument, ...rest] };
  const last = follow(backend, next, context, depth + 1);
  return last === next ? launch : last;
}

/** The command in a first line `#!/usr/bin/env …`: `env` itself takes white space apart after `-S` only. */
function commandOfEnv(argument: string, script: string): [string, ...string[]] {
  const split = /^(?:-S|--split-string=?)\s*(.*)$/.exec(argument);
  const words = split === null ? [argument] : (split[1] ?? '').split(/\s+/).filter((word) => word !== '');
  const [name, ...rest] = words;
  // (Behind the command a word with a = is the command's.)
  if (name && !/^-|=/.test(name) && !/[\\'"$]/.test(words.join(' '))) return [name, ...rest];
  throw new MallocBackendError(
    'ERR_CANNOT_SWITCH',
    `cannot follow the first line of ${script}: of what env can do, a command and -S with plain words are ` +
      `understood; start the script by its interpreter`,
  );
}

/** The file that a command names: one with a slash is a path, any other is looked for in PATH. */
export function findProgram(
  command: string,
  { cwd, env = process.env }: Context = {},
  what = 'the command',
): string {
  if (typeof command !== 'string' || command === '' || command.includes('\0')) {
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      'a command is a string that is not empty and has no NUL in it',
    );
  }
  // A script sees the path by which it was called.
  if (command.includes('/')) {
    existing(absolute(command, cwd), what);
    return command;
  }
  let refused: MallocBackendError | undefined;
  for (const folder of (env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin').split(delimiter)) {
    const file = absolute(join(folder, command), cwd);
    if (!existsSync(file)) continue;
    try {
      return existing(file, what);
    } catch (error) {
      refused ??= error as MallocBackendError;
    }
  }
  throw (
    refused ??
    new MallocBackendError(
      'ERR_PROGRAM_NOT_FOUND',
      `${what}, ${JSON.stringify(command)}, is not found in PATH`,
    )
  );
}

function existing(file: string, what: string): string {
  let stat;
  try {
    stat = statSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES') throw notExecutable(`${what}, ${file}, lies in a folder that may not be searched`);
    throw new MallocBackendError('ERR_PROGRAM_NOT_FOUND', `${what}, ${file}, does not exist`);
  }
  if (!stat.isFile()) throw notExecutable(`${what}, ${file}, is not a file`);
  try {
    accessSync(file, constants.X_OK);
  } catch {
    throw notExecutable(`${what}, ${file}, may not be executed; chmod +x it or start it by its interpreter`);
  }
  return file;
}

function notExecutable(message: string): MallocBackendError {
  return new MallocBackendError('ERR_PROGRAM_NOT_EXECUTABLE', message);
}

const privileges = {
  setuid: 'it runs as another user (setuid)',
  setgid: 'it runs as another group (setgid)',
  capabilities: 'it has file capabilities',
  caller: "it would run with its caller's effective ids, which are not the real ones",
} as const;

function requireSwitchable(backend: MemoryAllocatorBackend, file: string, program: NativeProgram): void {
  const reason = whyNotSwitchable(backend, file, program);
  if (reason === undefined) return;
  // Nothing is switched for `default`; but its proof comes from a library too, and no other process's may stand for it.
  throw new MallocBackendError(
    'ERR_CANNOT_SWITCH',
    backend === 'default'
      ? `cannot prove that ${file} runs on libc's malloc: ${reason}; nothing is to be switched in it, so start it ` +
          'by itself, without malloc-backend'
      : `cannot run ${file} on ${backend}: ${reason}`,
  );
}

function whyNotSwitchable(
  backend: MemoryAllocatorBackend,
  file: string,
  program: NativeProgram,
): string | undefined {
  const host = linuxBinding().host();
  const { machine, interpreter } = host;
  if (program.machine !== machine || program.bits !== 64) {
    return `it is built for ${program.machine} (${program.bits} bits), and the library for ${machine} (64 bits)`;
  }
  if (program.interpreter === undefined) {
    return 'it is statically linked, so nothing can be preloaded into it';
  }
  if (program.privilege !== undefined) {
    return `${privileges[program.privilege]}, for which the dynamic loader ignores what is preloaded (ld.so(8))`;
  }
  // (The probe of `default` is loaded all the same, and names that malloc.)
  if (program.definesMalloc && backend !== 'default') {
    return 'it brings a malloc of its own, which comes before any that is preloaded; build it without';
  }
  const reserve = backend === 'snmalloc' ? tooSmallForSnmalloc(host) : undefined;
  if (reserve !== undefined) return reserve;
  return whyNotLoadable(backend, file, program.interpreter, interpreter);
}

/** A program with another dynamic loader than this process's has another C library: that one is asked. */
function whyNotLoadable(
  backend: MemoryAllocatorBackend,
  file: string,
  loader: string,
  ownLoader: string | undefined,
): string | undefined {
  // As nearly always: then nobody need follow links.
  if (loader === ownLoader) return undefined;
  const real = (path: string | undefined) =>
    path !== undefined && isAbsolute(path) && existsSync(path) ? realpathSync(path) : path;
  if (real(loader) === real(ownLoader)) return undefined;
  if (!existsSync(loader)) return `its dynamic loader, ${loader}, does not exist`;
  if (loader.includes('ld-musl') !== (ownLoader ?? '').includes('ld-musl')) {
    return `it uses the C library of ${loader}, and the preloadable library that of ${ownLoader}`;
  }
  // A module that only this rare case needs is not to cost every start.
  const { spawnSync } = createRequire(import.meta.url)(
    'node:child_process',
  ) as typeof import('node:child_process');
  const { stderr } = spawnSync(loader, ['--preload', shimFile(backend), '--list', file], {
    encoding: 'utf8',
  });
  const complaint = /cannot be preloaded \((.*)\)/.exec(stderr)?.[1];
  return complaint === undefined
    ? undefined
    : `its dynamic loader, ${loader}, refuses the library: ${complaint}`;
}
