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

/** Which memory allocator serves. */
export type Backend = 'default' | 'jemalloc' | 'mimalloc' | 'snmalloc' | 'rust'

/** A backend as it is in this build and on this system. */
export interface BackendInBuild {
  name: Backend
  /** Why it cannot serve, if it cannot. */
  unavailable?: string
  version?: string
}

/** Has the backend give free memory back to the system. False where it has no way to. */
export declare function backendRelease(backend: Backend): boolean

/** The five backends. */
export declare function backends(): Array<BackendInBuild>

/** The backend's statistics. */
export declare function backendStats(backend: Backend): BackendStats

/** What a backend can tell of itself, in bytes, for the whole process; what it cannot tell is absent. */
export interface BackendStats {
  /** In live blocks. */
  allocated?: number
  /** In pages that hold live blocks. */
  active?: number
  /** The backend's own structures. */
  metadata?: number
  /** In physical memory. */
  resident?: number
  /** Mapped and usable. */
  mapped?: number
  /** Address space that is kept without memory behind it. */
  retained?: number
}

/**
 * Whether the programs that a program starts are switched too, by inheritance (`inherit`), or run as if it had not been
 * (`none`).
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

/** What is to change in an environment. */
export interface EnvironmentDiff {
  set: Record<string, string>
  unset: Array<string>
  /** A word to whoever asked for it. */
  notice?: string
}

/** The backend that this addon's Rust global allocator stands on: `default` is the system's. */
export declare function globalAllocator(): Backend

/** What to hand to `execve`. */
export interface Launch {
  file: string
  /** With `argv[0]`. */
  argv: Array<string>
}

/** Who starts a command, and where. */
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

/** A process's physical memory by its parts, in bytes. */
export interface Memory {
  rss: number
  parts: MemoryParts
  /** What this process's `malloc` tells of itself; absent for another process. */
  stats?: BackendStats
}

/**
 * The parts of a process's physical memory, in bytes. Each byte is in one part; what cannot be known is absent, and the
 * memory is then in the part that is named.
 */
