//! A library to preload (`LD_PRELOAD`) that replaces a process's `malloc` family by one backend.
//!
//! It is built once per backend, each in a cargo invocation of its own, because the allocators must be
//! compiled for a preloaded library here (initial-exec TLS) and for a dlopened one in `crates/node`. Without a
//! backend's feature it replaces nothing, and is the probe that proves that libc owns `malloc`.
//!
//! It is loaded into every process that inherits it, so it does without std: that keeps it small, and libc the
//! only library it needs.

// `cargo check` and editors look at all crates at once, some of which bring std. What is built for release has none.
#![cfg_attr(not(debug_assertions), no_std)]

#[cfg(any(
    all(feature = "jemalloc", feature = "mimalloc"),
    all(feature = "jemalloc", feature = "snmalloc"),
    all(feature = "mimalloc", feature = "snmalloc"),
))]
compile_error!("a process has one malloc: choose one of the features jemalloc, mimalloc, snmalloc");

#[cfg(any(feature = "jemalloc", feature = "mimalloc", feature = "snmalloc"))]
mod about;
mod backend;
#[cfg(any(feature = "jemalloc", idle_release))]
mod background_threads;
#[cfg(any(feature = "jemalloc", feature = "snmalloc"))]
mod fork;
mod given_back;
#[cfg(idle_release)]
mod idle;
#[cfg(feature = "jemalloc")]
mod jemalloc;
#[cfg(any(feature = "mimalloc", feature = "snmalloc"))]
mod locked_memory;
#[cfg(any(feature = "jemalloc", feature = "mimalloc", feature = "snmalloc"))]
mod malloc_family;
#[cfg(any(feature = "jemalloc", feature = "snmalloc", idle_release))]
mod next;
#[cfg(any(feature = "jemalloc", feature = "mimalloc", feature = "snmalloc"))]
mod operators;
#[cfg(feature = "jemalloc")]
mod size_classes;
mod startup;
mod system_calls;
mod wrap;

extern crate alloc;

use malloc_backend::shim::Shim;
use malloc_backend_preload::Global;

use crate::backend::Backend;

/// For the few strings at start-up.
#[global_allocator]
static GLOBAL: Global<Backend> = Global::new();

/// Who this library is, and what it can be asked: `include/malloc_backend_shim.h`.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_backend_shim() -> *const Shim {
    startup::shim()
}
