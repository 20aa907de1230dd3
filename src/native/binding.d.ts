// Made of crates/node by `npm run build`. Do not edit.
import type { PythonValue } from '../python/value.js'

/** Bytes and buffers that are live on the backend in the whole process. */
export declare function allocatedEverywhere(backend: Backend): Live

/** What `allocate` and `reallocate` are asked for beside the block. The flags add up. */
export declare enum AllocateFlag {
  /** What is new is filled with zeros. */
  Zero = 1,
  /** Where this runtime refuses memory that is not its own, it makes a buffer of its own. */
  Copy = 2,
}

/** One option of an allocator. */
export interface AllocatorOption {
  key: string
  value: string
}

/** The name of a backend. */
export type Backend = 'default' | 'jemalloc' | 'mimalloc' | 'snmalloc' | 'rust'

/** A backend as it is in this build and on this system. */
export interface BackendInBuild {
  name: Backend
  /** The reason, if the backend is not available. */
  unavailable?: string
  version?: string
}

/** Has the backend give free memory back to the system. False where it has no way to. */
export declare function backendRelease(backend: Backend): boolean

/** The five backends. */
export declare function backends(): Array<BackendInBuild>

/** The backend's statistics. */
export declare function backendStats(backend: Backend): BackendStats

/** The figures that a backend counts itself, in bytes, for the whole process. A figure that it does not count is missing. */
export interface BackendStats {
  /** Bytes in live blocks. */
  allocated?: number
  /** Bytes in pages that contain live blocks. */
  active?: number
  /** Bytes of the backend's own structures. */
  metadata?: number
  /** Bytes in physical memory, at most. */
  resident?: number
  /** Bytes that are mapped and usable. */
  mapped?: number
  /** Bytes of address space without physical memory. */
  retained?: number
}

/** A cgroup's memory usage and limit, in bytes. */
export interface CgroupUsage {
  /** The cgroup's folder. */
  folder: string
  /** The usage without the page cache that was not used recently. */
  used: number
  /** The smallest limit of the cgroup. */
  limit: number
}

/**
 * Whether a program's children are switched too.
 *
 * - `inherit`: the programs that a switched program starts inherit the switch
 * - `none`: they run without a switch
 */
export type Children = 'inherit' | 'none'

/** What a configuration file says. */
export interface ConfigFile {
  backend: Backend
  preset?: Preset
  set: Array<AllocatorOption>
  children?: Children
}

/** Makes an allocator. `limit` and `quarantine` are in bytes, `limit` is infinite for none. `numbers` has three places. */
export declare function createAllocator(backend: Backend, limit: number, quarantine: number, numbers: Float64Array): NativeAllocator

/** Where a process's physical memory is, and the conclusion. Sizes are in bytes. */
export interface Diagnosis {
  pid: number
  /** The allocator that serves the process's `malloc`, as in `activeBackend()`. */
  allocator: string
  /** The conclusion. */
  verdict: DiagnosisVerdict
  /** Physical memory. */
  rss: number
  /** Memory in swap, which is not in `rss`. */
  swap: number
  /**
   * The parts of `rss`, as in `memory()`. If `heap` is there, `mallocLive` and `mallocCached` are known for another process,
   * too.
   */
  parts: MemoryParts
  /** glibc's heaps. Missing if another allocator serves `malloc`, or if the right to read the memory is missing. */
  heap?: GlibcHeap
  /** The process's cgroup that is nearest to its limit. Missing if no cgroup has a limit. */
  cgroup?: CgroupUsage
  hugePages: HugePages
  /** The environment variables that gave options to the allocator. Missing if the process has overwritten its environment. */
  options?: Record<string, string>
  /** Other facts. */
  notes: Array<DiagnosisNote>
}

/** A fact besides the conclusion. */
export interface DiagnosisNote {
  code: NoteCode
  message: string
}

/** The conclusion of a diagnosis. */
export interface DiagnosisVerdict {
  /** The kind of the conclusion. The codes are stable. */
  code: VerdictCode
  /** The conclusion as a sentence with figures. */
  sentence: string
  /** A command to try. */
  try?: string
  /** The most bytes that `try` can save. Missing if this is unknown. */
  savesAtMost?: number
}

