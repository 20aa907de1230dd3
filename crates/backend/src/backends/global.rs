//! Rust's global allocator, which the `global-*` features choose.

use crate::{MemoryAllocatorBackend, RawAllocator};

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

/// The allocator behind Rust's global allocator.
#[cfg(all(feature = "global-jemalloc", not(windows)))]
pub(crate) type Global = super::jemalloc::Jemalloc;
#[cfg(feature = "global-mimalloc")]
pub(crate) type Global = super::mimalloc::Mimalloc;
#[cfg(feature = "global-snmalloc")]
pub(crate) type Global = super::snmalloc::Snmalloc;
#[cfg(not(any(
    all(feature = "global-jemalloc", not(windows)),
    feature = "global-mimalloc",
    feature = "global-snmalloc"
)))]
pub(crate) type Global = super::default::Default;

/// The backend behind Rust's global allocator. [`Default`](MemoryAllocatorBackend::Default) means the system's allocator.
pub const GLOBAL_ALLOCATOR: MemoryAllocatorBackend = Global::BACKEND;
