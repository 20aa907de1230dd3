import type { MemoryAllocatorBackend } from '../backend.js';
import { MallocBackendError } from '../errors.js';
import type { Launch, LaunchContext } from '../native/binding.js';
import { binaryFolder, linuxBinding } from '../native/loader.js';

export type { Launch } from '../native/binding.js';

/** Where and as whom a command is to run. Default: as this process does. */
export interface Context {
  cwd?: string | undefined;
  env?: NodeJS.ProcessEnv | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
}

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
  requireText(command);
  return linuxBinding().prepareLaunch(backend, binaryFolder(), command, texts(args), native(context));
}

/** The absolute path of the file that a command names: one with a slash is a path, any other is looked for in PATH. */
export function findProgram(command: string, context: Context = {}, what = 'the command'): string {
  requireText(command);
  return linuxBinding().findProgram(command, native(context), what);
}

/** What child_process takes for words; it throws where a symbol is to be one. */
export function texts(args: readonly string[]): string[] {
  return Array.from(args, (word) => `${word}`);
}

export function requireText(command: unknown): void {
  if (typeof command === 'string') return;
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    'the command must be a string that is not empty and contains no NUL',
  );
}

/** What is of another type than this, child_process itself judges. */
export function native({ cwd, env = process.env, uid, gid }: Context): LaunchContext {
  const { PATH: path, LD_LIBRARY_PATH: libraryPath } = env;
  return {
    cwd,
    path: path === undefined ? undefined : `${path}`,
    libraryPath: libraryPath === undefined ? undefined : `${libraryPath}`,
    uid: typeof uid === 'number' ? uid : undefined,
    gid: typeof gid === 'number' ? gid : undefined,
  };
}