/** Changes of an environment. */
export interface EnvironmentDiff {
  set: Record<string, string>
  unset: Array<string>
  /** A notice for the caller. */
  notice?: string
}

/**
 * glibc's heaps, read from outside, in bytes. Blocks that threads (tcache) and fastbins keep for the next request are not
 * free.
 */
export interface GlibcHeap {
  /** The number of arenas. */
  arenas: number
  /** Address space. */
  size: number
  /** Physical memory. */
  resident: number
  /** Free memory, in physical memory or not. In `mallinfo2` this is `fordblks` - `fsmblks`. */
  free: number
  /** Free memory in physical memory. */
  freeResident: number
  /** The part of `freeResident` in whole pages: `malloc_trim` can release no more. */
  freePages: number
  /** The number of large blocks that have a mapping each. */
  mappedBlocks: number
  /** The physical memory of these blocks. */
  mappedResident: number
  /** The share of the heaps that could be read, 0 to 1. */
  read: number
  /** True if only a sample was read, and the figures are estimates. */
  sampled: boolean
}

/** The backend that the addon's Rust code itself allocates from. `default` is the system's allocator. */
export declare function globalAllocator(): Backend

/** How a heap profile is taken. */
export interface HeapProfileSettings {
  /** The mean distance of two samples, in bytes. */
  interval: number
  /** The most samples of blocks in use that are kept. */
  maxSamples: number
  /** The name of the process's allocator. */
  allocator: string
  /** `process.versions.v8`. */
  v8: string
  /** The name of the function that calls this one. */
  caller: string
  /** The file of that function. */
  file: string
}

/** The state of a heap profile. */
export interface HeapProfileState {
  interval: number
  samples: number
  live: number
  dropped: number
  droppedStacks: number
  seconds: number
  whyNoJavascript?: string
}

/** Transparent huge pages. */
export interface HugePages {
  /** When the kernel makes huge pages: `always`, `madvise` or `never`. */
  mode?: string
  /** Bytes of the process's private memory in huge pages. */
  bytes: number
  /** Bytes of `bytes` in pages of zeros, estimated from a sample. Missing if the memory cannot be read. */
  zeros?: number
}

/** The program and the arguments for `execve`. */
export interface Launch {
  file: string
  /** The arguments, including `argv[0]`. */
  argv: Array<string>
}

/** The working directory, the search paths and the user of a command. */
export interface LaunchContext {
  cwd?: string | undefined
  path?: string | undefined
  libraryPath?: string | undefined
  uid?: number | undefined
  gid?: number | undefined
}

/** What is live on a backend. */
export interface Live {
  bytes: number
  buffers: number
}

/** A process's physical memory and its parts, in bytes. */
export interface Memory {
  rss: number
  parts: MemoryParts
  /** The own figures of this process's allocator. Missing for another process. */
  stats?: BackendStats
}

/**
 * The parts of a process's physical memory, in bytes. Each byte is in one part. If a part cannot be measured, it is missing,
 * and its memory is in another part.
 */
export interface MemoryParts {
  /**
   * V8's memory without its code: the heaps of the main thread and of all workers, WebAssembly memories, and resizable
   * `ArrayBuffer`s. Missing for a process without V8.
   */
  v8Heap?: number
  /** Code that was compiled at run time. The program's own code is in `mappedFiles`, but with `--use-largepages` it is here. */
  code: number
  /**
   * The contents of the calling thread's `ArrayBuffer`s and Buffers. They are in `malloc`'s memory and are subtracted from
   * it. Missing for another process. A buffer that was never written to has no physical memory: if `malloc`'s live blocks
   * are larger than its memory, the difference counts as such buffers.
   */
  arrayBuffers?: number
  /** Live blocks of `malloc`, without `arrayBuffers`. Free blocks in thread caches count as live. */
  mallocLive?: number
  /** The allocator's other memory: free memory that it keeps, rounding, and its own structures. */
  mallocCached?: number
  /**
   * All memory of `malloc` without `arrayBuffers`. This part replaces `mallocLive` and `mallocCached` if the allocator does
   * not count its live blocks (mimalloc, snmalloc), and for another process. For another process, it includes the
   * `ArrayBuffer`s, and glibc's blocks of 128 KiB and more are in `other`. Missing for an allocator that this package does
   * not know: its memory is in `other`.
   */
  malloc?: number
  /** The program, libraries, other mapped files, and memory that processes share. */
  mappedFiles: number
  /** The stacks of all threads. */
  stacks: number
  /** All other memory. */
  other: number
}

