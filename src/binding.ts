import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { BackendStats } from './backend.js';
import { BUNDLED } from './bundled.js';
import type { MemoryParts } from './memory/parts.js';
import { MallocBackendError, type MallocBackendErrorCode } from './errors.js';
import { whyNotSupported } from './process/supported.js';

/** What `crates/node` exports. The two files say the same; test/binding.test.ts compares them. */
export interface Binding {
  backends(): { name: string; available: boolean; reason?: string; version?: string }[];
  defaultBackend(): string;
  globalAllocator(): string;
  exercise(backend: string, bytes: number): boolean;
  /** Infinity for no limit; 0 for no quarantine. */
  createAllocator(backend: string, limit: number, quarantine: number, numbers: Float64Array): NativeAllocator;
  /** Live bytes and buffers, of all threads. */
  allocatedEverywhere(backend: string): number[];
  backendStats(backend: string): BackendStats;
  backendRelease(backend: string): boolean;
  presetOptions(backend: string, preset: string): { key: string; value: string; reason: string }[];
  /** Linux only, as are all below. */
  ownerHere?(): NativeOwner | null;
  ownerOf?(pid: number): NativeAnswer & { owner?: NativeOwner };
  inspectProgram?(path: string): NativeProgram;
  /**
   * Arguments as bytes, each ended by a zero; of the environment, by default this process's, only what is other there is
   * changed. Returns only where it failed, with the reason.
   */
  replaceProcess?(program: string, argv: Uint8Array, env?: string[]): string;
  /** In an environment name and value stand one behind another, and so do key and value of the options in `set`. */
  switchedEnvironment?(
    backend: string,
    preset: string | undefined,
    set: string[],
    children: string,
    probe: boolean,
    folder: string,
    env: string[],
  ): NativeChanges;
  withOptions?(backend: string, preset: string | undefined, set: string[], env: string[]): NativeChanges;
  prepareLaunch?(
    backend: string,
    folder: string,
    command: string,
    args: string[],
    context: NativeContext,
  ): NativeLaunch;
  /** An absolute path. */
  findProgram?(command: string, context: NativeContext, what: string): NativeLaunch;
  whyNotProcess?(backend: string, folder: string): string | null;
  whyNotUsable?(file: string): string | null;
  whyNotPreloadable?(file: string): string | null;
  tooSmallForSnmalloc?(addressSpace: number | undefined, data: number | undefined): string | null;
  host?(): NativeHost;
  /** `v8` is this process's, and absent for another one. */
  readMemory?(
    pid: number,
    allocator: string,
    v8?: { arrayBuffers: number; heap: number },
  ): Promise<NativeMemory>;
  releaseMemory?(): Promise<NativeRelease>;
  pythonStart?(options: NativePythonOptions): Promise<{ failure?: string; message?: string }>;
  pythonInfo?(): NativePythonInfo | null;
  /** The outcomes come flat: number, kind and payload of each. No buffer is larger than `maxBuffer` bytes. */
  pythonPort?(callback: (outcomes: unknown[]) => void, maxBuffer: number): NativePort;
  pythonHold?(port: NativePort, hold: boolean): void;
  pythonSubmit?(
    port: NativePort,
    kind: string,
    text: string,
    args: unknown[],
    kwargs: unknown,
    orRepr: boolean,
  ): number | null;
  pythonInterrupt?(number: number): void;
}

/** Where a thread gets the outcomes of what it asks Python. */
export type NativePort = object;

export interface NativePythonOptions {
  libpython: string;
  executable: string;
  isolated: boolean;
  deepBind: boolean;
  /** The variables that were set for it, `name=value`, in order: to tell other options by. */
  env: string[];
  config: string;
}

export interface NativePythonInfo {
  version: string;
  freeThreaded: boolean;
  executable: string;
  libpython: string;
  backend: string;
  backendVersion?: string;
  domains: string[];
  unknown: string[];
  debug: boolean;
  counters?: number[][];
}

/**
 * An allocator. What `allocate`, `reallocate` and `free` are asked for stands in the three `numbers` that it was made
 * with, for as arguments they would cost as much as the block. In the first one they leave the slot of the buffer that
 * they return, or why they return none: one of {@link Refused}.
 */
