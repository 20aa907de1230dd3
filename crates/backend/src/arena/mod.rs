//! An arena: a heap within a range of address space that is known beforehand.
//!
//! The arena's own structures lie outside of the range: a stray write into the range damages blocks, not the arena.
//! jemalloc can do that; mimalloc keeps its lists in free blocks, and snmalloc takes no range.

use alloc::sync::Arc;
use core::fmt;

use crate::MemoryAllocatorBackend;

mod jemalloc;
pub(crate) mod purge;
mod range;

pub use jemalloc::Arena;
pub use range::Range;

/// Why there is no arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoArena {
    /// The backend cannot keep a heap within a range and its structures outside.
    Unsupported(MemoryAllocatorBackend),
    /// The address space, or what the backend needs to keep of an arena, cannot be had.
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
    /// Reserves a range of at least `size` bytes and makes an arena in it. The system commits memory page by page, as it
    /// is used.
    ///
    /// # Errors
    /// Where the backend cannot, or the system does not give the address space.
    pub fn of(backend: MemoryAllocatorBackend, size: usize) -> Result<Self, NoArena> {
        if backend != MemoryAllocatorBackend::Jemalloc {
            return Err(NoArena::Unsupported(backend));
        }
        let range = Range::reserve(size, jemalloc::ALIGNMENT).ok_or(NoArena::OutOfMemory)?;
        Self::new(Arc::new(range)).ok_or(NoArena::OutOfMemory)
    }
}
