use std::time::Instant;

use malloc_backend::{Default as Active, RawAllocator};
use malloc_backend_launch::{Refusal, look};
use malloc_backend_process::{self as process, MemoryMap, Parts, Told, V8};
use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Result, Task};
use napi_derive::napi;

use crate::backend::AllocatorStats;

/// A process's physical memory by its parts, in bytes; or the code and the message of a refusal.
#[napi(object)]
#[derive(Default)]
pub struct Memory {
    pub failure: Option<String>,
    pub message: Option<String>,
    pub rss: Option<f64>,
    pub parts: Option<MemoryParts>,
    /// What this process's `malloc` tells of itself; absent for another process.
    pub stats: Option<AllocatorStats>,
}

/// What crates/process/src/parts.rs says of each.
#[napi(object)]
pub struct MemoryParts {
    pub v8_heap: Option<f64>,
    pub code: f64,
    pub array_buffers: Option<f64>,
    pub malloc_live: Option<f64>,
    pub malloc_cached: Option<f64>,
    pub malloc: Option<f64>,
    pub mapped_files: f64,
    pub stacks: f64,
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

    fn resolve(&mut self, _: Env, read: Self::Output) -> Result<Memory> {
        Ok(match read {
            Ok((map, told)) => Memory {
                rss: Some(map.rss as f64),
                parts: Some(Parts::new(&map, &self.allocator, &told).into()),
                stats: told.v8.map(|_| told.stats.into()),
                ..Memory::default()
            },
            Err(error) => {
                let Refusal { code, message } = look::why_not_seen(self.pid, &error);
                Memory {
                    failure: Some(code.as_str().to_owned()),
                    message: Some(message),
                    ..Memory::default()
                }
            }
        })
    }
}

/// What a process's physical memory is, of which that allocator serves `malloc`; `v8` is this process's, and absent for
/// another one.
#[napi]
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
