import { type MemoryAllocatorBackend, parseBackend } from '../backend.js';
import { invalidArgument, shown } from '../errors.js';
import { binaryFolder, linuxBinding } from '../native/loader.js';
import {
  type SwitchOptions,
  changed,
  definedVariables,
  optionList,
  parseChildren,
  requireObject,
  warn,
} from '../process/environment.js';
import { parsePreset } from '../process/presets.js';
import { type Context, type Launch, native, requireText, texts } from '../process/program.js';
import type { PythonConfig } from './config.js';

/** Variables of the hook. `crates/backend/src/variables.rs` explains each. */
export const hookVariables = {
  report: 'MALLOC_BACKEND_PYTHON_REPORT',
  counters: 'MALLOC_BACKEND_PYTHON_COUNTERS',
} as const;

/**
 * Finds the program to start for a Python command.
 *
 * @throws {@link MallocBackendError} the errors of {@link prepareLaunch}; `ERR_CANNOT_SWITCH` also for a program that is
 * not Python. A script causes no error here, because it may be a launcher.
 */
export function preparePython(
  python: string,
  args: readonly string[],
  { malloc, ...context }: Context & { malloc?: MemoryAllocatorBackend | undefined } = {},
): Launch {
  requireText(python);
  return linuxBinding().preparePython(malloc, binaryFolder(), python, texts(args), native(context));
}

/**
 * Returns the environment in which Python has its domains on the backend. With `children: 'none'`, the hook restores the
 * previous environment in Python itself, for the programs that Python starts. It does not restore it in a launcher that
 * starts Python.
 */
export function hookedEnvironment(
  config: PythonConfig,
  args: readonly string[],
  options: SwitchOptions & { env: NodeJS.ProcessEnv; malloc?: MemoryAllocatorBackend; profile?: string },
): NodeJS.ProcessEnv {
  const linux = linuxBinding();
  const { malloc, preset, set = {}, profile, env } = options;
  requireObject('set', set);
  requireObject('env', env);
  if (profile !== undefined && (typeof profile !== 'string' || profile === '' || profile.includes('\0')))
    throw invalidArgument(`profile must be the name of a file, not ${shown(profile)}`);
  const launch = {
    malloc: malloc === undefined ? undefined : parseBackend(malloc),
    preset: preset === undefined ? undefined : parsePreset(preset),
    set: optionList(set),
    children: parseChildren(options.children),
    profile,
    folder: binaryFolder(),
  };
  const { encoded, unset } = config;
  const diff = linux.pythonEnvironment(encoded, unset, texts(args), launch, definedVariables(env));
  if (diff.notice) warn(diff.notice);
  return changed(env, diff);
}
