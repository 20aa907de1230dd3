import type { MemoryAllocatorBackend } from '../backend.js';
import { DOMAINS, type PythonDomain } from './config.js';

/** Who serves one domain. */
export interface PythonDomainReport {
  /**
   * The backend. `unknown` where it was set, and somebody has set another table over it since, of which nobody can tell
   * where it takes its memory from. (What tracemalloc and the debug hooks sit on can be told.)
   */
  backend: MemoryAllocatorBackend | 'unknown';
  /** Its version. */
  version?: string;
}

/** Who serves Python's memory, as read back from the interpreter. */
export interface PythonReport {
  /** Python's version, such as `3.11.2`. */
  version: string;
  /** Whether it is a build without the GIL. */
  freeThreaded: boolean;
  /** The interpreter's file. */
  executable: string;
  /** The backend that was chosen. With `default` no domain is touched. */
  backend: MemoryAllocatorBackend;
  /** For each domain the backend that serves it and its version; null where that is left to Python. */
  domains: Record<PythonDomain, PythonDomainReport | null>;
  /** Whether Python's debug hooks are on. */
  debug: boolean;
}

/** What went through one domain, in blocks and usable bytes. */
export interface PythonDomainCounters {
  /** Blocks handed out. */
  allocations: number;
  /** Blocks resized. */
  reallocations: number;
  /** Blocks taken back. */
  frees: number;
  /** Blocks handed out and not taken back. */
  liveBlocks: number;
  /** Usable bytes of these. */
  liveBytes: number;
  /** Blocks that came back without having been handed out. Always 0 but in a test build that marks every block. */
  foreign: number;
}

/** The counters of the domains. Those that the backend does not serve stay at 0. */
export type PythonCounters = Record<PythonDomain, PythonDomainCounters>;

/** How a hook and the addon say it. */
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

/** How many figures a domain has in `crates/python/src/counters.rs`. */
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
