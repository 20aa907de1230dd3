import type { BackendStats, MemoryAllocatorBackend } from '../backend.js';
import { binding } from '../binding.js';

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
