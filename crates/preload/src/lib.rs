//! What the preloaded libraries share: the environment before `main`, the report to whoever started the program, and
//! the little that stands in for std, without which they do.

#![no_std]

extern crate alloc;

#[cfg(feature = "jemalloc")]
pub mod background_threads;
pub mod descriptor;
pub mod environment;
pub mod errno;
#[cfg(all(target_env = "gnu", feature = "fork"))]
mod fork;
#[cfg(feature = "jemalloc")]
mod hand_over_jemalloc_options;
#[cfg(feature = "mimalloc")]
mod hand_over_mimalloc_options;
pub mod options;
pub mod report;
mod runtime;
mod wrap;

use malloc_backend::owner::Object;
pub use runtime::Global;

/// The library that this is in.
pub fn own() -> Option<Object> {
    static HERE: u8 = 0;
    Object::of((&raw const HERE).cast())
}
