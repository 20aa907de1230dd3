//! What was seen besides where the memory is.

use malloc_backend_process::{CgroupUsage, GlibcHeap, HugePages, IgnoredPreload};

use crate::diagnosis::{Note, NoteCode};
use crate::sizes::{share, size};

/// What notes are made of.
pub struct Seen<'seen> {
    /// Why the process's memory may not be read.
    pub denied: Option<String>,
    pub heap: Option<&'seen GlibcHeap>,
    pub cgroup: Option<&'seen CgroupUsage>,
    pub swap: u64,
    pub huge: &'seen HugePages,
    pub ignored: &'seen [IgnoredPreload],
    pub rss: u64,
}

/// From this share of its limit a cgroup is near it.
const NEAR: f64 = 0.8;
/// Less in huge pages changes nothing.
const HUGE: u64 = 32 << 20;
/// So many arenas are more than a program of a few threads needs.
const ARENAS: u64 = 16;

pub fn notes(seen: &Seen<'_>) -> Vec<Note> {
    let note = |code, message| Note { code, message };
    let mut notes = Vec::new();
    if let Some(why) = &seen.denied {
        notes.push(note(NoteCode::HeapUnreadable, why.clone()));
    }
    if let Some(CgroupUsage { folder, used, limit }) = seen.cgroup {
        let percent = 100.0 * *used as f64 / *limit as f64;
        let code = if percent >= 100.0 * NEAR { NoteCode::CgroupNearLimit } else { NoteCode::CgroupLimit };
        let message = format!(
            "The cgroup {} uses {}, {percent:.0} % of its limit. At the limit, the kernel kills a process of the cgroup.",
            folder.display(),
            share(*used, *limit)
        );
        notes.push(note(code, message));
    }
    if seen.swap > 0 {
        notes.push(note(
            NoteCode::Swap,
            format!("{} are in swap. Free memory in swap is not counted.", size(seen.swap)),
        ));
    }
    let HugePages { mode, bytes, zeros } = seen.huge;
    if *bytes >= HUGE {
        let mode = mode.as_deref().unwrap_or("unknown");
        let zeros = match zeros {
            Some(zeros) => format!("; about {} of them contain only zeros", size(*zeros)),
            None => String::new(),
        };
        notes.push(note(
            NoteCode::HugePages,
            format!(
                "{} are in transparent huge pages{zeros} (/sys/kernel/mm/transparent_hugepage/enabled is {mode}).",
                share(*bytes, seen.rss)
            ),
        ));
    }
    if let Some(heap) = seen.heap {
        if heap.sampled {
            notes.push(note(
                NoteCode::HeapInPart,
                format!(
                    "glibc's heaps are larger than 4 GiB: {:.0} % were read, and the rest is an estimate.",
                    100.0 * heap.read
                ),
            ));
        } else if heap.read < 0.9 {
            notes.push(note(
                NoteCode::HeapInPart,
                format!(
                    "Only {:.0} % of glibc's heaps could be read. The rest counts as used.",
                    100.0 * heap.read
                ),
            ));
        }
        if heap.arenas >= ARENAS {
            notes.push(note(
                NoteCode::ManyArenas,
                format!(
                    "glibc has {} arenas, and each keeps its own free memory. MALLOC_ARENA_MAX=2 limits their number.",
                    heap.arenas
                ),
            ));
        }
    }
    notes.extend(seen.ignored.iter().map(|IgnoredPreload { entry, why }| {
        note(
            NoteCode::PreloadIgnored,
            format!("LD_PRELOAD names {entry}, but the process did not load it: {why}."),
        )
    }));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: HugePages = HugePages { mode: None, bytes: 0, zeros: Some(0) };
    const MIB: u64 = 1 << 20;

    fn seen<'seen>() -> Seen<'seen> {
        Seen {
            denied: None,
            heap: None,
            cgroup: None,
            swap: 0,
            huge: &NOTHING,
            ignored: &[],
            rss: 1000 * MIB,
        }
    }

    fn codes(seen: &Seen<'_>) -> Vec<NoteCode> {
        notes(seen).into_iter().map(|note| note.code).collect()
    }

    #[test]
    fn a_process_of_which_nothing_is_odd_has_no_notes() {
        assert_eq!(notes(&seen()), []);
    }

    #[test]
    fn a_cgroup_is_near_its_limit_from_four_fifths() {
        let usage =
            |used| CgroupUsage { folder: "/sys/fs/cgroup/a".into(), used: used * MIB, limit: 1000 * MIB };
        let of = |used| notes(&Seen { cgroup: Some(&usage(used)), ..seen() });
        assert_eq!(of(799)[0].code, NoteCode::CgroupLimit);
        assert_eq!(of(800)[0].code, NoteCode::CgroupNearLimit);
        assert!(
            of(800)[0]
                .message
                .starts_with("The cgroup /sys/fs/cgroup/a uses 800 of 1,000 MiB, 80 % of its limit.")
        );
    }

    #[test]
    fn each_thing_has_its_note() {
        let huge = HugePages { mode: Some("always".into()), bytes: 100 * MIB, zeros: Some(90 * MIB) };
        let heap = GlibcHeap { arenas: 64, read: 0.5, ..GlibcHeap::default() };
        let ignored = [IgnoredPreload { entry: "/lib/x.so".into(), why: "the file does not exist" }];
        let all = Seen {
            denied: Some("not allowed".into()),
            heap: Some(&heap),
            swap: 5 * MIB,
            huge: &huge,
            ignored: &ignored,
            ..seen()
        };
        assert_eq!(
            codes(&all),
            [
                NoteCode::HeapUnreadable,
                NoteCode::Swap,
                NoteCode::HugePages,
                NoteCode::HeapInPart,
                NoteCode::ManyArenas,
                NoteCode::PreloadIgnored,
            ]
        );
    }
}
