import type { MemoryAllocatorBackend } from '../backend.js';
import { DOMAINS, type PythonDomain } from './config.js';

/** The backend of one domain. */
export interface PythonDomainReport {
  /**
   * The backend. `unknown` means that the package set the domain, but other code has then set another table whose memory
   * source the package does not know. (The package recognises tracemalloc and the debug hooks.)
   */
  backend: MemoryAllocatorBackend | 'unknown';
  /** Its version. */
  version?: string;
}

/** The allocators of a Python, as read back from the interpreter. */
export interface PythonReport {
  /** Python's version, such as `3.11.2`. */
  version: string;
  /** Whether this Python was built without the GIL. */
  freeThreaded: boolean;
  /** The interpreter's file. */
  executable: string;
  /** The chosen backend. `default` changes no domain. */
  backend: MemoryAllocatorBackend;
  /** The backend of each domain and its version; null for a domain that is left to Python. */
  domains: Record<PythonDomain, PythonDomainReport | null>;
  /** Whether Python's debug hooks are on. */
  debug: boolean;
}

/** The counters of one domain, in blocks and usable bytes. */
export interface PythonDomainCounters {
  /** Allocated blocks. */
  allocations: number;
  /** Reallocated blocks. */
  reallocations: number;
  /** Freed blocks. */
  frees: number;
  /** Allocated blocks that are not freed. */
  liveBlocks: number;
  /** Usable bytes of the live blocks. */
  liveBytes: number;
  /** Freed blocks that the domain had not allocated. Only a test build, which marks every block, can find them. */
  foreign: number;
}

/** The counters of all domains. The counters of a domain that the backend does not serve stay at 0. */
export type PythonCounters = Record<PythonDomain, PythonDomainCounters>;

/** A report in the form of the hook and of the addon. */
export interface NativeReport {
  version: string;
  freeThreaded: boolean;
  executable: string;
  backend: string;
  backendVersion?: string | null;
  domains: string[];
  unknown?: string[];
  debug: boolean;
}

export function describeReport(native: NativeReport): PythonReport {
  const backend = native.backend as MemoryAllocatorBackend;
  const served = { backend, ...(native.backendVersion ? { version: native.backendVersion } : {}) };
  const entries = DOMAINS.map((domain) => {
    if (native.unknown?.includes(domain)) return [domain, { backend: 'unknown' }];
    return [domain, native.domains.includes(domain) ? served : null];
  });
  return {
    version: native.version,
    freeThreaded: native.freeThreaded,
    executable: native.executable,
    backend,
    domains: Object.fromEntries(entries) as PythonReport['domains'],
    debug: native.debug,
  };
}

/** Number of figures of a domain in `crates/python/src/counters.rs`. */
export const FIGURES = 6;

export function describeCounters(domains: readonly (readonly number[])[]): PythonCounters {
  const entries = DOMAINS.map((domain, index) => {
    const [allocations = 0, reallocations = 0, frees = 0, allocated = 0, freed = 0, foreign = 0] =
      domains[index] ?? [];
    const liveBlocks = allocations - frees;
    return [domain, { allocations, reallocations, frees, liveBlocks, liveBytes: allocated - freed, foreign }];
  });
  return Object.fromEntries(entries) as PythonCounters;
}
