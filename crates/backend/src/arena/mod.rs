//! An arena: a heap within a given range of address space.
//!
//! The arena's own data structures lie outside the range. So a stray write into the range damages blocks, but not the
//! arena. Only jemalloc can do this: mimalloc keeps its lists in free blocks, and snmalloc accepts no range.

use alloc::sync::Arc;
use core::fmt;

use crate::MemoryAllocatorBackend;

mod jemalloc;
pub(crate) mod purge;
mod range;

pub use jemalloc::Arena;
pub use range::Range;

/// Why no arena could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoArena {
    /// The backend cannot keep a heap within a range and its own data structures outside.
    Unsupported(MemoryAllocatorBackend),
    /// The system did not provide the address space, or the memory for the arena's data structures.
    OutOfMemory,
}

impl fmt::Display for NoArena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(backend) => {
                write!(f, "{backend} cannot keep a heap within a given range of memory")
            }
            Self::OutOfMemory => f.write_str("the address space cannot be reserved"),
        }
    }
}

impl core::error::Error for NoArena {}

impl Arena {
    /// Reserves a range of at least `size` bytes and makes an arena in it. The system provides the memory of a page at its
    /// first use.
    ///
    /// # Errors
    /// If the backend has no arenas, or the system does not provide the address space.
    pub fn of(backend: MemoryAllocatorBackend, size: usize) -> Result<Self, NoArena> {
        if backend != MemoryAllocatorBackend::Jemalloc {
            return Err(NoArena::Unsupported(backend));
        }
        let range = Range::reserve(size, jemalloc::ALIGNMENT).ok_or(NoArena::OutOfMemory)?;
        Self::new(Arc::new(range)).ok_or(NoArena::OutOfMemory)
    }
}