/**
 * An allocator. `allocate`, `reallocate` and `free` find their arguments in the three `numbers` that it was made with: passed
 * as arguments they would cost as much as the block. In the first one these functions leave the slot of the buffer that they
 * return, or why they return none: a number of `Refused`.
 */
export interface NativeAllocator {
  /** The numbers are bytes, alignment and flags of `AllocateFlag`. */
  allocate: () => ArrayBuffer | undefined
  /** The numbers are slot, bytes and flags. */
  reallocate: (buffer: ArrayBuffer) => ArrayBuffer | undefined
  /** The number is the slot. */
  free: (buffer: ArrayBuffer) => void
  /** Whether the slot is live and the buffer's. */
  holds: (buffer: ArrayBuffer, slot: number) => boolean
  child: (limit: number, quarantine: number, numbers: Float64Array) => NativeAllocator
  region: (bytes: number, debug: 0 | 1, numbers: Float64Array) => NativeRegion | Refused
  /** Bytes, high-water mark, bytes ever, allocations ever, buffers, bytes in quarantine, damaged blocks. */
  stats: () => Array<number>
  /** The slot and the size of each live buffer, one after another. */
  live: () => Array<number>
  /** Empties the quarantine, and frees the blocks that are kept for the next requests. */
  flush: () => void
  /** The same, once nothing more will be allocated here or by a child. */
  end: () => void
}

/**
 * A region. Offsets and sizes are in bytes. `allocate` and `free` find their arguments in the first two of the four `numbers`
 * that it was made with: passed as arguments they would cost as much as the block. The first number is `Damaged` of
 * `NoOffset` after a call that found a block which was written to after it was freed; the others are then its offset, its
 * size, and the byte in it.
 */
export interface NativeRegion {
  /** The whole range. */
  memory: ArrayBuffer
  /** So many bytes, at such an alignment. The first number is then an offset, or a number of `NoOffset`. */
  allocate: () => void
  /** A live block's offset, and the bytes that were asked for: nothing here checks them. */
  free: () => void
  /** With `debug`, looks at all blocks that are held back. */
  check: () => void
  /** False where the region cannot go on. */
  reset: () => boolean
  /** Ends the heap, and detaches the memory where that was not transferred. */
  dispose: (memory: ArrayBuffer) => void
}

/** The name that was probably meant by one that is not known. */
export declare function nearest(word: string, names: Array<string>): string | null

/** The cgroup that is nearest to its limit, and an error for each cgroup that cannot be read. */
export interface NearestLimit {
  usage?: CgroupUsage
  errors: Array<string>
}

/** In place of an offset. */
export declare enum NoOffset {
  /** The region has no room. */
  Full = -1,
  /** A limit of the allocator's is in the way. */
  Limit = -2,
  /** A block was written to after it was freed. */
  Damaged = -3,
}

/**
 * The kind of a note.
 *
 * - `heap-unreadable`: the right to read the process's memory is missing; the message names it
 * - `heap-in-part`: only a part of the heaps was read
 * - `cgroup-limit`: the process's cgroup, or one around it, has a limit
 * - `cgroup-near-limit`: the cgroup uses 80 % of its limit or more
 * - `swap`: memory is in swap
 * - `huge-pages`: memory is in transparent huge pages
 * - `preload-ignored`: the dynamic loader did not load a library that LD_PRELOAD names
 * - `many-arenas`: glibc has 16 arenas or more
 */
