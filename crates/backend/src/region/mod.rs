//! A heap within a range of address space that is known beforehand, so that a block in it is an offset.

use alloc::boxed::Box;
use core::ffi::c_void;
use core::fmt;

use crate::MemoryAllocatorBackend;

#[cfg(feature = "jemalloc")]
mod jemalloc;
#[cfg(feature = "mimalloc")]
mod mimalloc;
#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
mod range;

#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
use range::Range;

/// A heap that lies in one range, all of it.
///
/// A thread that has ended leaves it unusable: it is made, used and dropped on the same one.
pub struct Region {
    heap: Box<dyn RangeHeap>,
    start: *mut c_void,
    size: usize,
}

/// What a backend's heap in a range can do.
trait RangeHeap {
    /// Where the range begins, and how large it is.
    fn extent(&self) -> (*mut c_void, usize);

    /// A block, or null.
    fn allocate(&self, size: usize, alignment: usize) -> *mut c_void;

    /// # Safety
    /// A live block of this heap, which is not used after.
    unsafe fn free(&self, block: *mut c_void);

    /// Frees all blocks. False where the heap is of no use any more.
    ///
    /// # Safety
    /// No block is used after.
    unsafe fn reset(&mut self) -> bool;
}

/// Why there is no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRegion {
    /// The backend cannot keep a heap within a range, or is not in this build.
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
        let heap = heap_in_range(backend, size)?;
        let (start, size) = heap.extent();
        Ok(Self { heap, start, size })
    }

    /// Where the range begins.
    pub fn start(&self) -> *mut c_void {
        self.start
    }

    /// How large it is: what was asked for, rounded up as the backend needs it.
    pub fn size(&self) -> usize {
        self.size
    }

    /// A block, as its offset in the range. `None` where there is no room for it; or where a stray write has damaged
    /// the heap so far that it gave what is not in the range.
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

#[allow(unused_variables)]
fn heap_in_range(backend: MemoryAllocatorBackend, size: usize) -> Result<Box<dyn RangeHeap>, NoRegion> {
    match backend {
        #[cfg(feature = "jemalloc")]
        MemoryAllocatorBackend::Jemalloc => {
            Ok(Box::new(jemalloc::Heap::new(size).ok_or(NoRegion::OutOfMemory)?))
        }
        #[cfg(feature = "mimalloc")]
        MemoryAllocatorBackend::Mimalloc => {
            Ok(Box::new(mimalloc::Heap::new(size).ok_or(NoRegion::OutOfMemory)?))
        }
        _ => Err(NoRegion::Unsupported(backend)),
    }
}
