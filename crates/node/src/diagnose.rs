use std::collections::BTreeMap;

use malloc_backend::Default as Active;
use malloc_backend_diagnose::{self as diagnose, Own};
use malloc_backend_launch::{Refusal, look};
use malloc_backend_process::{V8, owner_here};
use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Result, Task};
use napi_derive::napi;

use crate::errors::{refused, rejection};
use crate::memory::{CgroupUsage, MemoryParts, V8Figures};

/// The kind of a conclusion.
///
/// - `allocator-retention`: the allocator keeps free memory that it could release
/// - `allocator-fragmentation`: the allocator's free memory lies between live blocks, so the allocator cannot release it
/// - `allocator-options`: an option makes the allocator keep freed memory for long
/// - `thp`: transparent huge pages hold memory that the program does not use
/// - `v8-heap`: V8's heap is the largest part
/// - `array-buffers`: the array buffers and Buffers are the largest part
/// - `native-live`: the live blocks of `malloc` are the largest part
/// - `mapped-files`: mapped files and shared memory are the largest part
/// - `stacks`: the stacks of threads are the largest part
/// - `small`: the process is small
/// - `unknown`: the reason is unknown
#[napi(string_enum = "kebab-case")]
pub enum VerdictCode {
    AllocatorRetention,
    AllocatorFragmentation,
    AllocatorOptions,
    Thp,
    #[napi(value = "v8-heap")]
    V8Heap,
    ArrayBuffers,
    NativeLive,
    MappedFiles,
    Stacks,
    Small,
    Unknown,
}

impl From<diagnose::VerdictCode> for VerdictCode {
    fn from(code: diagnose::VerdictCode) -> Self {
        use diagnose::VerdictCode as Code;
        match code {
            Code::AllocatorRetention => Self::AllocatorRetention,
            Code::AllocatorFragmentation => Self::AllocatorFragmentation,
            Code::AllocatorOptions => Self::AllocatorOptions,
            Code::Thp => Self::Thp,
            Code::V8Heap => Self::V8Heap,
            Code::ArrayBuffers => Self::ArrayBuffers,
            Code::NativeLive => Self::NativeLive,
            Code::MappedFiles => Self::MappedFiles,
            Code::Stacks => Self::Stacks,
            Code::Small => Self::Small,
            Code::Unknown => Self::Unknown,
        }
    }
}

/// The conclusion of a diagnosis.
#[napi(object)]
pub struct DiagnosisVerdict {
    /// The kind of the conclusion. The codes are stable.
    pub code: VerdictCode,
    /// The conclusion as a sentence with figures.
    pub sentence: String,
    /// A command to try.
    #[napi(js_name = "try")]
    pub command: Option<String>,
    /// The most bytes that `try` can save. Missing if this is unknown.
    pub saves_at_most: Option<f64>,
}

/// glibc's heaps, read from outside, in bytes. Blocks that threads (tcache) and fastbins keep for the next request are not
/// free.
#[napi(object)]
pub struct GlibcHeap {
    /// The number of arenas.
    pub arenas: f64,
    /// Address space.
    pub size: f64,
    /// Physical memory.
    pub resident: f64,
    /// Free memory, in physical memory or not. In `mallinfo2` this is `fordblks` - `fsmblks`.
    pub free: f64,
    /// Free memory in physical memory.
    pub free_resident: f64,
    /// The part of `freeResident` in whole pages: `malloc_trim` can release no more.
    pub free_pages: f64,
    /// The number of large blocks that have a mapping each.
    pub mapped_blocks: f64,
    /// The physical memory of these blocks.
    pub mapped_resident: f64,
    /// The share of the heaps that could be read, 0 to 1.
    pub read: f64,
    /// True if only a sample was read, and the figures are estimates.
    pub sampled: bool,
}

/// Transparent huge pages.
#[napi(object)]
pub struct HugePages {
    /// When the kernel makes huge pages: `always`, `madvise` or `never`.
    pub mode: Option<String>,
    /// Bytes of the process's private memory in huge pages.
    pub bytes: f64,
    /// Bytes of `bytes` in pages of zeros, estimated from a sample. Missing if the memory cannot be read.
    pub zeros: Option<f64>,
}

/// The kind of a note.
///
/// - `heap-unreadable`: the right to read the process's memory is missing; the message names it
/// - `heap-in-part`: only a part of the heaps was read
/// - `cgroup-limit`: the process's cgroup, or one around it, has a limit
/// - `cgroup-near-limit`: the cgroup uses 80 % of its limit or more
/// - `swap`: memory is in swap
/// - `huge-pages`: memory is in transparent huge pages
/// - `preload-ignored`: the dynamic loader did not load a library that LD_PRELOAD names
/// - `many-arenas`: glibc has 16 arenas or more
#[napi(string_enum = "kebab-case")]
pub enum NoteCode {
    HeapUnreadable,
    HeapInPart,
    CgroupLimit,
    CgroupNearLimit,
    Swap,
    HugePages,
    PreloadIgnored,
    ManyArenas,
}

