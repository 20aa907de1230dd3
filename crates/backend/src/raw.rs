use alloc::string::String;
use core::ffi::c_void;
use core::fmt;

use crate::MemoryAllocatorBackend;

/// The alignment in bytes of every block of any size: the alignment of `max_align_t` on 64-bit platforms.
pub const MIN_ALIGNMENT: usize = 16;

/// The size to request for `size` bytes from an allocator that aligns a small block only as an object of this size needs
/// (C17 7.22.3). jemalloc and mimalloc do so for blocks of up to 8 bytes.
#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
#[inline(always)]
pub(crate) const fn aligned_by_size(size: usize) -> usize {
    if size < ALIGNED_BY_SIZE { MIN_ALIGNMENT } else { size }
}

/// These allocators align blocks of at least this size to [`MIN_ALIGNMENT`].
#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
pub(crate) const ALIGNED_BY_SIZE: usize = 9;

/// [`aligned_by_size`] for `count` elements of `size` bytes. Returns the pair unchanged unless the product is too small.
#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
#[inline(always)]
pub(crate) const fn aligned_by_size_of_array(count: usize, size: usize) -> (usize, usize) {
    match count.checked_mul(size) {
        Some(total) if total < ALIGNED_BY_SIZE => (1, MIN_ALIGNMENT),
        _ => (count, size),
    }
}

/// A memory allocator with the semantics of C's `malloc` family. Where C leaves a choice, this trait decides:
///
/// - A request of 0 bytes returns a block of its own, never null.
/// - Every block is aligned to [`MIN_ALIGNMENT`].
/// - A request that fails returns null, and the process continues. An overflow in [`calloc`](Self::calloc) also fails.
/// - [`realloc`](Self::realloc) never frees. With 0 bytes it shrinks the block. After a failure, the old block and its
///   contents are unchanged.
/// - Any thread may free, resize and measure a block.
///
/// The functions are associated functions and not methods. So a table of them (Python's `PyMemAllocatorEx`, a preloaded
/// `malloc`) has one monomorphic function for each slot, and needs no lookup at run time.
///
/// # Safety
/// An implementation must obey these rules. Until a block is freed, nothing else may use its memory.
pub unsafe trait RawAllocator {
    /// The backend of this allocator.
    const BACKEND: MemoryAllocatorBackend;

    /// The minimum size of a request. A smaller size is raised to it, for the alignment. 0 means no minimum.
    const LEAST: usize = 0;

    /// Allocates a block of at least `size` bytes with undefined contents. Returns null after a failure.
    fn malloc(size: usize) -> *mut c_void;

    /// [`malloc`](Self::malloc), for a caller that has already raised the size.
    ///
    /// # Safety
    /// `size` is at least [`LEAST`](Self::LEAST).
    #[inline(always)]
    unsafe fn malloc_raised(size: usize) -> *mut c_void {
        Self::malloc(size)
    }

    /// Allocates a zeroed block for `count` elements of `size` bytes. Returns null after a failure or an overflow.
    fn calloc(count: usize, size: usize) -> *mut c_void;

    /// Changes the size of a block to `size`, perhaps at another address. Keeps the first `min(old, new)` bytes. After a
    /// failure, returns null, and `block` is unchanged. With a null `block`, this is [`malloc`](Self::malloc).
    ///
    /// # Safety
    /// `block` is null or a live block of this allocator. After a success, `block` is freed.
    unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void;

    /// Frees the block. Does nothing for null.
    ///
    /// # Safety
    /// `block` is null or a live block of this allocator. Nothing uses it afterwards.
    unsafe fn free(block: *mut c_void);

    /// Number of usable bytes of the block: at least the requested size. 0 for null.
    ///
    /// # Safety
    /// `block` is null or a live block of this allocator.
    unsafe fn usable_size(block: *mut c_void) -> usize;

    /// Allocates a block at a multiple of `alignment`. Returns null after a failure, or if `alignment` is not a power of
    /// two. The block is freed like any other. [`realloc`](Self::realloc) need not keep the alignment.
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void;

    /// The sizes that cost several times as much as smaller sizes, so that a cache of freed blocks is useful. `None` if a
    /// large block costs no more than a small block.
    fn uncached() -> Option<Uncached> {
        None
    }

    /// The allocator's version, if it has one.
    fn version() -> Option<String>;

    /// The allocator's statistics.
    fn stats() -> Stats;

    /// Empties the calling thread's own cache or heap, so that a [`release`](Self::release) on another thread finds this
    /// free memory. This takes little time. With `purge`, the function also returns the remaining free memory that only
    /// this thread can reach to the system.
    fn collect_thread(_purge: bool) {}

    /// Returns the allocator's free memory to the system. This may take a while. The caches of other threads stay.
    ///
    /// # Errors
    /// [`CannotRelease`] if the allocator has no function that returns memory.
    fn release() -> Result<(), CannotRelease>;
}

/// The sizes for which an allocator has no thread cache: see [`RawAllocator::uncached`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncached {
    /// All sizes above this number of bytes.
    pub above: usize,
    /// The allocator rounds these sizes up to a multiple of this number.
    pub page: usize,
}

/// The statistics of an allocator, in bytes. A figure is absent if the backend does not know it. The figures have the
/// meanings of jemalloc's `stats.*` ([jemalloc(3)](https://jemalloc.net/jemalloc.3.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, core::default::Default)]
pub struct Stats {
    /// Bytes in live blocks.
    pub allocated: Option<u64>,
    /// Bytes in pages with live blocks.
    pub active: Option<u64>,
    /// Bytes in the allocator's own data structures.
    pub metadata: Option<u64>,
    /// Bytes in physical memory.
    pub resident: Option<u64>,
    /// Mapped, usable bytes.
    pub mapped: Option<u64>,
    /// Bytes of reserved address space without memory.
    pub retained: Option<u64>,
}

/// The allocator has no function that returns memory to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CannotRelease(pub MemoryAllocatorBackend);

impl fmt::Display for CannotRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no way to give memory back to the system on request", self.0)
    }
}

impl core::error::Error for CannotRelease {}
