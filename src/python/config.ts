import { type MemoryAllocatorBackend, parseBackend, whyNotAvailable } from '../backend.js';
import { invalidArgument, MallocBackendError, shown } from '../errors.js';
import type { PythonDomain } from '../native/binding.js';
import { linuxBinding } from '../native/loader.js';
import { changed, definedVariables } from '../process/environment.js';

export type { PythonDomain } from '../native/binding.js';

/**
 * Which allocator serves each of CPython's domains. The names and defaults are the same as in PyOxidizer's
 * `PythonInterpreterConfig`.
 */
export interface PythonAllocatorConfig {
  /** The backend for the domains that are set. Default: `default`, which leaves all domains to Python. */
  allocatorBackend?: MemoryAllocatorBackend;
  /** The `raw` domain: `PyMem_RawMalloc`, and requests of more than 512 bytes from pymalloc. Default: true. */
  allocatorRaw?: boolean;
  /** The `mem` domain: `PyMem_Malloc`. Default: false. */
  allocatorMem?: boolean;
  /** The `obj` domain: `PyObject_Malloc`. Default: false. */
  allocatorObj?: boolean;
  /** The arenas of pymalloc. You cannot set them together with `mem` or `obj`. Default: false. */
  allocatorPymallocArena?: boolean;
  /** Sets Python's debug hooks (`PyMem_SetupDebugHooks`), with or without a backend. Default: false. */
  allocatorDebug?: boolean;
  /** Counts calls and bytes. Every call then costs more. Default: false. */
  counters?: boolean;
  /** Removes an inherited `PYTHONMALLOC` or `PYTHONDEVMODE`. Otherwise such a variable is an error. Default: false. */
  unsetPythonMalloc?: boolean;
}

/** The names of these options, for functions that accept further options. */
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

/** A complete configuration, checked by crates/launch. */
export interface PythonConfig {
  backend: MemoryAllocatorBackend;
  domains: Record<PythonDomain, boolean>;
  counters: boolean;
  unset: boolean;
  /** The configuration in the form that the hook reads. */
  encoded: string;
}

/**
 * Checks the configuration and completes it.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`, `ERR_UNKNOWN_BACKEND`, `ERR_PYTHON_CONFIG`,
 * `ERR_BACKEND_UNAVAILABLE`
 */
export function parsePythonConfig(config: PythonAllocatorConfig): PythonConfig {
  if (typeof config !== 'object' || config === null) {
    throw invalidArgument(`the options must be an object, not ${shown(config)}`);
  }
  // `spawn` has an option of this name. child_process would ignore it without a message.
  if ('backend' in config) {
    throw invalidArgument(
      'there is no option "backend" for Python; use allocatorBackend for the domains or, in spawnPython, malloc for the ' +
        'whole process',
    );
  }
  const flag = (name: keyof PythonAllocatorConfig, standard = false): boolean => {
    const value: unknown = config[name] ?? standard;
    if (typeof value === 'boolean') return value;
    throw invalidArgument(`${name} must be true or false, not ${shown(value)}`);
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
 * Returns the environment without the variables that make Python discard the chosen allocators.
 *
 * @throws {@link MallocBackendError} `ERR_PYTHON_ENVIRONMENT` if a variable is set and the package may not remove it
 */
export function withoutOverride(env: NodeJS.ProcessEnv, { encoded, unset }: PythonConfig): NodeJS.ProcessEnv {
  return changed(env, linuxBinding().withoutPythonOverride(encoded, unset, definedVariables(env)));
}