export interface NativeAllocator {
  /** Bytes, alignment and flags. */
  allocate(): ArrayBuffer | undefined;
  /** Slot, bytes and flags. */
  reallocate(buffer: ArrayBuffer): ArrayBuffer | undefined;
  /** Slot. */
  free(buffer: ArrayBuffer): void;
  /** Whether the slot is live and the buffer's. */
  holds(buffer: ArrayBuffer, slot: number): boolean;
  child(limit: number, quarantine: number, numbers: Float64Array): NativeAllocator;
  region(bytes: number, numbers: Float64Array): NativeRegion | Refused;
  /** Bytes, high-water mark, bytes ever, allocations ever, buffers, bytes in quarantine, damaged blocks. */
  figures(): number[];
  /** The slot and the size of each live buffer, one after another. */
  live(): number[];
  /** Empties the quarantine, and frees the blocks that are kept for the next requests. */
  flush(): void;
  /** The same, once nothing more will be allocated here or by a child. */
  end(): void;
}

/**
 * A region. Offsets and sizes are in bytes; `allocate` and `free` find theirs in the two `numbers` that it was made
 * with, for as arguments they would cost as much as the block.
 */
export interface NativeRegion {
  /** The whole range. */
  memory: ArrayBuffer;
  /** So many bytes, at such an alignment: then the first number is an offset, -1 without room, -2 for a limit. */
  allocate(): void;
  /** A live block's offset, and what it was asked for with: nothing here checks that. */
  free(): void;
  /** False where the region cannot go on. */
  reset(): boolean;
  /** Ends the heap, and detaches the memory where that was not transferred. */
  dispose(memory: ArrayBuffer): void;
}

/** Why there is no result: the numbers of crates/node/src/allocator.rs, as are the flags. */
export const Refused = {
  No: 0,
  Limit: 1,
  OutOfMemory: 2,
  External: 3,
  NotAllocated: 4,
  Failed: 5,
  Unsupported: 6,
} as const;
export type Refused = (typeof Refused)[keyof typeof Refused];
export const ZERO = 1;
export const COPY = 2;

export interface NativeOwner {
  kind: 'shim' | 'foreign' | 'libc' | 'static';
  allocator?: string;
  version?: string;
  path: string;
}

export interface NativeProgram {
  kind: 'elf' | 'script' | 'unknown' | 'error';
  /** Of an ELF program its dynamic loader, of a script the program that reads it. */
  interpreter?: string;
  isPython: boolean;
}

/** An answer of the addon's that may be a refusal: a code and a message. */
export interface NativeAnswer {
  failure?: string;
  message?: string;
}

/** What is to be set in an environment, name and value one behind another, and what is to be taken out of it. */
export interface NativeChanges extends NativeAnswer {
  set?: string[];
  unset?: string[];
  /** A word to whoever asked for it. */
  notice?: string;
}

/** Where and as whom a command is to run; `path` and `libraryPath` are the variables' values. */
export interface NativeContext {
  cwd?: string | undefined;
  path?: string | undefined;
  libraryPath?: string | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
}

export interface NativeLaunch extends NativeAnswer {
  file?: string;
  argv?: string[];
}

export interface NativeHost {
  machine: string;
  interpreter?: string;
  pageSize: number;
  secure: boolean;
  addressSpace?: number;
  data?: number;
}

/** Bytes of physical memory by the parts of the process. */
export interface NativeMemory extends NativeAnswer {
  rss?: number;
  parts?: MemoryParts;
  stats?: BackendStats;
}

export interface NativeRelease {
  possible: boolean;
  before: number;
  after: number;
  durationMs: number;
}

/** The variable that names the folder of the addon and the preloadable libraries. */
const OVERRIDE = 'MALLOC_BACKEND_BINARY_DIR';

const names = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-x64-msvc',
] as const;

/** By words that stand here: so what traces files finds the packages. In a `try`, so that bundlers do without them. */
function requirePackage(name: (typeof names)[number]): { folder: string } | { error: Error } {
  try {
    switch (name) {
      case 'darwin-arm64':
        return require('@malloc-backend/darwin-arm64');
      case 'darwin-x64':
        return require('@malloc-backend/darwin-x64');
      case 'linux-arm64-gnu':
        return require('@malloc-backend/linux-arm64-gnu');
      case 'linux-arm64-musl':
        return require('@malloc-backend/linux-arm64-musl');
      case 'linux-x64-gnu':
        return require('@malloc-backend/linux-x64-gnu');
      case 'linux-x64-musl':
        return require('@malloc-backend/linux-x64-musl');
      case 'win32-x64-msvc':
        return require('@malloc-backend/win32-x64-msvc');
    }
  } catch (error) {
    return { error: error as Error };
  }
}