export type NoteCode = 'heap-unreadable' | 'heap-in-part' | 'cgroup-limit' | 'cgroup-near-limit' | 'swap' | 'huge-pages' | 'preload-ignored' | 'many-arenas'

/** The file that serves a process's `malloc`. */
export interface Owner {
  kind: OwnerKind
  /** The allocator's name: the backend's name for a shim, `glibc`, `musl` or any other name. */
  allocator?: string
  version?: string
  path: string
}

/**
 * What the file is that serves a process's `malloc`.
 *
 * - `shim`: a library of this package
 * - `foreign`: another allocator, or a program that exports a `malloc` of its own
 * - `libc`: the C library
 * - `static`: the program, which is statically linked and does not show its allocator
 */
export type OwnerKind = 'shim' | 'foreign' | 'libc' | 'static'

/**
 * The name of a preset: a set of options of an allocator.
 *
 * - `low-rss`: the allocator returns free memory to the system soon
 * - `balanced`: between `low-rss` and `throughput`; the default
 * - `throughput`: the allocator keeps free memory for later requests
 * - `none`: the allocator keeps its own defaults
 */
export type Preset = 'low-rss' | 'balanced' | 'throughput' | 'none'

/** One option in a preset. The key is the name in the allocator's own documentation. */
export interface PresetOption {
  key: string
  value: string
  /** The reason for the option in this preset. */
  reason: string
}

/** The options of a preset. Empty if the backend has no presets. */
export declare function presetOptions(backend: Backend, preset: Preset): Array<PresetOption>

/** Facts about an executable file. */
export interface Program {
  kind: ProgramKind
  /** For an ELF program, its dynamic loader. For a script, its interpreter. */
  interpreter?: string
  isPython: boolean
}

/** The kind of an executable file. */
export type ProgramKind = 'elf' | 'script' | 'unknown' | 'error'

/** A domain of Python's memory, or the arenas under pymalloc. */
export type PythonDomain = 'raw' | 'mem' | 'obj' | 'arena'

/** The domains, one by one. */
export interface PythonDomains {
  backend: Backend
  raw: boolean
  mem: boolean
  obj: boolean
  arena: boolean
  debug: boolean
  counters: boolean
}

/** The interpreter, as read back from it now. */
export interface PythonInfo {
  version: string
  freeThreaded: boolean
  executable: string
  libpython: string
  backend: Backend
  backendVersion?: string
  domains: Array<PythonDomain>
  /** Domains of which it cannot be told any more who serves them. */
  unknown: Array<PythonDomain>
  debug: boolean
  /** For each of the four domains, the counters in their order. */
  counters?: Array<Array<number>>
}

/** What a job is. */
export type PythonJob = 'exec' | 'eval' | 'call'

/** How a Python child is started, besides its domains. */
export interface PythonLaunch {
  /** The backend of the whole process. */
  malloc?: Backend | undefined
  preset?: Preset | undefined
  /** Single options of the allocator, over the preset and over the user's variables. */
  set: Array<AllocatorOption>
  children: Children
  /** The file for a heap profile of Python. */
  profile?: string | undefined
  /** The folder of the preloadable libraries. */
  folder: string
}

/** How the interpreter is to be started. */
export interface PythonOptions {
  libpython: string
  executable: string
  isolated: boolean
  deepBind: boolean
  /** The variables that were set for it, `name=value`, in order. */
  env: Array<string>
  /** As the hook's: a backend, then what is on. */
  config: string
}

/** The outcome of a job. A job that was called off before it began has none of the three. */
export interface PythonOutcome {
  /** The job's. */
  number: number
  value?: PythonValue
  exception?: [type: string, message: string, traceback: string]
  /** What the value is or contains that JavaScript has no equivalent for. */
  noEquivalent?: string
}

/** Why a function has no result. `No`, where a function has none, says that all is well. */
export declare enum Refused {
  No = 0,
  Limit = 1,
  OutOfMemory = 2,
  External = 3,
  NotAllocated = 4,
  Failed = 5,
  Unsupported = 6,
}

