//! The allocators: one module for each backend, and the conversion from a backend's name to its type.

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

/// An operation on the type of any allocator: see [`MemoryAllocatorBackend::visit`].
pub trait Visitor {
    /// The result.
    type Output;

    /// Runs the operation on allocator `A`.
    fn visit<A: RawAllocator>(self) -> Self::Output;
}

impl MemoryAllocatorBackend {
    /// Calls the visitor with the type of the backend's allocator.
    ///
    /// # Errors
    /// If this build does not contain the backend: see [`available`](Self::available).
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
    /// If this build does not contain the backend: see [`available`](Self::available).
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
