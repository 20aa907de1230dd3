use malloc_backend::{Functions, GLOBAL_ALLOCATOR, MemoryAllocatorBackend, Stats};
use malloc_backend_launch::presets;
use napi_derive::napi;

/// One of the five backends, as it is in this build.
#[napi(object)]
pub struct Backend {
    pub name: String,
    pub available: bool,
    /// Why it is not.
    pub reason: Option<String>,
    pub version: Option<String>,
}

/// What an allocator can tell of itself, in bytes; absent what it cannot.
#[napi(object)]
pub struct AllocatorStats {
    pub allocated: Option<f64>,
    pub active: Option<f64>,
    pub metadata: Option<f64>,
    pub resident: Option<f64>,
    pub mapped: Option<f64>,
    pub retained: Option<f64>,
}

impl From<Stats> for AllocatorStats {
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
fn functions(backend: &str) -> Option<Functions> {
    backend.parse::<MemoryAllocatorBackend>().ok()?.functions().ok()
}

/// The backend's statistics.
#[napi]
pub fn backend_stats(backend: String) -> AllocatorStats {
    functions(&backend).map(|functions| (functions.stats)()).unwrap_or_default().into()
}

/// Has the backend give free memory back to the system. False where it has no way to.
#[napi]
pub fn backend_release(backend: String) -> bool {
    functions(&backend).is_some_and(|functions| (functions.release)().is_ok())
}

/// The five backends.
#[napi]
pub fn backends() -> Vec<Backend> {
    MemoryAllocatorBackend::ALL
        .map(|backend| {
            let functions = backend.functions();
            Backend {
                name: backend.to_string(),
                available: functions.is_ok(),
                reason: functions.err().map(|unavailable| unavailable.to_string()),
                version: functions.ok().and_then(|functions| (functions.version)()),
            }
        })
        .into()
}

/// The enum's default value on this platform.
#[napi]
pub fn default_backend() -> String {
    MemoryAllocatorBackend::default().to_string()
}

/// The backend that this addon's Rust global allocator stands on: `default` is the system's.
#[napi]
pub fn global_allocator() -> String {
    GLOBAL_ALLOCATOR.to_string()
}

/// Takes a block from the backend through all that a block can go through, and says whether everything was as
/// it should be: aligned, large enough, its contents kept when resized. False also for an unknown backend, and
/// for `bytes` that cannot be had.
#[napi]
pub fn exercise(backend: String, bytes: u32) -> bool {
    let Some(functions) = functions(&backend) else { return false };
    let size = bytes as usize;
    let block = (functions.malloc)(size);
    if block.is_null() {
        return false;
    }
    // SAFETY: the block is live until it is resized, the resized one until it is freed, and each is written to
    // within the size that it has at that time.
    unsafe {
        let sound =
            block.addr() % malloc_backend::MIN_ALIGNMENT == 0 && (functions.usable_size)(block) >= size;
        block.cast::<u8>().write_bytes(0xa5, size);
        let grown = (functions.realloc)(block, size * 2 + 1);
        if grown.is_null() {
            (functions.free)(block);
            return false;
        }
        let kept = std::slice::from_raw_parts(grown.cast::<u8>(), size).iter().all(|byte| *byte == 0xa5);
        (functions.free)(grown);
        sound && kept
    }
}

/// One option of an allocator.
#[napi(object)]
pub struct PresetOption {
    pub key: String,
    pub value: String,
    pub reason: String,
}

/// The options of a preset; none for a name that is none.
#[napi]
pub fn preset_options(backend: String, preset: String) -> Vec<PresetOption> {
    let (Ok(backend), Ok(preset)) = (backend.parse(), preset.parse()) else { return Vec::new() };
    presets::preset_options(backend, preset)
        .iter()
        .map(|option| PresetOption {
            key: option.key.to_owned(),
            value: option.value.to_owned(),
            reason: option.reason.to_owned(),
        })
        .collect()
}
