use malloc_backend::{GLOBAL_ALLOCATOR, MemoryAllocatorBackend};
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
    let Some(functions) =
        backend.parse::<MemoryAllocatorBackend>().ok().and_then(|backend| backend.functions().ok())
    else {
        return false;
    };
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
