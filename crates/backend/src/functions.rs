use alloc::string::String;
use core::ffi::c_void;

use crate::{CannotRelease, MemoryAllocatorBackend, RawAllocator, Stats, Uncached};

/// A [`RawAllocator`] as a table of functions, for a caller that learns the backend's name at run time. Each function has
/// the contract of the trait's function with the same name.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Functions {
    pub backend: MemoryAllocatorBackend,
    pub malloc: fn(usize) -> *mut c_void,
    pub calloc: fn(usize, usize) -> *mut c_void,
    pub realloc: unsafe fn(*mut c_void, usize) -> *mut c_void,
    pub free: unsafe fn(*mut c_void),
    pub usable_size: unsafe fn(*mut c_void) -> usize,
    pub aligned_alloc: fn(usize, usize) -> *mut c_void,
    pub uncached: fn() -> Option<Uncached>,
    pub version: fn() -> Option<String>,
    pub stats: fn() -> Stats,
    pub release: fn() -> Result<(), CannotRelease>,
}

impl Functions {
    /// The table of one allocator.
    pub const fn of<A: RawAllocator>() -> Self {
        Self {
            backend: A::BACKEND,
            malloc: A::malloc,
            calloc: A::calloc,
            realloc: A::realloc,
            free: A::free,
            usable_size: A::usable_size,
            aligned_alloc: A::aligned_alloc,
            uncached: A::uncached,
            version: A::version,
            stats: A::stats,
            release: A::release,
        }
    }
}
