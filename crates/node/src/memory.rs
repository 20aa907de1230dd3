use std::path::PathBuf;
use std::time::Instant;

use malloc_backend::{Default as Active, RawAllocator};
use malloc_backend_launch::look;
use malloc_backend_process::{self as process, MemoryMap, Parts, Told, V8};
use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Result, Task};
use napi_derive::napi;

use crate::backend::BackendStats;
use crate::errors::{refused, rejection};

/// A process's physical memory and its parts, in bytes.
#[napi(object)]
pub struct Memory {
    pub rss: f64,
    pub parts: MemoryParts,
    /// The own figures of this process's allocator. Missing for another process.
    pub stats: Option<BackendStats>,
}

/// The parts of a process's physical memory, in bytes. Each byte is in one part. If a part cannot be measured, it is missing,
/// and its memory is in another part.
#[napi(object)]
pub struct MemoryParts {
    /// V8's memory without its code: the heaps of the main thread and of all workers, WebAssembly memories, and resizable
    /// `ArrayBuffer`s. Missing for a process without V8.
    pub v8_heap: Option<f64>,
    /// Code that was compiled at run time. The program's own code is in `mappedFiles`, but with `--use-largepages` it is here.
    pub code: f64,
    /// The contents of the calling thread's `ArrayBuffer`s and Buffers. They are in `malloc`'s memory and are subtracted from
    /// it. Missing for another process. A buffer that was never written to has no physical memory: if `malloc`'s live blocks
    /// are larger than its memory, the difference counts as such buffers.
    pub array_buffers: Option<f64>,
    /// Live blocks of `malloc`, without `arrayBuffers`. Free blocks in thread caches count as live.
    pub malloc_live: Option<f64>,
    /// The allocator's other memory: free memory that it keeps, rounding, and its own structures.
    pub malloc_cached: Option<f64>,
    /// All memory of `malloc` without `arrayBuffers`. This part replaces `mallocLive` and `mallocCached` if the allocator does
    /// not count its live blocks (mimalloc, snmalloc), and for another process. For another process, it includes the
    /// `ArrayBuffer`s, and glibc's blocks of 128 KiB and more are in `other`. Missing for an allocator that this package does
    /// not know: its memory is in `other`.
    pub malloc: Option<f64>,
    /// The program, libraries, other mapped files, and memory that processes share.
    pub mapped_files: f64,
    /// The stacks of all threads.
    pub stacks: f64,
    /// All other memory.
    pub other: f64,
}

impl From<Parts> for MemoryParts {
    fn from(parts: Parts) -> Self {
        let number = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        Self {
            v8_heap: number(parts.v8_heap),
            code: parts.code as f64,
            array_buffers: number(parts.array_buffers),
            malloc_live: number(parts.malloc_live),
            malloc_cached: number(parts.malloc_cached),
            malloc: number(parts.malloc),
            mapped_files: parts.mapped_files as f64,
            stacks: parts.stacks as f64,
            other: parts.other as f64,
        }
    }
}

/// V8's own figures of this process, in bytes.
#[napi(object)]
pub struct V8Figures {
    pub array_buffers: f64,
    pub heap: f64,
}

impl From<V8Figures> for V8 {
    fn from(V8Figures { array_buffers, heap }: V8Figures) -> Self {
        Self { array_buffers: array_buffers as u64, heap: heap as u64 }
    }
}

/// Reads a process's memory map on a thread of libuv's pool, because the kernel needs milliseconds for it.
pub struct ReadMemory {
    pid: u32,
    allocator: String,
    /// Only for this process.
    v8: Option<V8>,
}

#[napi]
impl Task for ReadMemory {
    type Output = std::io::Result<(MemoryMap, Told)>;
    type JsValue = Memory;

    fn compute(&mut self) -> Result<Self::Output> {
        // The statistics first: what they count then and is freed before the map is read is less wrong than memory
        // without an owner.
        let mut told = Told { v8: self.v8, ..Told::default() };
        if self.v8.is_some() {
            (told.stats, told.mapped_blocks) = Active::stats_and_mapped_blocks();
        }
        Ok(process::memory_map(self.pid).map(|map| (map, told)))
    }

    fn resolve(&mut self, env: Env, read: Self::Output) -> Result<Memory> {
        let (map, told) =
            read.map_err(|error| rejection(&env, refused(look::why_not_seen(self.pid, &error))))?;
        Ok(Memory {
            rss: map.rss as f64,
            parts: Parts::new(&map, &self.allocator, &told).into(),
            stats: told.v8.map(|_| told.stats.into()),
        })
    }
}

