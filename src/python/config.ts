import { type MemoryAllocatorBackend, parseBackend, whyNotAvailable } from '../backend.js';
import { MallocBackendError, shown } from '../errors.js';
import type { PythonDomain } from '../native/binding.js';

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

/** The options that messages name. The command has other names for them. */
export type PythonOptionNames = Readonly<Record<'mem' | 'obj' | 'arena' | 'debug' | 'unset', string>>;

const OPTIONS: PythonOptionNames = {
  mem: 'allocatorMem',
  obj: 'allocatorObj',
  arena: 'allocatorPymallocArena',
  debug: 'allocatorDebug',
  unset: 'unsetPythonMalloc',
} satisfies Record<string, keyof PythonAllocatorConfig>;

/** The same, complete. */
export interface PythonConfig {
  backend: MemoryAllocatorBackend;
  domains: Record<PythonDomain, boolean>;
  debug: boolean;
  counters: boolean;
  unset: boolean;
  /** For messages. */
  names: PythonOptionNames;
}

/**
 * Makes sure that the configuration is one, and means something.
 *
 * @throws {@link MallocBackendError} `ERR_INVALID_ARGUMENT`, `ERR_UNKNOWN_BACKEND`, `ERR_PYTHON_CONFIG`,
 * `ERR_BACKEND_UNAVAILABLE`
 */
export function parsePythonConfig(
  config: PythonAllocatorConfig,
  names: PythonOptionNames = OPTIONS,
): PythonConfig {
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
  if (domains.arena && (domains.mem || domains.obj)) {
    throw new MallocBackendError(
      'ERR_PYTHON_CONFIG',
      `${names.arena} cannot be on together with ${names.mem} or ${names.obj}: these take the place of pymalloc, ` +
        'and leave no arenas to serve; turn one or the other off',
    );
  }
  if (backend !== 'default' && !Object.values(domains).includes(true)) {
    throw new MallocBackendError(
      'ERR_PYTHON_CONFIG',
      `with every domain off ${backend} would do nothing; turn raw or another domain on, or choose the backend default`,
    );
  }
  const missing = whyNotAvailable(backend);
  if (missing !== undefined) {
    throw new MallocBackendError('ERR_BACKEND_UNAVAILABLE', `cannot run Python on ${backend}: ${missing}`);
  }
  return {
    backend,
    domains,
    debug: flag('allocatorDebug'),
    counters: flag('counters'),
    unset: flag('unsetPythonMalloc'),
    names,
  };
}

/** As `crates/python/src/config.rs` reads it. */
export function encodePythonConfig({ backend, domains, debug, counters }: PythonConfig): string {
  const on = DOMAINS.filter((domain) => domains[domain]);
  return [backend, ...on, ...(debug ? ['debug'] : []), ...(counters ? ['counters'] : [])].join(',');
}

/** The variables with which Python sets allocators of its own over those that were chosen. */
const OVERRIDING = ['PYTHONMALLOC', 'PYTHONDEVMODE'] as const;

/** Whether there is a choice that Python could discard. */
const chooses = ({ backend, debug }: PythonConfig): boolean => backend !== 'default' || debug;

/**
 * The environment without what would discard the choice.
 *
 * @throws {@link MallocBackendError} `ERR_PYTHON_ENVIRONMENT`, unless it may be unset
 */
export function withoutOverride(env: NodeJS.ProcessEnv, config: PythonConfig): NodeJS.ProcessEnv {
  const set = OVERRIDING.filter((name) => env[name]);
  if (set.length === 0 || !chooses(config)) return env;
  if (!config.unset) {
    throw new MallocBackendError(
      'ERR_PYTHON_ENVIRONMENT',
      `${set.join(' and ')} ${set.length > 1 ? 'are' : 'is'} set, and with that Python would discard the ` +
        `allocators chosen for it; take it out of the environment, or ask for that by ${config.names.unset}`,
    );
  }
  return Object.fromEntries(Object.entries(env).filter(([name]) => !OVERRIDING.includes(name as never)));
}

/**
 * Refuses `-X dev` among Python's own arguments (Python/initconfig.c, `_PyOS_GetOpt`): it is dev mode, too.
 *
 * @throws {@link MallocBackendError} `ERR_PYTHON_ENVIRONMENT`
 */
export function refuseDevMode(args: readonly string[], config: PythonConfig): void {
  if (!chooses(config)) return;
  for (let at = 0; at < args.length; at++) {
    const word = args[at] ?? '';
    // The program begins here; what follows is its own.
    if (!word.startsWith('-') || word === '-' || word === '--') return;
    if (word.startsWith('--')) {
      if (word === '--check-hash-based-pycs') at += 1;
      continue;
    }
    const [, letter = '', inline = ''] = /^-[^cmWX]*([cmWX]?)(.*)$/s.exec(word) ?? [];
    if (letter === 'c' || letter === 'm') return;
    const value = letter === '' || inline !== '' ? inline : (args[++at] ?? '');
    if (letter === 'X' && /^dev(=|$)/.test(value)) {
      throw new MallocBackendError(
        'ERR_PYTHON_ENVIRONMENT',
        'with -X dev Python would discard the allocators chosen for it; leave it out, or ask for the debug hooks ' +
          `by ${config.names.debug}`,
      );
    }
  }
}
