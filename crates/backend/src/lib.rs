//! One interface over five memory allocators.
//!
//! [`MemoryAllocatorBackend`] names them; [`RawAllocator`] is what each of them can do, with the semantics of
//! C's `malloc` family, and one module holds the driver of each. [`Functions`] is the same as a table, for a
//! caller that learns the backend's name at run time.
//!
//! This crate knows neither Node nor Python, and no other crate names an allocator's C function. It does without
//! std, so that the preloaded library (`crates/malloc-shim`) depends on libc and nothing else.

#![no_std]

extern crate alloc;
#[cfg(any(windows, test))]
extern crate std;

mod backend;
mod default;
pub mod files;
pub mod foreign;
mod functions;
mod global;
mod headered;
#[cfg(all(feature = "jemalloc", not(windows)))]
mod jemalloc;
mod mallinfo;
#[cfg(feature = "mimalloc")]
mod mimalloc;
pub mod mimalloc_options;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod owner;
mod raw;
mod recent;
#[cfg(all(unix, feature = "jemalloc"))]
pub mod region;
mod rust;
pub mod shim;
#[cfg(feature = "snmalloc")]
mod snmalloc;
pub mod variables;

pub use backend::{MemoryAllocatorBackend, ParseBackendError, Unavailable};
pub use default::Default;
#[cfg(target_os = "linux")]
pub use default::libc_version;
pub use functions::{Functions, Visitor};
pub use global::GLOBAL_ALLOCATOR;
#[cfg(all(feature = "jemalloc", not(windows)))]
pub use jemalloc::{Jemalloc, nonstandard as jemalloc_nonstandard};
pub use mallinfo::MallInfo2;
#[cfg(feature = "mimalloc")]
pub use mimalloc::Mimalloc;
pub use raw::{CannotRelease, MIN_ALIGNMENT, RawAllocator, Stats};
pub use recent::Recent;
pub use rust::Rust;
#[cfg(feature = "snmalloc")]
pub use snmalloc::Snmalloc;
