import type { MemoryAllocatorBackend } from '../backend.js';
import { binding } from '../binding.js';

/** What a backend can tell of itself, in bytes, for the whole process; what it cannot tell is absent. */
export interface BackendStats {
  /** In live blocks. */
  allocated?: number;
  /** In pages that hold live blocks. */
  active?: number;
  /** The backend's own structures. */
  metadata?: number;
  /** In physical memory. */
  resident?: number;
  /** Mapped and usable. */
  mapped?: number;
  /** Address space that is kept without memory behind it. */
  retained?: number;
}

/** In the order of the native side. */
const KEYS = ['allocated', 'active', 'metadata', 'resident', 'mapped', 'retained'] as const;

export function backendStats(backend: MemoryAllocatorBackend): BackendStats {
  const stats: BackendStats = {};
  for (const [index, figure] of binding().backendStats(backend).entries()) {
    const key = KEYS[index];
    if (key !== undefined && !Number.isNaN(figure)) stats[key] = figure;
  }
  return stats;
}
