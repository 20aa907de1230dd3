//! The presets: what an allocator can be tuned for, and the options that do it, backend by backend.
//! docs/presets.md has the same with a measurement of each.

use std::str::FromStr;

use malloc_backend::MemoryAllocatorBackend;

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
            let names = Self::ALL.map(Self::as_str).join(", ");
            Refusal::new(Code::UnknownPreset, format!("unknown preset {name:?}; it must be one of: {names}"))
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
        option("arena_max", "1", "threads share one heap, and with it what is free in it"),
        option(
            "mmap_threshold",
            "131072",
            "large blocks are mapped one by one and go back when freed; unset, the threshold grows with use",
        ),
    ],
    balanced: &[option("arena_max", "2", "not up to eight heaps a core, each with what is free in it")],
    throughput: &[
        option(
            "mmap_threshold",
            "33554432",
            "large blocks come from the heap, where they are used again without page faults; the most there is",
        ),
        option("trim_threshold", "1073741824", "and the heap keeps up to 1 GiB of them"),
    ],
};

static JEMALLOC: Table = Table {
    low_rss: &[
        IDLE_TOO,
        option("dirty_decay_ms", "500", "after half a second instead of ten"),
        option("narenas", "2", "threads share two arenas instead of four a core"),
        option("tcache_max", "4096", "threads keep small blocks only for themselves"),
    ],
    balanced: &[IDLE_TOO, option("dirty_decay_ms", "1000", "after a second instead of ten"), CLEARING],
    throughput: &[
        option(
            "background_thread",
            "true",
            "takes the purging, that of very large blocks too, off the threads that free",
        ),
        option("dirty_decay_ms", "30000", "free pages are kept for half a minute"),
        CLEARING,
    ],
};

const IDLE_TOO: PresetOption =
    option("background_thread", "true", "free pages go back although the program is idle");

const CLEARING: PresetOption = option(
    "calloc_madvise_threshold",
    "1099511627776",
    "calloc clears blocks from 8 MiB up by writing too, not by giving pages back and faulting them in anew",
);

static MIMALLOC: Table = Table {
    low_rss: &[option("purge_delay", "0", "free pages go back at once")],
    balanced: &[
        option("purge_extend_delay", "0", "what is freed nearby does not put the purge off"),
        option("abandoned_page_purge", "1", "what an ended thread leaves goes back"),
    ],
    throughput: &[option("purge_delay", "1000", "free pages are kept for a second")],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_has_its_name_and_others_are_refused() {
        for preset in Preset::ALL {
            assert_eq!(preset.as_str().parse(), Ok(preset));
        }
        let refusal = "Balanced".parse::<Preset>().unwrap_err();
        assert_eq!(refusal.code, Code::UnknownPreset);
        let expected = "unknown preset \"Balanced\"; it must be one of: low-rss, balanced, throughput, none";
        assert_eq!(refusal.message, expected);
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
