//! The presets: what an allocator can be tuned for, and the options that do it, backend by backend.
//! docs/presets.md has the same with a measurement of each.

use std::str::FromStr;

use malloc_backend::{MemoryAllocatorBackend, nearest};

use crate::refusal::{Code, Refusal};

/// What an allocator is tuned for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preset {
    /// Free memory goes back to the system soon.
    LowRss,
    /// In between.
    #[default]
    Balanced,
    /// Free memory is kept for the next request.
    Throughput,
    /// The allocator with its own defaults.
    None,
}

impl Preset {
    /// All four, in the order in which messages list them.
    pub const ALL: [Self; 4] = [Self::LowRss, Self::Balanced, Self::Throughput, Self::None];

    /// The name as a string.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LowRss => "low-rss",
            Self::Balanced => "balanced",
            Self::Throughput => "throughput",
            Self::None => "none",
        }
    }
}

impl FromStr for Preset {
    type Err = Refusal;

    fn from_str(name: &str) -> Result<Self, Refusal> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str);
            let message = match nearest(name, &names) {
                Some(meant) => format!("unknown preset {name:?}. Did you mean {meant}?"),
                None => format!("unknown preset {name:?}; it must be one of: {}", names.join(", ")),
            };
            Refusal::new(Code::UnknownPreset, message)
        })
    }
}

/// One option of an allocator, under the name that the allocator's own documentation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresetOption {
    /// Its name.
    pub key: &'static str,
    /// What it is set to.
    pub value: &'static str,
    /// Why it is in the preset.
    pub reason: &'static str,
}

/// Whether the backend has options, and with them presets.
pub const fn has_presets(backend: MemoryAllocatorBackend) -> bool {
    table(backend).is_some()
}

/// What the preset sets: nothing for [`Preset::None`], and for a backend without options.
pub const fn preset_options(backend: MemoryAllocatorBackend, preset: Preset) -> &'static [PresetOption] {
    match (table(backend), preset) {
        (Some(table), Preset::LowRss) => table.low_rss,
        (Some(table), Preset::Balanced) => table.balanced,
        (Some(table), Preset::Throughput) => table.throughput,
        (_, Preset::None) | (None, _) => &[],
    }
}

const fn table(backend: MemoryAllocatorBackend) -> Option<&'static Table> {
    match backend {
        MemoryAllocatorBackend::Default => Some(&DEFAULT),
        MemoryAllocatorBackend::Jemalloc => Some(&JEMALLOC),
        MemoryAllocatorBackend::Mimalloc => Some(&MIMALLOC),
        MemoryAllocatorBackend::Snmalloc | MemoryAllocatorBackend::Rust => None,
    }
}

/// The options of each preset of a backend.
struct Table {
    low_rss: &'static [PresetOption],
    balanced: &'static [PresetOption],
    throughput: &'static [PresetOption],
}

const fn option(key: &'static str, value: &'static str, reason: &'static str) -> PresetOption {
    PresetOption { key, value, reason }
}

static DEFAULT: Table = Table {
    low_rss: &[
        option("arena_max", "1", "one arena for all threads, so every thread can use its free memory"),
        option(
            "mxfast",
            "0",
            "merges a small freed block with free neighbors immediately; by default, glibc merges all of them later, and every \
             thread waits",
        ),
        RELEASE,
    ],
    balanced: &[option(
        "arena_max",
        "2",
        "two arenas instead of up to eight per core, each with its own free memory",
    )],
    throughput: &[
        option(
            "mmap_threshold",
            "33554432",
            "takes large blocks from the heap, which reuses them without page faults; 32 MiB is glibc's maximum",
        ),
        option("trim_threshold", "1073741824", "lets the heap keep up to 1 GiB of free memory"),
    ],
};

const RELEASE: PresetOption =
    option("idle_release", "true", "a thread of this package returns free memory while the program is idle");

static JEMALLOC: Table = Table {
    low_rss: &[
        IDLE_TOO,
        option("dirty_decay_ms", "500", "returns free pages after half a second instead of ten seconds"),
        option("narenas", "2", "two arenas for all threads instead of four per core"),
        option("tcache_max", "4096", "thread caches keep only blocks of up to 4 KiB"),
        CLEARING,
    ],
    balanced: &[
        IDLE_TOO,
        option("dirty_decay_ms", "1000", "returns free pages after one second instead of ten"),
        CLEARING,
    ],
    throughput: &[
        option(
            "background_thread",
            "true",
            "a background thread purges free pages, so the program's own threads need not; this includes the pages of very large blocks",
        ),
        option("dirty_decay_ms", "30000", "keeps free pages for 30 seconds"),
        CLEARING,
    ],
};

const IDLE_TOO: PresetOption =
    option("background_thread", "true", "returns free pages to the system even when the program is idle");

const CLEARING: PresetOption = option(
    "calloc_madvise_threshold",
    "1099511627776",
    "calloc writes zeros into a reused block of 8 MiB or more; by default, calloc gets new pages for the block, which cost page faults",
);

static MIMALLOC: Table = Table {
    low_rss: &[
        RELEASE,
        option("purge_delay", "0", "hands free pages to the thread of idle_release immediately"),
        option("eager_commit", "0", "takes pages back from that thread one by one, not 32 MiB at a time"),
    ],
    balanced: &[
        option("purge_extend_delay", "0", "freeing a nearby block does not delay the purge"),
        option("abandoned_page_purge", "1", "returns the free pages that an ended thread leaves behind"),
    ],
    throughput: &[option("purge_delay", "1000", "keeps free pages for one second")],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_has_its_name_and_others_are_refused() {
        for preset in Preset::ALL {
            assert_eq!(preset.as_str().parse(), Ok(preset));
        }
        for (name, rest) in [
            ("Balanced", ". Did you mean balanced?"),
            ("fast", "; it must be one of: low-rss, balanced, throughput, none"),
        ] {
            let refusal = name.parse::<Preset>().unwrap_err();
            assert_eq!(refusal.code, Code::UnknownPreset);
            assert_eq!(refusal.message, format!("unknown preset {name:?}{rest}"));
        }
    }

    #[test]
    fn three_presets_for_each_backend_that_has_options() {
        for backend in MemoryAllocatorBackend::ALL {
            for preset in Preset::ALL {
                let options = preset_options(backend, preset);
                assert_eq!(options.is_empty(), !has_presets(backend) || preset == Preset::None);
                for (at, option) in options.iter().enumerate() {
                    assert!(options[..at].iter().all(|other| other.key != option.key), "{}", option.key);
                }
            }
        }
    }
}
