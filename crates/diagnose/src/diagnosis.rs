use std::collections::BTreeMap;

use malloc_backend_process::{GlibcHeap, Parts};
use serde::{Serialize, Serializer};

use crate::verdict::Verdict;

/// Where a process's memory is, and what follows from it. Numbers are bytes of physical memory, unless they say
/// otherwise. What cannot be told is `None`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// The process.
    pub pid: u32,
    /// The allocator that serves its `malloc`; `unknown` for a static program.
    pub allocator: String,
    /// The conclusion.
    pub verdict: Verdict,
    /// All of its physical memory.
    pub rss: u64,
    /// What is in swap besides.
    pub swap: u64,
    /// Its parts.
    #[serde(serialize_with = "by_name")]
    pub parts: Parts,
    /// glibc's heaps, where glibc serves `malloc` and they may be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap: Option<Heap>,
    /// The process's cgroup that is nearest to its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// Transparent huge pages.
    pub huge_pages: HugePages,
    /// The variables by which the allocator was given options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<BTreeMap<String, String>>,
    /// What else is to be known.
    pub notes: Vec<Note>,
}

fn by_name<S: Serializer>(parts: &Parts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(parts.named())
}

/// glibc's heaps, as they were read from outside. "Free" is without what threads (tcache) and fastbins keep for the next
/// request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Heap {
    /// A number.
    pub arenas: u64,
    /// Address space.
    pub size: u64,
    /// Physical memory.
    pub resident: u64,
    /// Free, in physical memory or not.
    pub free: u64,
    /// Free and in physical memory.
    pub free_resident: u64,
    /// Of that, whole pages: `malloc_trim` can give back no more.
    pub free_pages: u64,
    /// Large blocks that have a mapping each: a number.
    pub mapped_blocks: u64,
    /// Their physical memory.
    pub mapped_resident: u64,
    /// Which share of the heaps could be read and understood, 0 to 1.
    pub read: f64,
    /// A part of the heaps was read, and the rest reckoned from it.
    pub sampled: bool,
}

impl From<GlibcHeap> for Heap {
    fn from(heap: GlibcHeap) -> Self {
        let GlibcHeap { arenas, size, resident, free, free_resident, free_pages, mapped, read, sampled } =
            heap;
        Self {
            arenas,
            size,
            resident,
            free,
            free_resident,
            free_pages,
            mapped_blocks: mapped.count,
            mapped_resident: mapped.resident,
            read,
            sampled,
        }
    }
}

/// What a cgroup uses of the memory that it may.
#[derive(Clone, Debug, Serialize)]
pub struct Cgroup {
    /// Its folder.
    pub folder: String,
    /// Its memory, without pages of files that were not used lately.
    pub used: u64,
    /// The least of its limits.
    pub limit: u64,
}

/// Transparent huge pages.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HugePages {
    /// When the kernel makes them: `always`, `madvise` or `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The process's private memory in them.
    pub bytes: u64,
    /// Of that, what holds nothing but zeros, reckoned from a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zeros: Option<u64>,
}

/// Something that was seen besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Its kind.
    pub code: NoteCode,
    /// A sentence or two.
    pub message: String,
}

/// The kinds of notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteCode {
    /// The memory of the process may not be read, and which right is missing.
    HeapUnreadable,
    /// Not all of the heaps was read.
    HeapInPart,
    /// A cgroup has a limit.
    CgroupLimit,
    /// The cgroup is near its limit.
    CgroupNearLimit,
    /// Memory is in swap.
    Swap,
    /// Memory is in huge pages.
    HugePages,
    /// A preload that the loader passed over.
    PreloadIgnored,
    /// Many arenas.
    ManyArenas,
}
