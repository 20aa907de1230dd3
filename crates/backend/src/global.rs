//! Rust's global allocator, as the `global-*` features choose it.

use crate::{Functions, MemoryAllocatorBackend};

#[cfg(any(
    all(feature = "global-jemalloc", feature = "global-mimalloc"),
    all(feature = "global-jemalloc", feature = "global-snmalloc"),
    all(feature = "global-mimalloc", feature = "global-snmalloc"),
))]
compile_error!(
    "at most one of the features global-jemalloc, global-mimalloc, global-snmalloc: there is one global allocator"
);

#[cfg(all(feature = "global-jemalloc", not(windows)))]
#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(feature = "global-mimalloc")]
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(feature = "global-snmalloc")]
#[global_allocator]
static GLOBAL: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

/// What Rust's global allocator stands on: [`Default`](MemoryAllocatorBackend::Default) is the system's.
pub const GLOBAL_ALLOCATOR: MemoryAllocatorBackend = if cfg!(all(feature = "global-jemalloc", not(windows))) {
    MemoryAllocatorBackend::Jemalloc
} else if cfg!(feature = "global-mimalloc") {
    MemoryAllocatorBackend::Mimalloc
} else if cfg!(feature = "global-snmalloc") {
    MemoryAllocatorBackend::Snmalloc
} else {
    MemoryAllocatorBackend::Default
};

/// Those of what the global allocator stands on. (A `global-*` feature turns its allocator's feature on.)
pub(crate) fn functions() -> Functions {
    GLOBAL_ALLOCATOR.functions().unwrap_or(Functions::of::<crate::Default>())
}
