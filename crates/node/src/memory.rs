use std::time::Instant;

use malloc_backend::{Default as Active, RawAllocator, Stats};
use malloc_backend_process::{self as process, MemoryMap};
use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Result, Task};
use napi_derive::napi;

use crate::backend::AllocatorStats;

/// A process's physical memory by its mappings, in bytes; or the system's error number.
#[napi(object)]
pub struct MemoryOrError {
    pub errno: Option<i32>,
    pub rss: f64,
    pub v8: f64,
    pub code: f64,
    pub files: f64,
    pub stacks: f64,
    pub heap: f64,
    pub arenas: f64,
    pub reserved: f64,
    pub private: f64,
    pub other: f64,
    /// What this process's `malloc` tells of itself; absent for another process.
    pub stats: Option<AllocatorStats>,
    /// Of what is mapped the blocks that glibc has mapped for themselves.
    pub mapped_blocks: Option<f64>,
}

/// Reads a process's memory map: of this one on a thread of the pool, for the kernel takes its time.
pub struct ReadMemory {
    pid: u32,
}

pub struct Memory {
    map: std::io::Result<MemoryMap>,
    stats: Option<(Stats, Option<u64>)>,
}

impl Task for ReadMemory {
    type Output = Memory;
    type JsValue = MemoryOrError;

    fn compute(&mut self) -> Result<Memory> {
        // The statistics first: what they count then and is freed before the map is read is less wrong than memory
        // without an owner.
        let stats = (self.pid == std::process::id()).then(Active::stats_and_mapped_blocks);
        Ok(Memory { map: process::memory_map(self.pid), stats })
    }

    fn resolve(&mut self, _: Env, Memory { map, stats }: Memory) -> Result<MemoryOrError> {
        let errno =
            map.as_ref().err().map(|error| error.raw_os_error().unwrap_or(crate::process::libc_eio()));
        let map = map.unwrap_or_default();
        Ok(MemoryOrError {
            errno,
            rss: map.rss as f64,
            v8: map.v8 as f64,
            code: map.code as f64,
            files: map.files as f64,
            stacks: map.stacks as f64,
            heap: map.heap as f64,
            arenas: map.arenas as f64,
            reserved: map.reserved as f64,
            private: map.private as f64,
            other: map.other as f64,
            mapped_blocks: stats.and_then(|(_, mapped_blocks)| mapped_blocks).map(|bytes| bytes as f64),
            stats: stats.map(|(stats, _)| stats.into()),
        })
    }
}

/// What a process's physical memory is.
#[napi]
pub fn read_memory(pid: u32) -> AsyncTask<ReadMemory> {
    AsyncTask::new(ReadMemory { pid })
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
#[napi]
pub fn release_memory() -> AsyncTask<ReleaseMemory> {
    let task = ReleaseMemory { before: resident(), started: Instant::now() };
    Active::collect_thread(false);
    AsyncTask::new(task)
}

fn resident() -> f64 {
    process::resident(std::process::id()).unwrap_or_default() as f64
}
