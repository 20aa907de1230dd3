//! A heap within a range of address space that is known beforehand, so that a block in it is an offset.
//!
//! The heap's own structures lie outside of the range: who gets the range to see and writes where no block is damages
//! blocks, and not the heap. jemalloc can do that; mimalloc keeps its lists in free blocks, and snmalloc takes no range.

use alloc::sync::Arc;
use core::ffi::c_void;
use core::fmt;

use crate::MemoryAllocatorBackend;

mod jemalloc;
pub(crate) mod purge;
mod range;

pub use range::Range;

/// A heap that lies in one range, all of it.
pub struct Region {
    heap: jemalloc::Heap,
    start: *mut c_void,
    size: usize,
}

/// Why there is no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRegion {
    /// The backend cannot keep a heap within a range and its structures outside.
    Unsupported(MemoryAllocatorBackend),
    /// The address space, or what the backend needs to keep of a heap, cannot be had.
    OutOfMemory,
}

impl fmt::Display for NoRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(backend) => {
                write!(f, "{backend} cannot keep a heap within a given range of memory")
            }
            Self::OutOfMemory => f.write_str("the address space cannot be reserved"),
        }
    }
}

impl core::error::Error for NoRegion {}

impl Region {
    /// Reserves a range of at least `size` bytes and makes a heap in it. Memory is committed by the system, page by
    /// page, as it is used.
    ///
    /// # Errors
    /// Where the backend cannot, or the system does not give the address space.
    pub fn new(backend: MemoryAllocatorBackend, size: usize) -> Result<Self, NoRegion> {
        if backend != MemoryAllocatorBackend::Jemalloc {
            return Err(NoRegion::Unsupported(backend));
        }
        let heap = jemalloc::Heap::new(size).ok_or(NoRegion::OutOfMemory)?;
        let range = heap.range();
        let (start, size) = (range.start(), range.size());
        Ok(Self { heap, start, size })
    }

    /// The range, which stays as long as somebody has a count of it. Once the region is dropped, its memory is that of
    /// whoever has one.
    pub fn range(&self) -> Arc<Range> {
        self.heap.range()
    }

    /// A block, as its offset in the range. `None` where there is no room for it.
    #[inline(always)]
    pub fn allocate(&self, size: usize, alignment: usize) -> Option<usize> {
        let block = self.heap.allocate(size, alignment);
        let offset = block.addr().wrapping_sub(self.start.addr());
        (!block.is_null() && offset < self.size && size <= self.size - offset).then_some(offset)
    }

    /// Frees a block.
    ///
    /// # Safety
    /// The offset is that of a live block of this region, which is not used after.
    #[inline(always)]
    pub unsafe fn free(&self, offset: usize) {
        // SAFETY: the caller's obligation.
        unsafe { self.heap.free(self.start.byte_add(offset)) }
    }

    /// Frees all blocks at once. False where the heap could not be made anew, and the region is of no use any more.
    ///
    /// # Safety
    /// No block is used after.
    #[must_use]
    pub unsafe fn reset(&mut self) -> bool {
        // SAFETY: the caller's obligation.
        unsafe { self.heap.reset() }
    }
}
