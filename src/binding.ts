import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { MallocBackendError } from './errors.js';

/** What `crates/node` exports. The two files say the same; test/binding.test.ts compares them. */
export interface Binding {
  backends(): { name: string; available: boolean; reason?: string; version?: string }[];
  defaultBackend(): string;
  globalAllocator(): string;
  exercise(backend: string, bytes: number): boolean;
  /** Linux only, as are all below. */
  ownerHere?(): NativeOwner | null;
  ownerOf?(pid: number): { owner?: NativeOwner; errno?: number };
  inspectProgram?(path: string): NativeProgram;
  /** Arguments and environment as bytes, each ended by a zero. */
  replaceProcess?(program: string, argv: Uint8Array, environment: Uint8Array, endWithParent: boolean): number;
  host?(): NativeHost;
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

export interface NativeOwner {
  kind: 'shim' | 'foreign' | 'libc' | 'static';
  allocator?: string;
  version?: string;
  path: string;
}

export interface NativeProgram {
  kind: 'elf' | 'script' | 'unknown' | 'error';
  errno?: number;
  machine?: string;
  bits?: number;
  interpreter?: string;
  argument?: string;
  definesMalloc: boolean;
  isPython: boolean;
  privilege?: 'setuid' | 'setgid' | 'capabilities';
}

export interface NativeHost {
  machine: string;
  interpreter?: string;
  pageSize: number;
  secure: boolean;
  addressSpace?: number;
}

/** The variable that names the folder of the addon and the preloadable libraries. */
const OVERRIDE = 'MALLOC_BACKEND_BINARY_DIR';

const require = createRequire(import.meta.url);

/** This platform's packages. npm installs one of them; which C library runs is known only once it loaded. */
function packages(): string[] {
  const { platform, arch } = process;
  if (platform === 'linux') return [`linux-${arch}-gnu`, `linux-${arch}-musl`];
  return [platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`];
}

/** One after another, because a package that is not there takes long to be not found. */
function* candidates(): Generator<{ name: string; folder: string }> {
  const override = process.env[OVERRIDE];
  for (const name of packages()) {
    if (override) {
      yield { name, folder: resolve(override) };
      continue;
    }
    try {
      yield { name, folder: dirname(require.resolve(`@malloc-backend/${name}/package.json`)) };
    } catch {
      // Not installed: if none is, `load` says so.
    }
  }
}

function load(): { binding: Binding; folder: string } {
  const failures: string[] = [];
  for (const { name, folder } of candidates()) {
    const file = join(folder, `malloc-backend.${name}.node`);
    if (!existsSync(file)) {
      failures.push(`${file} does not exist`);
      continue;
    }
    try {
      return { binding: require(file) as Binding, folder };
    } catch (error) {
      failures.push(`${file} does not load: ${(error as Error).message}`);
    }
  }
  const names = packages().map((name) => `@malloc-backend/${name}`);
  throw new MallocBackendError(
    'ERR_BINARY_MISSING',
    `malloc-backend has no binary for ${process.platform}-${process.arch}: ` +
      (failures.length > 0 ? failures.join('; ') : `${names.join(' or ')} is not installed`) +
      `. Install it again with optional dependencies (no --omit=optional, and not from another platform's ` +
      `node_modules); or build it in a checkout with "npm run build" and name its folder in ${OVERRIDE}.`,
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

/** A function that only Linux has; process switching stands on them. */
export function linuxBinding(): Required<Binding> {
  const { ownerHere } = binding();
  if (ownerHere !== undefined) return binding() as Required<Binding>;
  throw new MallocBackendError(
    'ERR_BACKEND_UNAVAILABLE',
    `switching a process's malloc works on Linux only for now, not on ${process.platform}`,
  );
}