function load(): { binding: Binding; folder: string } {
  const here = `${process.platform}-${process.arch}`;
  // On Linux two. Which C library runs is known only once an addon loaded.
  const candidates = names.filter((name) => name === here || name.startsWith(`${here}-`));
  const override = process.env[OVERRIDE];
  const failures: string[] = [];
  // One after another, because a package that is not there takes long to be not found.
  for (const name of candidates) {
    const found = override ? { folder: resolve(override) } : requirePackage(name);
    if ('error' in found) {
      const { code, message } = found.error as NodeJS.ErrnoException;
      if (code === 'ERR_ACCESS_DENIED') throw notPermitted(`@malloc-backend/${name}`, found.error);
      if (code !== 'MODULE_NOT_FOUND') failures.push(`@malloc-backend/${name} does not load: ${message}`);
      continue;
    }
    const file = join(found.folder, `malloc-backend.${name}.node`);
    requireReadable(found.folder);
    if (!existsSync(file)) {
      failures.push(`${file} does not exist`);
      continue;
    }
    try {
      return { binding: require(file) as Binding, folder: found.folder };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_DLOPEN_DISABLED') throw addonsDisabled(error);
      failures.push(`${file} does not load: ${(error as Error).message}`);
    }
  }
  const packages = candidates.map((name) => `@malloc-backend/${name}`);
  const absent =
    packages.length > 0 ? `${packages.join(' or ')} is not installed` : 'there is no package for it';
  throw new MallocBackendError(
    'ERR_BINARY_MISSING',
    `malloc-backend has no binary for ${here}: ${failures.length > 0 ? failures.join('; ') : absent}. ` +
      `Install it again with optional dependencies (no --omit=optional, and not from another platform's ` +
      `node_modules); ${BUNDLED}; or build it in a checkout with "npm run build" and name its folder in ${OVERRIDE}.`,
  );
}

/** What a program that has no addon loaded is switched by. */
const WITHOUT_ADDON =
  'start it by "malloc-backend run <backend> -- node …", for which Node need load no addon';

function addonsDisabled(cause: unknown): MallocBackendError {
  const remedy = 'permission' in process ? 'allow addons (--allow-addons)' : 'leave --no-addons out';
  return new MallocBackendError(
    'ERR_NOT_PERMITTED',
    `Node was told to load no addon, and malloc-backend is one; ${remedy}, or ${WITHOUT_ADDON}`,
    { cause },
  );
}

/** Node's permission model lets a file that may not be read look as if it did not exist. */
function requireReadable(folder: string): void {
  const { permission } = process as { permission?: { has(scope: string, reference: string): boolean } };
  if (permission !== undefined && !permission.has('fs.read', folder)) throw notPermitted(folder);
}

/** An error for what Node's permission model does not let this process read. */
export function notPermitted(file: string, cause?: unknown): MallocBackendError {
  return new MallocBackendError(
    'ERR_NOT_PERMITTED',
    `Node's permission model does not let this process read ${file}; allow it (--allow-fs-read=…), or ${WITHOUT_ADDON}`,
    { cause },
  );
}

let loaded: ReturnType<typeof load> | undefined;

/** The addon, loaded at the first use: to import the package costs nothing. */
export function binding(): Binding {
  return (loaded ??= load()).binding;
}

/** The folder with the addon and the preloadable libraries. */
export function binaryFolder(): string {
  return (loaded ??= load()).folder;
}

/** The functions that only Linux has; `what` stands on them. */
export function linuxBinding(what = "switching a process's malloc"): Required<Binding> {
  const { ownerHere } = binding();
  if (ownerHere !== undefined) return binding() as Required<Binding>;
  throw new MallocBackendError('ERR_BACKEND_UNAVAILABLE', whyNotSupported(what));
}

/** The answer, where it is one; a refusal is thrown. */
export function granted<Answer extends NativeAnswer>(
  answer: Answer,
): Required<Omit<Answer, keyof NativeAnswer>> {
  const { failure, message, ...rest } = answer;
  if (failure !== undefined) throw new MallocBackendError(failure as MallocBackendErrorCode, message ?? '');
  return rest as Required<Omit<Answer, keyof NativeAnswer>>;
}
