import type { MemoryAllocatorBackend } from '../backend.js';
import { invalidArgument } from '../errors.js';
import type { Launch, LaunchContext } from '../native/binding.js';
import { binaryFolder, linuxBinding } from '../native/loader.js';

export type { Launch } from '../native/binding.js';

/** The working directory, the environment and the user of a command. Defaults: those of this process. */
export interface Context {
  cwd?: string | undefined;
  env?: NodeJS.ProcessEnv | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
}

/**
 * Finds the program of a command as a shell would, and follows a script to its interpreter. Then checks that the loader
 * would preload the backend's library (for `default` the probe) into the program that runs in the end.
 *
 * If the first line of a script names `env`, the launch starts the program that `env` would find. So this program is
 * switched, and not `env`.
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

/** The absolute path of the file that a command names. A command with a slash is a path. Any other is searched in PATH. */
export function findProgram(command: string, context: Context = {}, what = 'the command'): string {
  requireText(command);
  return linuxBinding().findProgram(command, native(context), what);
}

/** Converts the arguments to strings as child_process does. A symbol throws. */
export function texts(args: readonly string[]): string[] {
  return Array.from(args, (word) => `${word}`);
}

export function requireText(command: unknown): void {
  if (typeof command === 'string') return;
  throw invalidArgument('the command must be a string that is not empty and contains no NUL');
}

/** The context for the addon. child_process itself refuses values of a wrong type. */
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
