use std::time::Instant;

use malloc_backend::{Default as Active, RawAllocator};
use malloc_backend_launch::look;
use malloc_backend_process::{self as process, MemoryMap, Parts, Told, V8};
use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Result, Task};
use napi_derive::napi;

use crate::backend::BackendStats;
use crate::errors::{refused, rejection};

/// A process's physical memory by its parts, in bytes.
#[napi(object)]
pub struct Memory {
    pub rss: f64,
    pub parts: MemoryParts,
    /// What this process's `malloc` tells of itself; absent for another process.
    pub stats: Option<BackendStats>,
}

/// The parts of a process's physical memory, in bytes. Each byte is in one part; what cannot be known is absent, and the
/// memory is then in the part that is named.
#[napi(object)]
pub struct MemoryParts {
    /// V8's memory but for its code: the heaps of the main thread and of all workers, WebAssembly memories, and resizable
    /// array buffers. Absent for a process without V8.
    pub v8_heap: Option<f64>,
    /// Code that was compiled at run time. The program's own is in `mappedFiles`, but with `--use-largepages` here.
    pub code: f64,
    /// The contents of this thread's array buffers and with them Buffers, which lie in `malloc`'s memory and are in no
    /// other part. Absent for another process. A buffer that was never written to has no memory: where `malloc`'s
    /// blocks are larger than its memory, the difference is taken to be of buffers.
    pub array_buffers: Option<f64>,
    /// In live blocks of `malloc` that are no array buffers. What threads keep for their next request counts as live.
    pub malloc_live: Option<f64>,
    /// `malloc`'s memory besides its live blocks: free and kept, lost to rounding, and its own structures.
    pub malloc_cached: Option<f64>,
    /// All of `malloc`'s memory that is no array buffer, in place of `mallocLive` and `mallocCached`: where the allocator
    /// does not count its live blocks (mimalloc, snmalloc), and for another process, with its array buffers. There glibc's blocks of 128 KiB and
    /// more, which are mapped for themselves, are in `other`. Absent for allocators that this package does not know:
    /// then it is in `other`.
    pub malloc: Option<f64>,
    /// Programs, libraries and other files that are mapped, and memory shared between processes.
    pub mapped_files: f64,
    /// The stacks of all threads.
    pub stacks: f64,
    /// The rest.
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

/// What V8 tells of this process, in bytes.
#[napi(object)]
pub struct V8Figures {
    pub array_buffers: f64,
    pub heap: f64,
}

/// Reads a process's memory map: of this one on a thread of the pool, for the kernel takes its time.
pub struct ReadMemory {
    pid: u32,
    allocator: String,
    /// Of this process.
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

/// What a process's physical memory is, of which that allocator serves `malloc`; `v8` is this process's, and absent for
/// another one.
#[napi(namespace = "linux")]
pub fn read_memory(pid: u32, allocator: String, v8: Option<V8Figures>) -> AsyncTask<ReadMemory> {
    let v8 = v8.map(|v8| V8 { array_buffers: v8.array_buffers as u64, heap: v8.heap as u64 });
    AsyncTask::new(ReadMemory { pid, allocator, v8 })
}

/// What a release came to: RSS before and after in bytes, and how long it took.
#[napi(object)]
pub struct Release {
    /// False where the allocator has no way to give memory back; the figures then mean nothing.
    pub possible: bool,
    pub before: f64,
    pub after: f64,
    pub duration_ms: f64,
}

/// Gives free memory back on a thread of the pool. What only the thread of JavaScript can reach it hands on before, and
/// gives back itself what is left of it after.
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

/// Gives memory that is free within this process's `malloc` back to the system.
#[napi(namespace = "linux")]
pub fn release_memory() -> AsyncTask<ReleaseMemory> {
    let task = ReleaseMemory { before: resident(), started: Instant::now() };
    Active::collect_thread(false);
    AsyncTask::new(task)
}

fn resident() -> f64 {
    process::resident(std::process::id()).unwrap_or_default() as f64
}

/// Why this process's `malloc`, which that file serves, cannot give memory back on request. Without a name: of a static
/// program.
#[napi(namespace = "linux")]
pub fn why_no_release(owner: String, allocator: Option<String>) -> Option<String> {
    look::why_no_release(allocator.as_deref(), &owner)
}