/** The result of a release: RSS before and after in bytes, and the duration. */
export interface Release {
  /** False if the allocator has no function that releases memory. The figures then mean nothing. */
  possible: boolean
  before: number
  after: number
  durationMs: number
}

/** How this process's allocator is set up. */
export interface Setup {
  /** The preset whose options are in force. Missing if other options have replaced some of them. */
  preset?: Preset
  /** The environment variables that gave options to the allocator. */
  options: Record<string, string>
}

/** How to switch a program. */
export interface SwitchOptions {
  backend: Backend
  preset?: Preset | undefined
  /** Single options of the allocator. They override the preset and the user's own variables. */
  set: Array<AllocatorOption>
  children: Children
  /** For `default`: also preload the library that proves that libc serves `malloc`. */
  probe: boolean
  /** The folder of the preloadable libraries. */
  folder: string
}

/** V8's own figures of this process, in bytes. */
export interface V8Figures {
  arrayBuffers: number
  heap: number
}

/**
 * The kind of a conclusion.
 *
 * - `allocator-retention`: the allocator keeps free memory that it could release
 * - `allocator-fragmentation`: the allocator's free memory lies between live blocks, so the allocator cannot release it
 * - `allocator-options`: an option makes the allocator keep freed memory for long
 * - `thp`: transparent huge pages hold memory that the program does not use
 * - `v8-heap`: V8's heap is the largest part
 * - `array-buffers`: the array buffers and Buffers are the largest part
 * - `native-live`: the live blocks of `malloc` are the largest part
 * - `mapped-files`: mapped files and shared memory are the largest part
 * - `stacks`: the stacks of threads are the largest part
 * - `small`: the process is small
 * - `unknown`: the reason is unknown
 */
export type VerdictCode = 'allocator-retention' | 'allocator-fragmentation' | 'allocator-options' | 'thp' | 'v8-heap' | 'array-buffers' | 'native-live' | 'mapped-files' | 'stacks' | 'small' | 'unknown'

