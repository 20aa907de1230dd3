import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { linuxBinding } from '../binding.js';
import {
  type MemoryAllocatorBackend,
  parseBackend,
  shimFile,
  whyNotPreloadable,
  whyNotProcess,
} from '../backend.js';
import { MallocBackendError, shown } from '../errors.js';
import { namesOf, requireOptions } from '../options.js';
import { type AllocatorOptions, type Preset, optionVariables, parsePreset } from './presets.js';

/** How a program is to be switched. */
export interface SwitchOptions {
  /**
   * Whether the programs that it starts are switched too, by inheritance (`inherit`, the default), or run as if
   * it had not been (`none`).
   */
  children?: 'inherit' | 'none';
  /** What the allocator is tuned for. Default: `balanced`. */
  preset?: Preset;
  /** Single options of the allocator, over the preset and over the user's variables. */
  set?: AllocatorOptions;
}

/** {@link SwitchOptions}, and the environment to start from. */
export interface EnvironmentOptions extends SwitchOptions {
  /** Default: `process.env`. It is not changed. */
  env?: NodeJS.ProcessEnv;
}

/** The variables of `crates/malloc-shim/src/startup.rs`, where each is explained. */
export const variables = {
  preload: 'LD_PRELOAD',
  report: 'MALLOC_BACKEND_REPORT',
  require: 'MALLOC_BACKEND_REQUIRE',
  children: 'MALLOC_BACKEND_CHILDREN',
  restore: 'MALLOC_BACKEND_RESTORE',
} as const;

/**
 * The environment under which any spawner starts a program on the backend.
 *
 * `default` is the environment without our libraries. It gives no proof; {@link spawn} and `run` do.
 *
 * @throws {@link MallocBackendError} `ERR_UNKNOWN_BACKEND`, `ERR_UNKNOWN_PRESET`, `ERR_UNKNOWN_OPTION`,
 * `ERR_INVALID_ARGUMENT`, `ERR_BACKEND_UNAVAILABLE`, `ERR_SHIM_MISSING`, `ERR_BINARY_MISSING`,
 * `ERR_FOREIGN_PRELOAD`
 */
export function environment(
  backend: MemoryAllocatorBackend,
  options: EnvironmentOptions = {},
): NodeJS.ProcessEnv {
  requireOptions(options, OPTIONS);
  return switchedEnvironment(backend, options, { probe: false });
}

const OPTIONS = namesOf<EnvironmentOptions>({ children: true, preset: true, set: true, env: true });

/**
 * The environment, for `default` with the probe if that is wanted, because it proves that libc owns `malloc`, or
 * needed, because it takes the options away from the program's children.
 */
export function switchedEnvironment(
  backend: MemoryAllocatorBackend,
  options: EnvironmentOptions,
  { probe }: { probe: boolean },
): NodeJS.ProcessEnv {
  parseBackend(backend);
  const { set = {}, env: given = process.env } = options;
  const children = parseChildren(options.children);
  const preset = parsePreset(options.preset === undefined ? 'balanced' : options.preset);
  requireObject('set', set);
  requireObject('env', given);
  requireProcessSurface(backend);
  const env = withoutSwitch(given);
  const others = preloadEntries(env);
  if (backend === 'default') refuseAllocators(others, env);
  withOptions(backend, preset, set, env);
  const preloaded =
    backend === 'default' && !probe && children === 'inherit'
      ? others
      : [preloadable(shimFile(backend)), ...others];
  if (preloaded.length > 0) env[variables.preload] = preloaded.join(':');
  if (children === 'none') env[variables.children] = 'none';
  return env;
}

/** The environment, changed so that the allocator finds its options in it, and with a record to undo that by. */
export function withOptions(
  backend: MemoryAllocatorBackend,
  preset: Preset,
  set: AllocatorOptions,
  env: NodeJS.ProcessEnv,
): NodeJS.ProcessEnv {
  const changed = optionVariables(backend, parsePreset(preset), set, env);
  if (Object.keys(changed).length > 0) {
    const outer = env[variables.restore];
    const own = restoreRecord(changed, env);
    env[variables.restore] = outer === undefined ? own : `${outer};${own}`;
  }
  return Object.assign(env, changed);
}

function requireObject(what: string, value: unknown): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return;
  throw new MallocBackendError('ERR_INVALID_ARGUMENT', `${what} must be an object, not ${shown(value)}`);
}