export interface MemoryParts {
  /**
   * V8's memory but for its code: the heaps of the main thread and of all workers, WebAssembly memories, and resizable
   * array buffers. Absent for a process without V8.
   */
  v8Heap?: number
  /** Code that was compiled at run time. The program's own is in `mappedFiles`, but with `--use-largepages` here. */
  code: number
  /**
   * The contents of this thread's array buffers and with them Buffers, which lie in `malloc`'s memory and are in no
   * other part. Absent for another process. A buffer that was never written to has no memory: where `malloc`'s
   * blocks are larger than its memory, the difference is taken to be of buffers.
   */
  arrayBuffers?: number
  /** In live blocks of `malloc` that are no array buffers. What threads keep for their next request counts as live. */
  mallocLive?: number
  /** `malloc`'s memory besides its live blocks: free and kept, lost to rounding, and its own structures. */
  mallocCached?: number
  /**
   * All of `malloc`'s memory that is no array buffer, in place of `mallocLive` and `mallocCached`: where the allocator
   * does not count its live blocks (mimalloc, snmalloc), and for another process, with its array buffers. There glibc's blocks of 128 KiB and
   * more, which are mapped for themselves, are in `other`. Absent for allocators that this package does not know:
   * then it is in `other`.
   */
  malloc?: number
  /** Programs, libraries and other files that are mapped, and memory shared between processes. */
  mappedFiles: number
  /** The stacks of all threads. */
  stacks: number
  /** The rest. */
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

/** In place of an offset. */
export declare enum NoOffset {
  /** The region has no room. */
  Full = -1,
  /** A limit of the allocator's is in the way. */
  Limit = -2,
  /** A block was written to after it was freed. */
  Damaged = -3,
}

/** What serves a process's `malloc`. */
export interface Owner {
  kind: OwnerKind
  /** The allocator's name: a backend's for a shim, `glibc` or `musl`, or any other. */
  allocator?: string
  version?: string
  path: string
}

/**
 * What kind of thing serves a process's `malloc`.
 *
 * - `shim`: a library of this package
 * - `foreign`: another allocator, preloaded or linked
 * - `libc`: the C library's
 * - `static`: the program is static and does not show what it contains
 */
export type OwnerKind = 'shim' | 'foreign' | 'libc' | 'static'

/**
 * What an allocator is tuned for. `none` is the allocator with its own defaults.
 *
 * - `low-rss`: free memory goes back to the system soon
 * - `balanced`: in between; the default
 * - `throughput`: free memory is kept for the next request
 */
export type Preset = 'low-rss' | 'balanced' | 'throughput' | 'none'

/** One option of an allocator, under the name that the allocator's own documentation has. */
export interface PresetOption {
  key: string
  value: string
  /** Why it is in the preset. */
  reason: string
}

/** The options of a preset; none where the backend has no presets. */
export declare function presetOptions(backend: Backend, preset: Preset): Array<PresetOption>

/** What stands in a file that can be executed. */
export interface Program {
  kind: ProgramKind
  /** Of an ELF program its dynamic loader, of a script the program that reads it. */
  interpreter?: string
  isPython: boolean
}

/** What kind of file it is that is to be executed. */
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

/** What a release came to: RSS before and after in bytes, and how long it took. */
export interface Release {
  /** False where the allocator has no way to give memory back; the figures then mean nothing. */
  possible: boolean
  before: number
  after: number
  durationMs: number
}

/** How a program is to be switched. */
export interface SwitchOptions {
  backend: Backend
  preset?: Preset | undefined
  /** Single options of the allocator, over the preset and over the user's variables. */
  set: Array<AllocatorOption>
  children: Children
  /** For `default`: with the library that proves that libc owns `malloc`. */
  probe: boolean
  /** The folder of the preloadable libraries. */
  folder: string
}

/** What V8 tells of this process, in bytes. */
export interface V8Figures {
  arrayBuffers: number
  heap: number
}

export declare namespace linux {
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
  /** The configuration as the hook reads it, unless it contradicts itself or does nothing. */
  export function encodePythonConfig(domains: PythonDomains): string
  /** The absolute path of the file that a command names; `what` is what a message calls it. */
  export function findProgram(command: string, context: LaunchContext, what: string): string
  /** Looks into a program file. */
  export function inspectProgram(path: string): Program
  /** Whose `malloc` this process runs on. */
  export function ownerHere(): Owner | null
  /** Whose `malloc` another process runs on. */
  export function ownerOf(pid: number): Owner
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
   * What a process's physical memory is, of which that allocator serves `malloc`; `v8` is this process's, and absent for
   * another one.
   */
  export function readMemory(pid: number, allocator: string, v8?: V8Figures | undefined | null): Promise<Memory>
  /** Gives memory that is free within this process's `malloc` back to the system. */
  export function releaseMemory(): Promise<Release>
  /**
   * Replaces this process's program. Returns only with an error. The arguments are as in `/proc/self/cmdline`: bytes, each
   * ended by a zero. The environment is this process's, but for what is other in that which is given. Under npx the program
   * gets SIGTERM when the parent ends.
   */
  export function replaceProcess(program: string, args: Uint8Array, environment?: Record<string, string> | undefined | null): never
  /** What makes the environment one that switches a program. */
  export function switchedEnvironment(options: SwitchOptions, env: Record<string, string>): EnvironmentDiff
  /**
   * Why this process's `malloc`, which that file serves, cannot give memory back on request. Without a name: of a static
   * program.
   */
  export function whyNoRelease(owner: string, allocator?: string | undefined | null): string | null
  /** Why the loader cannot be pointed at a file, if it cannot. */
  export function whyNotPreloadable(file: string): string | null
  /** Why the backend cannot serve a whole process, if it cannot. */
  export function whyNotProcess(backend: Backend, folder: string): string | null
  /** Why the loader would go on without a library, if it would. */
  export function whyNotUsable(file: string): string | null
  /** What takes the variables out of the environment by which Python would discard the configuration. */
  export function withoutPythonOverride(config: string, unset: boolean, env: Record<string, string>): EnvironmentDiff
}