export declare namespace linux {
  /** What a heap profile had at a moment. */
  export class HeapProfileMark {
    /** The number of the profile in this process. */
    get session(): number
  }
  /** Where one JavaScript thread gets the outcomes of its jobs. */
  export class PythonPort {
    /**
     * `callback` is called with what has arrived since the last time. `maxBuffer` is the most bytes that a buffer can have
     * here.
     */
    constructor(callback: (outcomes: Array<PythonOutcome>) => void, maxBuffer: number)
    /** Whether the port keeps its event loop alive: as long as something is to arrive. */
    hold(hold: boolean): void
    /**
     * Puts a job behind those that wait, and gives its number; nothing where no interpreter runs. `text` is the code or the
     * name, `orRepr` whether a result that has no equivalent comes as its `repr`.
     */
    submit(job: PythonJob, text: string, args: Array<PythonValue>, kwargs: PythonValue | undefined, orRepr: boolean): number | null
  }
  /**
   * Tells where a process's memory is, and whether its allocator is the reason. `v8` has V8's figures of this process, and is
   * missing for another process.
   */
  export function diagnose(pid: number, v8?: V8Figures | undefined | null): Promise<Diagnosis>
  /** The configuration as the hook reads it, unless it contradicts itself or does nothing. */
  export function encodePythonConfig(domains: PythonDomains): string
  /** The absolute path of the file that a command names. `what` is its name in an error message. */
  export function findProgram(command: string, context: LaunchContext, what: string): string
  /** What has changed in the heap profile since it was marked: a gzipped file in the format of pprof. */
  export function heapProfileSince(mark: linux.HeapProfileMark): Promise<Uint8Array>
  /** How many slots of this process's modules hold a function of the heap profile. */
  export function heapProfileSlots(): number
  /** The state of the running heap profile. Nothing if none runs. */
  export function heapProfileState(): HeapProfileState | null
  /** Inspects an executable file. */
  export function inspectProgram(path: string): Program
  /** Notes what the running heap profile has. */
  export function markHeapProfile(): Promise<HeapProfileMark>
  /** The folders of the cgroups that count this process's memory: first the process's own cgroup, then each cgroup around it. */
  export function memoryCgroups(): Array<string>
  /** Finds the cgroup that is nearest to its limit. */
  export function nearestLimit(folders: Array<string>): Promise<NearestLimit>
  /** The file that serves this process's `malloc`. */
  export function ownerHere(): Owner | null
  /** The file that serves another process's `malloc`. */
  export function ownerOf(pid: number): Owner
  /** The user of the process at the other end of a unix socket, which is given by its file descriptor. Nothing if there is none. */
  export function peerUser(socket: number): number | null
  /** The program of a command and its arguments. */
  export function prepareLaunch(backend: Backend, folder: string, command: string, args: Array<string>, context: LaunchContext): Launch
  /** The program of a Python child and its arguments. */
  export function preparePython(malloc: Backend | undefined | null, folder: string, python: string, args: Array<string>, context: LaunchContext): Launch
  /** What makes the environment one in which a Python child has its domains. */
  export function pythonEnvironment(config: string, unset: boolean, args: Array<string>, launch: PythonLaunch, env: Record<string, string>): EnvironmentDiff
  /** The interpreter that runs in this process, if one does. */
  export function pythonInfo(): PythonInfo | null
  /** Calls a job off. */
  export function pythonInterrupt(number: number): void
  /** Starts the interpreter of this process, or finds that it runs. */
  export function pythonStart(options: PythonOptions): Promise<void>
  /** Reads a configuration file. `folder` is the folder of the preloadable libraries. */
  export function readConfigFile(file: string, folder: string): ConfigFile
  /**
   * Reads a process's physical memory. `allocator` is the name of the allocator that serves its `malloc`. `v8` has V8's figures
   * of this process, and is missing for another process.
   */
  export function readMemory(pid: number, allocator: string, v8?: V8Figures | undefined | null): Promise<Memory>
  /** Makes this process's allocator return its free memory to the system. */
  export function releaseMemory(): Promise<Release>
  /**
   * Replaces this process's program. Returns only with an error. The arguments have the form of `/proc/self/cmdline`: bytes,
   * each argument ended by a zero. The environment is this process's, with the changes in `environment`. Under npx the
   * program gets SIGTERM when the parent ends.
   */
  export function replaceProcess(program: string, args: Uint8Array, environment?: Record<string, string> | undefined | null): never
  /**
   * How this process's allocator is set up, by the environment with which the process was started. Nothing if the process has
   * overwritten this environment.
   */
  export function setupHere(allocator: string, backend?: Backend | undefined | null): Setup | null
  /** The running heap profile so far: a gzipped file in the format of pprof. */
  export function snapshotHeapProfile(): Promise<Uint8Array>
  /** Starts a heap profile of this process. */
  export function startHeapProfile(settings: HeapProfileSettings): void
  /** Stops the heap profile. The promise is for its file. */
  export function stopHeapProfile(): Promise<Uint8Array>
  /** The same at once, for a process that is about to end. */
  export function stopHeapProfileNow(): Uint8Array
  /** The changes that make an environment switch a program. */
  export function switchedEnvironment(options: SwitchOptions, env: Record<string, string>): EnvironmentDiff
  /**
   * The reason why this process's allocator cannot release memory, or nothing. `owner` is the file that serves `malloc`. A static
   * program's allocator has no name.
   */
  export function whyNoRelease(owner: string, allocator?: string | undefined | null): string | null
  /** The reason why `LD_PRELOAD` cannot name a file, or nothing. */
  export function whyNotPreloadable(file: string): string | null
  /** The reason why the backend cannot serve a whole process, or nothing. */
  export function whyNotProcess(backend: Backend, folder: string): string | null
  /** The reason why the loader would ignore a library, or nothing. */
  export function whyNotUsable(file: string): string | null
  /** What takes the variables out of the environment by which Python would discard the configuration. */
  export function withoutPythonOverride(config: string, unset: boolean, env: Record<string, string>): EnvironmentDiff
}