impl From<diagnose::NoteCode> for NoteCode {
    fn from(code: diagnose::NoteCode) -> Self {
        use diagnose::NoteCode as Code;
        match code {
            Code::HeapUnreadable => Self::HeapUnreadable,
            Code::HeapInPart => Self::HeapInPart,
            Code::CgroupLimit => Self::CgroupLimit,
            Code::CgroupNearLimit => Self::CgroupNearLimit,
            Code::Swap => Self::Swap,
            Code::HugePages => Self::HugePages,
            Code::PreloadIgnored => Self::PreloadIgnored,
            Code::ManyArenas => Self::ManyArenas,
        }
    }
}

/// A fact besides the conclusion.
#[napi(object)]
pub struct DiagnosisNote {
    pub code: NoteCode,
    pub message: String,
}

/// Where a process's physical memory is, and the conclusion. Sizes are in bytes.
#[napi(object)]
pub struct Diagnosis {
    pub pid: f64,
    /// The allocator that serves the process's `malloc`, as in `activeBackend()`.
    pub allocator: String,
    /// The conclusion.
    pub verdict: DiagnosisVerdict,
    /// Physical memory.
    pub rss: f64,
    /// Memory in swap, which is not in `rss`.
    pub swap: f64,
    /// The parts of `rss`, as in `memory()`. If `heap` is there, `mallocLive` and `mallocCached` are known for another process,
    /// too.
    pub parts: MemoryParts,
    /// glibc's heaps. Missing if another allocator serves `malloc`, or if the right to read the memory is missing.
    pub heap: Option<GlibcHeap>,
    /// The process's cgroup that is nearest to its limit. Missing if no cgroup has a limit.
    pub cgroup: Option<CgroupUsage>,
    pub huge_pages: HugePages,
    /// The environment variables that gave options to the allocator. Missing if the process has overwritten its environment.
    pub options: Option<BTreeMap<String, String>>,
    /// Other facts.
    pub notes: Vec<DiagnosisNote>,
}

impl From<diagnose::Diagnosis> for Diagnosis {
    fn from(found: diagnose::Diagnosis) -> Self {
        let diagnose::Verdict { code, sentence, command, saves_at_most } = found.verdict;
        let heap = found.heap.map(|heap| GlibcHeap {
            arenas: heap.arenas as f64,
            size: heap.size as f64,
            resident: heap.resident as f64,
            free: heap.free as f64,
            free_resident: heap.free_resident as f64,
            free_pages: heap.free_pages as f64,
            mapped_blocks: heap.mapped_blocks as f64,
            mapped_resident: heap.mapped_resident as f64,
            read: heap.read,
            sampled: heap.sampled,
        });
        let note = |note: diagnose::Note| DiagnosisNote { code: note.code.into(), message: note.message };
        Self {
            pid: found.pid.into(),
            allocator: found.allocator,
            verdict: DiagnosisVerdict {
                code: code.into(),
                sentence,
                command,
                saves_at_most: saves_at_most.map(|bytes| bytes as f64),
            },
            rss: found.rss as f64,
            swap: found.swap as f64,
            parts: found.parts.into(),
            heap,
            cgroup: found.cgroup.map(|diagnose::Cgroup { folder, used, limit }| CgroupUsage {
                folder,
                used: used as f64,
                limit: limit as f64,
            }),
            huge_pages: HugePages {
                mode: found.huge_pages.mode,
                bytes: found.huge_pages.bytes as f64,
                zeros: found.huge_pages.zeros.map(|bytes| bytes as f64),
            },
            options: found.options,
            notes: found.notes.into_iter().map(note).collect(),
        }
    }
}

/// Diagnoses a process on a thread of libuv's pool.
pub struct Diagnose {
    pid: u32,
    /// Of this process.
    v8: Option<V8>,
}

#[napi]
impl Task for Diagnose {
    type Output = std::result::Result<diagnose::Diagnosis, Refusal>;
    type JsValue = Diagnosis;

    fn compute(&mut self) -> Result<Self::Output> {
        let own = self.v8.map(|v8| {
            let (stats, mapped_blocks) = Active::stats_and_mapped_blocks();
            Own { stats, mapped_blocks, v8: Some(v8) }
        });
        let here = own.is_some().then(owner_here).flatten();
        let owner = here.map_or_else(|| look::owner(self.pid), Ok);
        Ok(owner.and_then(|owner| diagnose::diagnose(self.pid, &owner, own.as_ref())))
    }

    fn resolve(&mut self, env: Env, found: Self::Output) -> Result<Diagnosis> {
        found.map(Diagnosis::from).map_err(|refusal| rejection(&env, refused(refusal)))
    }
}

/// Tells where a process's memory is, and whether its allocator is the reason. `v8` has V8's figures of this process, and is
/// missing for another process.
#[napi(namespace = "linux")]
pub fn diagnose(pid: u32, v8: Option<V8Figures>) -> AsyncTask<Diagnose> {
    AsyncTask::new(Diagnose { pid, v8: v8.map(V8::from) })
}
