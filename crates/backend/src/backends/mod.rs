//! The drivers: one module for each backend, and the type that a name stands for.

mod default;
mod global;
mod headered;
#[cfg(all(feature = "jemalloc", not(windows)))]
mod jemalloc;
#[cfg(feature = "mimalloc")]
mod mimalloc;
mod rust;
#[cfg(feature = "snmalloc")]
mod snmalloc;

pub use default::Default;
#[cfg(target_os = "linux")]
pub use default::libc_version;
pub use global::GLOBAL_ALLOCATOR;
#[cfg(all(feature = "jemalloc", not(windows)))]
pub use jemalloc::{Jemalloc, nonstandard as jemalloc_nonstandard};
#[cfg(feature = "mimalloc")]
pub use mimalloc::Mimalloc;
pub use rust::Rust;
#[cfg(feature = "snmalloc")]
pub use snmalloc::Snmalloc;

use crate::functions::Functions;
use crate::{MemoryAllocatorBackend, RawAllocator, Unavailable};

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
            Self::Default => visitor.visit::<Default>(),
            #[cfg(all(feature = "jemalloc", not(windows)))]
            Self::Jemalloc => visitor.visit::<Jemalloc>(),
            #[cfg(not(all(feature = "jemalloc", not(windows))))]
            Self::Jemalloc => return Err(Unavailable::Feature(self)),
            #[cfg(feature = "mimalloc")]
            Self::Mimalloc => visitor.visit::<Mimalloc>(),
            #[cfg(not(feature = "mimalloc"))]
            Self::Mimalloc => return Err(Unavailable::Feature(self)),
            #[cfg(feature = "snmalloc")]
            Self::Snmalloc => visitor.visit::<Snmalloc>(),
            #[cfg(not(feature = "snmalloc"))]
            Self::Snmalloc => return Err(Unavailable::Feature(self)),
            Self::Rust => visitor.visit::<Rust>(),
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
