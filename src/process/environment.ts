import { type MemoryAllocatorBackend, type ProcessBackend, parseBackend } from '../backend.js';
import { invalidArgument, shown } from '../errors.js';
import type { AllocatorOption, Children, EnvironmentDiff } from '../native/binding.js';
import { binaryFolder, linuxBinding } from '../native/loader.js';
import { namesOf, requireOptions } from '../options.js';
import { type BackendOptions, type Preset, parsePreset } from './presets.js';

/** How to switch a program. */
export interface SwitchOptions {
  /**
   * `inherit` (the default): the programs that the program starts inherit the switch. `none`: they run without a switch,
   * as if no variable had been set.
   */
  children?: Children;
  /** The preset of the allocator. Default: `balanced`. snmalloc has no presets, so any preset except `none` is an error. */
  preset?: Preset;
  /** Single options of the allocator. They override the preset and the user's own variables. */
  set?: BackendOptions;
}

/** How to switch a program, and the environment to extend. */
export interface EnvironmentOptions extends SwitchOptions {
  /** The environment to extend. The function does not change this object. Default: `process.env`. */
  env?: NodeJS.ProcessEnv;
}

/** Variables that `crates/malloc-shim/src/startup.rs` reads and explains. */
export const variables = {
  report: 'MALLOC_BACKEND_REPORT',
  children: 'MALLOC_BACKEND_CHILDREN',
  restore: 'MALLOC_BACKEND_RESTORE',
} as const;

/**
 * Returns an environment that switches a program, for any function that starts programs. For `default`, the environment
 * contains none of the package's libraries.
 *
 * The environment proves nothing. To prove the switch, use {@link spawn} or {@link run}, or check the running program with
 * {@link activeBackend}.
 *
 * If `LD_PRELOAD` names another allocator, the function removes this entry. A process warning with the code
 * `MALLOC_BACKEND_PRELOAD` tells about the removal.
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
 * Returns an environment that switches a program. For `default`, the environment preloads the probe in two cases: `probe`
 * asks for the proof that libc serves `malloc`, or the probe must remove the options for the program's children. `tell` gets
 * a notice about other allocators that the function removed from `LD_PRELOAD`.
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

/** Warns only once for each notice, because a service may start the same program again and again. */
export function warn(notice: string): void {
  if (warned.has(notice)) return;
  warned.add(notice);
  process.emitWarning(notice, { type: 'MallocBackendWarning', code: 'MALLOC_BACKEND_PRELOAD' });
}

/** Returns a changed copy of the environment. */
export function changed(env: NodeJS.ProcessEnv, { set, unset }: EnvironmentDiff): NodeJS.ProcessEnv {
  const copy = { ...env };
  for (const name of unset) delete copy[name];
  return Object.assign(copy, set);
}

/** The variables that have a value. Values become strings, as child_process converts them. */
export function definedVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(env).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.map(([name, value]) => [name, `${value}`]));
}

/** The options in their order. The addon checks the values. */
export function optionList(set: BackendOptions): AllocatorOption[] {
  return Object.entries(set).map(([key, value]) => {
    const isPlain = typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value);
    if (isPlain) return { key, value: String(value) };
    throw invalidArgument(
      `cannot set the option ${JSON.stringify(key)}: its value must be a string, a number or a boolean, not ${shown(value)}`,
    );
  });
}

export function requireObject(what: string, value: unknown): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  throw invalidArgument(`${what} must be an object, not ${shown(value)}`);
}

/** Checks `children`. */
export function parseChildren(children: unknown = 'inherit'): Children {
  if (children === 'inherit' || children === 'none') return children;
  throw invalidArgument(`children must be 'inherit' or 'none', not ${shown(children)}`);
}
