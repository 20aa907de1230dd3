/**
 * Choose the memory allocator of a service, with proof that it took effect.
 *
 * @packageDocumentation
 */

export { MallocBackendError, type MallocBackendErrorCode } from './src/errors.js';
export {
  MemoryAllocatorBackend,
  type Availability,
  type BackendInfo,
  backends,
  defaultBackend,
  parseBackend,
  rustGlobalAllocator,
} from './src/backend.js';
export { type ActiveBackend, activeBackend } from './src/process/owner.js';
export { type EnvironmentOptions, type SwitchOptions, environment } from './src/process/environment.js';
export { type AllocatorOptions, type Preset, type PresetOption, presets } from './src/process/presets.js';
export {
  type Proof,
  type SwitchedChild,
  type SwitchedForkOptions,
  type SwitchedSpawnOptions,
  fork,
  spawn,
} from './src/process/spawn.js';
export { Allocator, type AllocatorStats } from './src/allocator/allocator.js';
export { type AllocatedBuffer } from './src/allocator/buffer.js';
export { type AllocateOptions, type AllocatorSettings } from './src/allocator/settings.js';
export { type BackendStats } from './src/allocator/stats.js';
export { type Region, type RegionOptions, type RegionView } from './src/allocator/region.js';
export { type AllocatorEvent, type Leak } from './src/allocator/observer.js';