/** What `children` may be. */
export function parseChildren(children: unknown = 'inherit'): 'inherit' | 'none' {
  if (children === 'inherit' || children === 'none') return children;
  throw new MallocBackendError(
    'ERR_INVALID_ARGUMENT',
    `children must be 'inherit' or 'none', not ${shown(children)}`,
  );
}

function requireProcessSurface(backend: MemoryAllocatorBackend): void {
  linuxBinding();
  const reason = whyNotProcess(backend);
  if (reason === undefined) return;
  const missing = backend !== 'rust';
  throw new MallocBackendError(
    missing ? 'ERR_SHIM_MISSING' : 'ERR_BACKEND_UNAVAILABLE',
    `cannot run a program on ${backend}: ${reason}` +
      (missing ? '; install the platform package again' : '; choose jemalloc, mimalloc or snmalloc'),
  );
}

/** The library's file, if the loader can be pointed at it. */
export function preloadable(file: string): string {
  const reason = whyNotPreloadable(file);
  if (reason !== undefined) throw new MallocBackendError('ERR_SHIM_MISSING', reason);
  return file;
}

/** What is preloaded in the environment (ld.so(8)). */
export function preloadEntries(env: NodeJS.ProcessEnv): string[] {
  return (env[variables.preload] ?? '').split(/[ :]/).filter((entry) => entry !== '');
}

/** Whether the file is one of our preloadable libraries, of this or another installation. */
export function isShim(file: string): boolean {
  return /^libmalloc_backend_[a-z]+\.so$/.test(basename(file));
}

/** Whether what LD_PRELOAD names has a malloc; `root` is where another process sees its files. */
export function isAllocator(entry: string, env: NodeJS.ProcessEnv, root = ''): boolean {
  return linuxBinding().inspectProgram(root + preloadedFile(entry, env, root)).definesMalloc;
}

/** A mere name is looked for in LD_LIBRARY_PATH and in the system's folders (ld.so(8)). */
function preloadedFile(entry: string, env: NodeJS.ProcessEnv, root: string): string {
  if (entry.includes('/')) return entry;
  const machine = linuxBinding().host().machine;
  const folders = [
    ...(env['LD_LIBRARY_PATH'] ?? '').split(/[:;]/).filter((folder) => folder !== ''),
    '/usr/local/lib',
    '/lib64',
    '/usr/lib64',
    '/lib',
    '/usr/lib',
    `/lib/${machine}-linux-gnu`,
    `/usr/lib/${machine}-linux-gnu`,
  ];
  return folders.map((folder) => join(folder, entry)).find((file) => existsSync(root + file)) ?? entry;
}

function refuseAllocators(preloaded: readonly string[], env: NodeJS.ProcessEnv): void {
  const allocator = preloaded.find((entry) => isAllocator(entry, env));
  if (allocator === undefined) return;
  throw new MallocBackendError(
    'ERR_FOREIGN_PRELOAD',
    `the program would not run on libc's malloc: LD_PRELOAD names ${allocator}, which has its own; ` +
      `take it out of LD_PRELOAD`,
  );
}

/** A copy of the environment as it was before an outer switch, if there was one. */
export function withoutSwitch(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const copy = { ...env };
  for (const [name, ours, before] of parseRestoreRecord(copy[variables.restore] ?? '')) {
    if (copy[name] !== ours) continue;
    if (before === undefined) delete copy[name];
    else copy[name] = before;
  }
  const preloaded = preloadEntries(copy).filter((entry) => !isShim(entry));
  for (const name of Object.values(variables)) delete copy[name];
  if (preloaded.length > 0) copy[variables.preload] = preloaded.join(':');
  return copy;
}

const encode = (text: string) =>
  text.replace(/[%;| \t-\r]/g, (character) => `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`);

/** What was set and what was there before, so that it can be undone. */
function restoreRecord(changed: Record<string, string>, env: NodeJS.ProcessEnv): string {
  return Object.entries(changed)
    .map(([name, ours]) =>
      [name, ours, ...(env[name] === undefined ? [] : [env[name]])].map(encode).join('|'),
    )
    .join(';');
}

function parseRestoreRecord(record: string): [name: string, ours: string, before?: string][] {
  const decode = (text: string) =>
    text.replace(/%([0-9a-f]{2})/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
  return record
    .split(';')
    .filter((change) => change !== '')
    .map((change) => change.split('|').map(decode) as [string, string, string?]);
}