/// Reads a process's physical memory. `allocator` is the name of the allocator that serves its `malloc`. `v8` has V8's figures
/// of this process, and is missing for another process.
#[napi(namespace = "linux")]
pub fn read_memory(pid: u32, allocator: String, v8: Option<V8Figures>) -> AsyncTask<ReadMemory> {
    AsyncTask::new(ReadMemory { pid, allocator, v8: v8.map(V8::from) })
}

/// A cgroup's memory usage and limit, in bytes.
#[napi(object)]
pub struct CgroupUsage {
    /// The cgroup's folder.
    pub folder: String,
    /// The usage without the page cache that was not used recently.
    pub used: f64,
    /// The smallest limit of the cgroup.
    pub limit: f64,
}

impl From<process::CgroupUsage> for CgroupUsage {
    fn from(process::CgroupUsage { folder, used, limit }: process::CgroupUsage) -> Self {
        Self { folder: folder.to_string_lossy().into_owned(), used: used as f64, limit: limit as f64 }
    }
}

/// The folders of the cgroups that count this process's memory: first the process's own cgroup, then each cgroup around it.
#[napi(namespace = "linux")]
pub fn memory_cgroups() -> Vec<String> {
    let folders = process::memory_cgroups(std::process::id());
    folders.into_iter().map(|folder| folder.to_string_lossy().into_owned()).collect()
}

/// The cgroup that is nearest to its limit, and an error for each cgroup that cannot be read.
#[napi(object)]
pub struct NearestLimit {
    pub usage: Option<CgroupUsage>,
    pub errors: Vec<String>,
}

/// Reads the usage of cgroups on a thread of libuv's pool.
pub struct FindNearestLimit {
    folders: Vec<PathBuf>,
}

#[napi]
impl Task for FindNearestLimit {
    type Output = (Option<process::CgroupUsage>, Vec<process::CgroupUnreadable>);
    type JsValue = NearestLimit;

    fn compute(&mut self) -> Result<Self::Output> {
        Ok(process::nearest_limit(&self.folders))
    }

    fn resolve(&mut self, _: Env, (usage, errors): Self::Output) -> Result<NearestLimit> {
        let errors = errors.iter().map(ToString::to_string).collect();
        Ok(NearestLimit { usage: usage.map(CgroupUsage::from), errors })
    }
}

/// Finds the cgroup that is nearest to its limit.
#[napi(namespace = "linux")]
pub fn nearest_limit(folders: Vec<String>) -> AsyncTask<FindNearestLimit> {
    AsyncTask::new(FindNearestLimit { folders: folders.into_iter().map(PathBuf::from).collect() })
}

/// The result of a release: RSS before and after in bytes, and the duration.
#[napi(object)]
pub struct Release {
    /// False if the allocator has no function that releases memory. The figures then mean nothing.
    pub possible: bool,
    pub before: f64,
    pub after: f64,
    pub duration_ms: f64,
}

/// Releases free memory on a thread of libuv's pool. JavaScript's thread first hands over the memory that only this thread can
/// reach, and at the end releases the rest of it.
pub struct ReleaseMemory {
    before: f64,
    started: Instant,
}

#[napi]
impl Task for ReleaseMemory {
    type Output = bool;
    type JsValue = Release;

    fn compute(&mut self) -> Result<bool> {
        Ok(Active::release().is_ok())
    }

    fn resolve(&mut self, _: Env, possible: bool) -> Result<Release> {
        if possible {
            Active::collect_thread(true);
        }
        let duration_ms = self.started.elapsed().as_secs_f64() * 1e3;
        Ok(Release { possible, before: self.before, after: resident(), duration_ms })
    }
}

/// Makes this process's allocator return its free memory to the system.
#[napi(namespace = "linux")]
pub fn release_memory() -> AsyncTask<ReleaseMemory> {
    let task = ReleaseMemory { before: resident(), started: Instant::now() };
    Active::collect_thread(false);
    AsyncTask::new(task)
}

fn resident() -> f64 {
    process::resident(std::process::id()).unwrap_or_default() as f64
}

/// The reason why this process's allocator cannot release memory, or nothing. `owner` is the file that serves `malloc`. A static
/// program's allocator has no name.
#[napi(namespace = "linux")]
pub fn why_no_release(owner: String, allocator: Option<String>) -> Option<String> {
    look::why_no_release(allocator.as_deref(), &owner)
}
