//! What can be seen of the process.

use std::io;
use std::path::Path;

use malloc_backend::{Place, Stats, Traits};
use malloc_backend_launch::{Environment, Refusal, environment, look};
use malloc_backend_process::{
    Allocator, GlibcHeap, Limits, Owner, OwnerKind, Parts, Survey, Told, V8, environment_of, glibc_heap,
    huge_pages, ignored_preloads, memory_cgroups, nearest_limit, node_version, program_of, survey,
};

use crate::diagnosis::{Cgroup, Diagnosis, Heap, HugePages};
use crate::notes::{Seen, notes};
use crate::verdict::{Facts, Free, Verdict};

/// What a process tells of itself. Only of the process that asks is it known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own {
    /// By its allocator.
    pub stats: Stats,
    /// Bytes of the blocks that glibc has mapped for themselves.
    pub mapped_blocks: Option<u64>,
    /// By its V8, if it has one.
    pub v8: Option<V8>,
}

/// Looks at a process and concludes. The process goes on meanwhile. `own` is what it tells of itself, if it is this one.
///
/// # Errors
/// [`Code::ProcessNotFound`](malloc_backend_launch::Code), and [`Code::ProcessAccess`](malloc_backend_launch::Code) where
/// the process may not be looked into.
pub fn diagnose(pid: u32, owner: &Owner, own: Option<&Own>) -> Result<Diagnosis, Refusal> {
    let survey = survey(pid).map_err(|error| look::why_not_seen(pid, &error))?;
    let env = environment_of(pid).ok().flatten().map(|entries| environment(&entries));
    let allocator = name_of(owner);
    let read = read_heap(pid, owner, &survey).transpose();
    let (heap, denied) = match read {
        Ok(heap) => (heap, None),
        Err(error) => (None, Some(look::why_not_read(pid, &error))),
    };
    let parts = Parts::new(&survey.map, allocator, &told(heap.as_ref(), own));
    let program = program_of(pid).unwrap_or_default();
    let long_keeping = env.as_ref().and_then(|env| look::long_keeping(allocator, env));
    let huge = huge_pages(pid, &survey);
    let (usage, _) = nearest_limit(&memory_cgroups(pid));
    let facts = Facts {
        pid,
        rss: survey.map.rss,
        parts,
        free: free(heap.as_ref(), own, &parts),
        zeros: huge.zeros.unwrap_or(0),
        huge_mode: huge.mode.as_deref(),
        allocator,
        is_known: Traits::of(allocator).place != Place::Unknown,
        is_denied: denied.is_some(),
        long_keeping,
        node: node_version(pid).is_some(),
        program: name(&program),
        is_own: own.is_some(),
    };
    let seen = Seen {
        denied,
        heap: heap.as_ref(),
        cgroup: usage.as_ref(),
        swap: survey.swap(),
        huge: &huge,
        ignored: &ignored_preloads(pid),
        rss: survey.map.rss,
    };
    Ok(Diagnosis {
        pid,
        allocator: allocator.to_owned(),
        verdict: Verdict::of(&facts),
        notes: notes(&seen),
        rss: survey.map.rss,
        swap: survey.swap(),
        parts,
        heap: heap.map(Heap::from),
        cgroup: usage.map(|usage| Cgroup {
            folder: usage.folder.to_string_lossy().into_owned(),
            used: usage.used,
            limit: usage.limit,
        }),
        huge_pages: HugePages { mode: huge.mode.clone(), bytes: huge.bytes, zeros: huge.zeros },
        options: env.as_ref().map(|env| options(allocator, env)),
    })
}

/// The allocator's name, `unknown` for a static program.
fn name_of(owner: &Owner) -> &str {
    match &owner.kind {
        OwnerKind::StaticProgram => "unknown",
        OwnerKind::Allocator(Allocator::Shim(backend)) => backend.as_str(),
        OwnerKind::Allocator(Allocator::Libc(name)) => name,
        OwnerKind::Allocator(Allocator::Foreign(name)) => name,
    }
}

/// glibc's heaps; nothing where another allocator serves.
fn read_heap(pid: u32, owner: &Owner, survey: &Survey) -> Option<io::Result<GlibcHeap>> {
    let is_glibc = Traits::of(name_of(owner)).place == Place::BrkAndArenas;
    is_glibc.then(|| glibc_heap(pid, survey, &owner.path, Limits::default()))
}

/// What the parts are made of: what the process itself tells, and else what was read in its heaps.
fn told(heap: Option<&GlibcHeap>, own: Option<&Own>) -> Told {
    let read = heap.map(|heap| heap.resident + heap.mapped.resident);
    match (own, heap, read) {
        (Some(own), ..) => Told { stats: own.stats, mapped_blocks: own.mapped_blocks, v8: own.v8, read },
        (None, Some(heap), Some(all)) => {
            let allocated = Some(all.saturating_sub(heap.free_resident));
            Told { stats: Stats { allocated, ..Stats::default() }, read, ..Told::default() }
        }
        _ => Told::default(),
    }
}

/// The free memory that the allocator keeps.
fn free(heap: Option<&GlibcHeap>, own: Option<&Own>, parts: &Parts) -> Option<Free> {
    if let Some(heap) = heap {
        return Some(Free { bytes: heap.free_resident, pages: Some(heap.free_pages) });
    }
    let Stats { active, metadata, resident, .. } = own?.stats;
    let pages = resident
        .zip(active)
        .map(|(resident, active)| resident.saturating_sub(active + metadata.unwrap_or(0)));
    let bytes = parts.malloc_cached?.saturating_sub(metadata.unwrap_or(0));
    Some(Free { bytes, pages: pages.map(|pages| pages.min(bytes)) })
}

fn options(allocator: &str, env: &Environment) -> std::collections::BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    look::options_in_force(allocator, env)
        .into_iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

fn name(program: &Path) -> String {
    program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
