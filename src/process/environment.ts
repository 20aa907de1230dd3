import { type MemoryAllocatorBackend, type ProcessBackend, parseBackend } from '../backend.js';
import { MallocBackendError, shown } from '../errors.js';
import type { AllocatorOption, Children, EnvironmentDiff } from '../native/binding.js';
import { binaryFolder, linuxBinding } from '../native/loader.js';
import { namesOf, requireOptions } from '../options.js';
import { type BackendOptions, type Preset, parsePreset } from './presets.js';

/** How a program is to be switched. */
export interface SwitchOptions {
  /**
   * Whether the programs that it starts are switched too, by inheritance (`inherit`, the default), or run as if
   * it had not been (`none`).
   */
  children?: Children;
  /** What the allocator is tuned for. Default: `balanced`. snmalloc has no presets and refuses one. */
  preset?: Preset;
  /** Single options of the allocator, over the preset and over the user's variables. */
  set?: BackendOptions;
}

/** {@link SwitchOptions}, and the environment to start from. */
export interface EnvironmentOptions extends SwitchOptions {
  /** Default: `process.env`. It is not changed. */
  env?: NodeJS.ProcessEnv;
}

/** The variables of `crates/malloc-shim/src/startup.rs`, where each is explained. */
export const variables = {
  report: 'MALLOC_BACKEND_REPORT',
  children: 'MALLOC_BACKEND_CHILDREN',
  restore: 'MALLOC_BACKEND_RESTORE',
} as const;

/**
 * The environment under which any spawner starts a program on the backend.
 *
 * `default` is the environment without our libraries. It gives no proof; {@link spawn} and `run` do.
 *
 * Another allocator that `LD_PRELOAD` names is left out. A process warning (`MALLOC_BACKEND_PRELOAD`) says so.
 *
 * @throws {@link MallocBackendError} `ERR_UNKNOWN_BACKEND`, `ERR_UNKNOWN_PRESET`, `ERR_UNKNOWN_OPTION`,
 * `ERR_INVALID_ARGUMENT`, `ERR_BACKEND_UNAVAILABLE`, `ERR_SHIM_MISSING`, `ERR_BINARY_MISSING`,
 * `ERR_FOREIGN_PRELOAD`
 */
export function environment(backend: ProcessBackend, options: EnvironmentOptions = {}): NodeJS.ProcessEnv {
  requireOptions(options, OPTIONS);
  return switchedEnvironment(backend, options, { probe: false });
}

const OPTIONS = namesOf<EnvironmentOptions>({ children: true, preset: true, set: true, env: true });

/**
 * The environment, for `default` with the probe if that is wanted, because it proves that libc owns `malloc`, or
 * needed, because it takes the options away from the program's children. What is left out of it is told.
 */
export function switchedEnvironment(
  backend: MemoryAllocatorBackend,
  options: EnvironmentOptions,
  { probe, tell = warn }: { probe: boolean; tell?: (notice: string) => void },
): NodeJS.ProcessEnv {
  parseBackend(backend);
  const { set = {}, env = process.env } = options;
  const children = parseChildren(options.children);
  const preset = options.preset === undefined ? undefined : parsePreset(options.preset);
  requireObject('set', set);
  requireObject('env', env);
  const linux = linuxBinding();
  const native = { backend, preset, set: optionList(set), children, probe, folder: binaryFolder() };
  const diff = linux.switchedEnvironment(native, definedVariables(env));
  if (diff.notice) tell(diff.notice);
  return changed(env, diff);
}

const warned = new Set<string>();

/** Once: a service starts the same program again and again. */
export function warn(notice: string): void {
  if (warned.has(notice)) return;
  warned.add(notice);
  process.emitWarning(notice, { type: 'MallocBackendWarning', code: 'MALLOC_BACKEND_PRELOAD' });
}

/** A copy of the environment, changed. */
export function changed(env: NodeJS.ProcessEnv, { set, unset }: EnvironmentDiff): NodeJS.ProcessEnv {
  const copy = { ...env };
  for (const name of unset) delete copy[name];
  return Object.assign(copy, set);
}

/** The variables that have a value, as the strings that child_process would make of them. */
export function definedVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(env).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.map(([name, value]) => [name, `${value}`]));
}

/** In their order. What a string may be is the addon's to say. */
export function optionList(set: BackendOptions): AllocatorOption[] {
  return Object.entries(set).map(([key, value]) => {
    const isPlain = typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value);
    if (isPlain) return { key, value: String(value) };
    throw new MallocBackendError(
      'ERR_INVALID_ARGUMENT',
      `cannot set the option ${JSON.stringify(key)}: its value must be a string, a number or a boolean, not ${shown(value)}`,
    );
  });
}

export function requireObject(what: string, value: unknown): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  throw new MallocBackendError('ERR_INVALID_ARGUMENT', `${what} must be an object, not ${shown(value)}`);
}

/** What `children` may be. */
export function parseChildren(children: unknown = 'inherit'): Children {
  if (children === 'inherit' || children === 'none') return children;
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `children must be 'inherit' or 'none', not ${shown(children)}`,
  );
}
