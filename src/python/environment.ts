import { type MemoryAllocatorBackend, hookFile, whyNotPreloadable, whyNotPython } from '../backend.js';
import { linuxBinding } from '../native/loader.js';
import { MallocBackendError } from '../errors.js';
import {
  type SwitchOptions,
  parseChildren,
  settings,
  switchedEnvironment,
  variables,
  withOptions,
} from '../process/environment.js';
import { type Context, type Launch, findProgram, prepareLaunch } from '../process/program.js';
import { type PythonConfig, encodePythonConfig, refuseDevMode, withoutOverride } from './config.js';

/** The variables of `crates/python-hook/src/lib.rs`, where each is explained. */
export const hookVariables = {
  config: 'MALLOC_BACKEND_PYTHON',
  report: 'MALLOC_BACKEND_PYTHON_REPORT',
  counters: 'MALLOC_BACKEND_PYTHON_COUNTERS',
  children: 'MALLOC_BACKEND_PYTHON_CHILDREN',
} as const;

/**
 * What to start for a Python command.
 *
 * @throws {@link MallocBackendError} as {@link prepareLaunch}; `ERR_CANNOT_SWITCH` also for a program that is no Python.
 * Of a script only Python itself can tell in the end: it may be a launcher.
 */
export function preparePython(
  python: string,
  args: readonly string[],
  { malloc, ...context }: Context & { malloc?: MemoryAllocatorBackend | undefined } = {},
): Launch {
  // For domains alone any that is preloaded will do: the same is asked of a program.
  const launch = prepareLaunch(malloc ?? 'mimalloc', python, args, context);
  // The command itself, and not what `env` finds for a script's first line: that is the launcher's shell.
  const file = findProgram(python, context);
  const { kind, isPython } = linuxBinding().inspectProgram(file);
  if (kind !== 'elf' || isPython) return launch;
  throw new MallocBackendError(
    'ERR_CANNOT_SWITCH',
    `${file} is not Python, or does not export its interface: it neither defines PyMem_SetAllocator nor needs ` +
      'a libpython',
  );
}

/**
 * The environment under which Python has its domains on the backend. The hook restores what was before, in Python
 * itself and not in a launcher in front of it, for the programs that Python starts.
 */
export function hookedEnvironment(
  config: PythonConfig,
  args: readonly string[],
  options: SwitchOptions & { env: NodeJS.ProcessEnv; malloc?: MemoryAllocatorBackend },
  told: { tell?: (notice: string) => void } = {},
): NodeJS.ProcessEnv {
  linuxBinding();
  refuseDevMode(args, config);
  const { malloc, preset = 'none', set = {}, children: whose = 'none' } = options;
  const children = parseChildren(whose);
  const missing = whyNotPython();
  if (missing !== undefined) {
    throw new MallocBackendError('ERR_SHIM_MISSING', `${missing}; install the platform package again`);
  }
  const unnameable = whyNotPreloadable(hookFile());
  if (unnameable !== undefined) throw new MallocBackendError('ERR_SHIM_MISSING', unnameable);
  const given = withoutOverride(options.env, config);
  const env =
    malloc === undefined
      ? withOptions(config.backend, preset, set, given)
      : switchedEnvironment(
          malloc,
          { ...options, env: given, children: 'inherit' },
          { probe: false, ...told },
        );
  env[variables.preload] = [env[variables.preload], hookFile()].filter(Boolean).join(':');
  env[hookVariables.config] = encodePythonConfig(config);
  // What came along for this child alone is taken away again by the hook.
  const restored = settings.some((name) => env[name] !== given[name]) ? ['restore'] : [];
  const left = [...restored, ...(malloc === undefined ? [] : ['unswitch'])];
  env[hookVariables.children] = children === 'inherit' ? 'inherit' : left.join(',');
  return env;
}
