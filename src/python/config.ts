import { type MemoryAllocatorBackend, parseBackend, whyNotAvailable } from '../backend.js';
import { MallocBackendError, shown } from '../errors.js';
import type { PythonDomain } from '../native/binding.js';
import { linuxBinding } from '../native/loader.js';
import { changed, definedVariables } from '../process/environment.js';

export type { PythonDomain } from '../native/binding.js';

/**
 * Which allocator serves which of CPython's domains. Names and defaults are those of PyOxidizer's
 * `PythonInterpreterConfig`.
 */
export interface PythonAllocatorConfig {
  /** What serves the domains that are on. Default: `default`, which leaves all of them to Python. */
  allocatorBackend?: MemoryAllocatorBackend;
  /** The `raw` domain: `PyMem_RawMalloc`, and what pymalloc hands on (over 512 bytes). Default: true. */
  allocatorRaw?: boolean;
  /** The `mem` domain: `PyMem_Malloc`. Default: false. */
  allocatorMem?: boolean;
  /** The `obj` domain: `PyObject_Malloc`. Default: false. */
  allocatorObj?: boolean;
  /** The arenas of pymalloc, which `mem` and `obj` turn off. Default: false. */
  allocatorPymallocArena?: boolean;
  /** Python's debug hooks on top (`PyMem_SetupDebugHooks`), with or without a backend. Default: false. */
  allocatorDebug?: boolean;
  /** Whether calls and bytes are counted. It costs every call something. Default: false. */
  counters?: boolean;
  /** Whether an inherited `PYTHONMALLOC` or `PYTHONDEVMODE` is taken away rather than refused. Default: false. */
  unsetPythonMalloc?: boolean;
}

/** The names of them all, for those who have others beside them. */
export const ALLOCATOR_CONFIG: Record<keyof PythonAllocatorConfig, true> = {
  allocatorBackend: true,
  allocatorRaw: true,
  allocatorMem: true,
  allocatorObj: true,
  allocatorPymallocArena: true,
  allocatorDebug: true,
  counters: true,
  unsetPythonMalloc: true,
};

export const DOMAINS: readonly PythonDomain[] = ['raw', 'mem', 'obj', 'arena'];

/** The same, complete, and checked by crates/launch. */
export interface PythonConfig {
  backend: MemoryAllocatorBackend;
  domains: Record<PythonDomain, boolean>;
  counters: boolean;
  unset: boolean;
  /** As the hook reads it. */
  encoded: string;
}

/**
 * Makes sure that the configuration is one, and means something.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`, `ERR_UNKNOWN_BACKEND`, `ERR_PYTHON_CONFIG`,
 * `ERR_BACKEND_UNAVAILABLE`
 */
export function parsePythonConfig(config: PythonAllocatorConfig): PythonConfig {
  if (typeof config !== 'object' || config === null) {
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      `the options must be an object, not ${shown(config)}`,
    );
  }
  // What `spawn` calls it. Among what is handed on to child_process nobody else would find it.
  if ('backend' in config) {
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      'there is no option "backend" for Python, and it would do nothing; use allocatorBackend for its domains, and in ' +
        'spawnPython malloc for the whole process',
    );
  }
  const flag = (name: keyof PythonAllocatorConfig, standard = false): boolean => {
    const value: unknown = config[name] ?? standard;
    if (typeof value === 'boolean') return value;
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      `${name} must be true or false, not ${shown(value)}`,
    );
  };
  const backend = parseBackend(config.allocatorBackend ?? 'default');
  const domains = {
    raw: flag('allocatorRaw', true),
    mem: flag('allocatorMem'),
    obj: flag('allocatorObj'),
    arena: flag('allocatorPymallocArena'),
  };
  const [debug, counters] = [flag('allocatorDebug'), flag('counters')];
  const encoded = linuxBinding().encodePythonConfig({ backend, ...domains, debug, counters });
  const missing = whyNotAvailable(backend);
  if (missing !== undefined) {
    throw new MallocBackendError('ERR_BACKEND_UNAVAILABLE', `cannot run Python on ${backend}: ${missing}`);
  }
  return { backend, domains, counters, unset: flag('unsetPythonMalloc'), encoded };
}

/**
 * The environment without what would discard the choice.
 *
 * @throws {@link MallocBackendError} `ERR_PYTHON_ENVIRONMENT`, unless it may be unset
 */
export function withoutOverride(env: NodeJS.ProcessEnv, { encoded, unset }: PythonConfig): NodeJS.ProcessEnv {
  return changed(env, linuxBinding().withoutPythonOverride(encoded, unset, definedVariables(env)));
}
