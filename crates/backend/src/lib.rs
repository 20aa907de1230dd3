//! One interface to five memory allocators.
//!
//! [`MemoryAllocatorBackend`] names the allocators. [`RawAllocator`] is their common interface, with the semantics of C's
//! `malloc` family. One module for each allocator implements this interface. [`Functions`] is the interface as a table,
//! for a caller that learns the backend's name at run time.
//!
//! This crate depends neither on Node nor on Python, and only this crate names an allocator's C functions. It does not use
//! std, so the preloaded library (`crates/malloc-shim`) depends only on libc.

#![no_std]

extern crate alloc;
#[cfg(any(windows, test))]
extern crate std;

#[cfg(all(unix, feature = "jemalloc"))]
pub mod arena;
mod backend;
mod backends;
pub mod files;
pub mod foreign;
mod functions;
mod mallinfo;
pub mod mimalloc_option_names;
mod nearest;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod owner;
mod raw;
pub mod shim;
mod traits;
pub mod variables;

pub use backend::{MemoryAllocatorBackend, ParseBackendError, Unavailable};
#[cfg(feature = "mimalloc")]
pub use backends::Mimalloc;
#[cfg(feature = "snmalloc")]
pub use backends::Snmalloc;
#[cfg(target_os = "linux")]
pub use backends::libc_version;
pub use backends::{Default, GLOBAL_ALLOCATOR, Rust, Visitor};
#[cfg(all(feature = "jemalloc", not(windows)))]
pub use backends::{Jemalloc, jemalloc_nonstandard};
pub use functions::Functions;
pub use mallinfo::MallInfo2;
pub use nearest::nearest;
pub use raw::{CannotRelease, MIN_ALIGNMENT, RawAllocator, Stats, Uncached};
pub use traits::{Place, Release, TRAITS, Traits};
