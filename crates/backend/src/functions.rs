use alloc::string::String;
use core::ffi::c_void;

use crate::{CannotRelease, MemoryAllocatorBackend, RawAllocator, Stats, Unavailable};

/// A [`RawAllocator`] as a table of functions, for a caller that learns its name at run time. Each function
/// has the contract of the trait's function of its name.
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
            version: A::version,
            stats: A::stats,
            release: A::release,
        }
    }
}

/// Something to be done with whichever allocator a name stands for, as a type: see
/// [`MemoryAllocatorBackend::visit`].
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<A: RawAllocator>(self) -> Self::Output;
}

impl MemoryAllocatorBackend {
    /// Goes with the type of the backend's allocator to the visitor.
    ///
    /// # Errors
    /// Where this build cannot serve it: see [`available`](Self::available).
    pub fn visit<V: Visitor>(self, visitor: V) -> Result<V::Output, Unavailable> {
        self.available()?;
        Ok(match self {
            Self::Default => visitor.visit::<crate::Default>(),
            #[cfg(all(feature = "jemalloc", not(windows)))]
            Self::Jemalloc => visitor.visit::<crate::Jemalloc>(),
            #[cfg(feature = "mimalloc")]
            Self::Mimalloc => visitor.visit::<crate::Mimalloc>(),
            #[cfg(feature = "snmalloc")]
            Self::Snmalloc => visitor.visit::<crate::Snmalloc>(),
            Self::Rust => visitor.visit::<crate::Rust>(),
            #[allow(unreachable_patterns)]
            _ => return Err(Unavailable::Feature(self)),
        })
    }

    /// The backend's functions.
    ///
    /// # Errors
    /// Where this build cannot serve it: see [`available`](Self::available).
    pub fn functions(self) -> Result<Functions, Unavailable> {
        struct Table;
        impl Visitor for Table {
            type Output = Functions;
            fn visit<A: RawAllocator>(self) -> Functions {
                Functions::of::<A>()
            }
        }
        self.visit(Table)
    }
}
