/**
 * Choose the memory allocator of a service, with proof that it took effect.
 *
 * @packageDocumentation
 */

import './src/bundled.js';
export { MallocBackendError, type MallocBackendErrorCode } from './src/errors.js';
export {
  MemoryAllocatorBackend,
  type Availability,
  type BackendInfo,
  type BackendStats,
  type ProcessBackend,
  backends,
  isBackend,
  preferredBackend,
  parseBackend,
  rustGlobalAllocator,
} from './src/backend.js';
export { type ActiveBackend, activeBackend, assertBackend } from './src/process/owner.js';
export { type EnvironmentOptions, type SwitchOptions, environment } from './src/process/environment.js';
export { type BackendChoice } from './src/process/config.js';
export {
  type BackendOptions,
  type Preset,
  type PresetOption,
  type PresetTable,
  presets,
} from './src/process/presets.js';
export {
  type AutoReleaseEvents,
  type AutoReleaseOptions,
  AutoRelease,
  autoRelease,
} from './src/memory/auto.js';
export type { Children, OwnerKind } from './src/native/binding.js';
export type { ReleaseReason } from './src/memory/decide.js';
export { type MemoryBreakdown, type MemoryParts, memory } from './src/memory/memory.js';
export {
  type CgroupUsage,
  type Diagnosis,
  type DiagnosisNote,
  type DiagnosisVerdict,
  type GlibcHeap,
  type HugePages,
  type NoteCode,
  type VerdictCode,
  diagnose,
} from './src/memory/diagnose.js';
export { type Release, releaseMemory } from './src/memory/release.js';
export {
  type Proof,
  type SwitchedChild,
  type SwitchedChildByStdio,
  type SwitchedForkOptions,
  type SwitchedSpawnOptions,
  fork,
  spawn,
} from './src/process/spawn.js';
export {
  type HeapProfile,
  type HeapProfileOptions,
  type HeapProfilePageOptions,
  type HeapProfileState,
  type RunningHeapProfile,
  heapProfile,
} from './src/profile/heap-profile.js';
export { heapProfileHandler } from './src/profile/handler.js';
export type { FastifyReplyLike, HeapProfileHandler, HeapProfileRequest } from './src/profile/live/handler.js';
export type { HeapProfileSocket } from './src/profile/live/server.js';
export { type RunOptions, type RunResult, run } from './src/process/run.js';
export { type PythonAllocatorConfig, type PythonDomain } from './src/python/config.js';
export {
  type PythonCallOptions,
  type PythonInfo,
  type PythonInterpreterOptions,
  PythonError,
  PythonInterpreter,
} from './src/python/interpreter.js';
export {
  type PythonCounters,
  type PythonDomainCounters,
  type PythonDomainReport,
  type PythonReport,
} from './src/python/report.js';
export {
  type PythonChild,
  type PythonProof,
  type SpawnPythonOptions,
  spawnPython,
} from './src/python/spawn.js';
export { type PythonArgument, type PythonValue } from './src/python/value.js';
export { Allocator, type AllocatorStats } from './src/allocator/allocator.js';
export { type AllocatedBuffer } from './src/allocator/buffer.js';
export { type AllocateOptions, type AllocatorOptions } from './src/allocator/options.js';
export type { Hold } from './src/allocator/hold.js';
export { type Region, type RegionOptions, type RegionView } from './src/allocator/region.js';
export { type AllocatorEvent, type Leak } from './src/allocator/observer.js';
export { compare } from './src/compare/compare.js';
export { type CompareEvent, type Progress } from './src/compare/events.js';
export { type CompareOptions } from './src/compare/options.js';
export { type TuneEvent, type TuneGoal, type TuneOptions, type TuneResults, tune } from './src/tune/tune.js';
export { compareFleet } from './src/fleet/fleet.js';
export { type FleetOptions } from './src/fleet/options.js';
export { renderFleetCsv, renderFleetMarkdown } from './src/fleet/export.js';
export {
  FLEET_METRICS,
  type FleetMetric,
  type FleetQuery,
  type FleetResults,
  type FleetPod,
  type FleetVariant,
} from './src/fleet/results.js';
export { type ServiceSettings } from './src/compare/service-options.js';
export { type SubjectOptions } from './src/compare/subjects.js';
export { renderConfig } from './src/compare/decision.js';
export { renderCsv } from './src/compare/export/csv.js';
export { renderHtml } from './src/compare/export/html.js';
export { renderMarkdown } from './src/compare/export/markdown.js';
export {
  type Advice,
  type Comparison,
  type CompareResults,
  type Counters,
  type Estimate,
  type Machine,
  type MeasureOptions,
  type MetricName,
  type Run,
  type Sample,
  type ServiceOptions,
  type ServiceRun,
  type Subject,
  type Summary,
  type Verdict,
  type Warning,
  readResults,
  type LoadGenerator,
  METRICS,
} from './src/compare/results.js';
