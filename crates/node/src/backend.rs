use malloc_backend::{Functions, GLOBAL_ALLOCATOR, MemoryAllocatorBackend, Stats};
use malloc_backend_launch::presets;
use napi_derive::napi;

/// The name of a backend.
#[napi(string_enum = "lowercase")]
pub enum Backend {
    Default,
    Jemalloc,
    Mimalloc,
    Snmalloc,
    Rust,
}

impl From<MemoryAllocatorBackend> for Backend {
    fn from(backend: MemoryAllocatorBackend) -> Self {
        match backend {
            MemoryAllocatorBackend::Default => Self::Default,
            MemoryAllocatorBackend::Jemalloc => Self::Jemalloc,
            MemoryAllocatorBackend::Mimalloc => Self::Mimalloc,
            MemoryAllocatorBackend::Snmalloc => Self::Snmalloc,
            MemoryAllocatorBackend::Rust => Self::Rust,
        }
    }
}

impl From<Backend> for MemoryAllocatorBackend {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Default => Self::Default,
            Backend::Jemalloc => Self::Jemalloc,
            Backend::Mimalloc => Self::Mimalloc,
            Backend::Snmalloc => Self::Snmalloc,
            Backend::Rust => Self::Rust,
        }
    }
}

/// A backend as it is in this build and on this system.
#[napi(object)]
pub struct BackendInBuild {
    pub name: Backend,
    /// The reason, if the backend is not available.
    pub unavailable: Option<String>,
    pub version: Option<String>,
}

/// The figures that a backend counts itself, in bytes, for the whole process. A figure that it does not count is missing.
#[napi(object)]
pub struct BackendStats {
    /// Bytes in live blocks.
    pub allocated: Option<f64>,
    /// Bytes in pages that contain live blocks.
    pub active: Option<f64>,
    /// Bytes of the backend's own structures.
    pub metadata: Option<f64>,
    /// Bytes in physical memory, at most.
    pub resident: Option<f64>,
    /// Bytes that are mapped and usable.
    pub mapped: Option<f64>,
    /// Bytes of address space without physical memory.
    pub retained: Option<f64>,
}

impl From<Stats> for BackendStats {
    fn from(stats: Stats) -> Self {
        let number = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        Self {
            allocated: number(stats.allocated),
            active: number(stats.active),
            metadata: number(stats.metadata),
            resident: number(stats.resident),
            mapped: number(stats.mapped),
            retained: number(stats.retained),
        }
    }
}

/// The functions of a backend that this build has.
fn functions(backend: Backend) -> Option<Functions> {
    MemoryAllocatorBackend::from(backend).functions().ok()
}

/// The backend's statistics.
#[napi]
pub fn backend_stats(backend: Backend) -> BackendStats {
    functions(backend).map(|functions| (functions.stats)()).unwrap_or_default().into()
}

/// Has the backend give free memory back to the system. False where it has no way to.
#[napi]
pub fn backend_release(backend: Backend) -> bool {
    functions(backend).is_some_and(|functions| (functions.release)().is_ok())
}

/// The five backends.
#[napi]
pub fn backends() -> Vec<BackendInBuild> {
    MemoryAllocatorBackend::ALL
        .map(|backend| {
            let functions = backend.functions();
            BackendInBuild {
                name: backend.into(),
                unavailable: match &functions {
                    Err(unavailable) => Some(unavailable.to_string()),
                    Ok(_) => why_not_here(backend),
                },
                version: functions.ok().and_then(|functions| (functions.version)()),
            }
        })
        .into()
}

/// What stands in a backend's way on this system, if anything.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn why_not_here(backend: MemoryAllocatorBackend) -> Option<String> {
    if backend != MemoryAllocatorBackend::Snmalloc {
        return None;
    }
    let host = malloc_backend_process::host();
    malloc_backend_launch::too_small_for_snmalloc(host.address_space, host.data)
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn why_not_here(_: MemoryAllocatorBackend) -> Option<String> {
    None
}

/// The backend that the addon's Rust code itself allocates from. `default` is the system's allocator.
#[napi]
pub fn global_allocator() -> Backend {
    GLOBAL_ALLOCATOR.into()
}

/// The name of a preset: a set of options of an allocator.
///
/// - `low-rss`: the allocator returns free memory to the system soon
/// - `balanced`: between `low-rss` and `throughput`; the default
/// - `throughput`: the allocator keeps free memory for later requests
/// - `none`: the allocator keeps its own defaults
#[napi(string_enum = "kebab-case")]
pub enum Preset {
    LowRss,
    Balanced,
    Throughput,
    None,
}

impl From<presets::Preset> for Preset {
    fn from(preset: presets::Preset) -> Self {
        match preset {
            presets::Preset::LowRss => Self::LowRss,
            presets::Preset::Balanced => Self::Balanced,
            presets::Preset::Throughput => Self::Throughput,
            presets::Preset::None => Self::None,
        }
    }
}

impl From<Preset> for presets::Preset {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::LowRss => Self::LowRss,
            Preset::Balanced => Self::Balanced,
            Preset::Throughput => Self::Throughput,
            Preset::None => Self::None,
        }
    }
}

/// One option in a preset. The key is the name in the allocator's own documentation.
#[napi(object)]
pub struct PresetOption {
    pub key: String,
    pub value: String,
    /// The reason for the option in this preset.
    pub reason: String,
}

/// The options of a preset. Empty if the backend has no presets.
#[napi]
pub fn preset_options(backend: Backend, preset: Preset) -> Vec<PresetOption> {
    presets::preset_options(backend.into(), preset.into())
        .iter()
        .map(|option| PresetOption {
            key: option.key.to_owned(),
            value: option.value.to_owned(),
            reason: option.reason.to_owned(),
        })
        .collect()
}
