use alloc::string::String;
use core::ffi::c_void;
use core::fmt;

use crate::MemoryAllocatorBackend;

/// The alignment in bytes of every block, whatever its size: that of `max_align_t` on 64-bit platforms.
pub const MIN_ALIGNMENT: usize = 16;

/// What to ask an allocator for that aligns a block of `size` bytes only as an object of that size needs
/// (C17 7.22.3), as jemalloc and mimalloc do with 8 bytes and less.
#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
#[inline(always)]
pub(crate) const fn aligned_by_size(size: usize) -> usize {
    if size < ALIGNED_BY_SIZE { MIN_ALIGNMENT } else { size }
}

/// From so many bytes up they align a block to [`MIN_ALIGNMENT`].
#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
pub(crate) const ALIGNED_BY_SIZE: usize = 9;

/// [`aligned_by_size`] for `count` elements of `size` bytes: the pair, unless the product is that small.
#[cfg(any(feature = "jemalloc", feature = "mimalloc"))]
#[inline(always)]
pub(crate) const fn aligned_by_size_of_array(count: usize, size: usize) -> (usize, usize) {
    match count.checked_mul(size) {
        Some(total) if total < ALIGNED_BY_SIZE => (1, MIN_ALIGNMENT),
        _ => (count, size),
    }
}

/// A memory allocator with the semantics of C's `malloc` family, made definite where C leaves a choice:
///
/// - A request of no bytes gets a block of its own, never null.
/// - Every block is aligned to [`MIN_ALIGNMENT`].
/// - What cannot be had, overflow in [`calloc`](Self::calloc) included, is null; the process goes on.
/// - [`realloc`](Self::realloc) never frees: to no bytes it shrinks, and where it fails the old block and its
///   contents stay.
/// - A block may be freed, resized and measured by any thread.
///
/// The functions are associated, not methods, so that a table of them (Python's `PyMemAllocatorEx`, a
/// preloaded `malloc`) has one monomorphic function per slot and nothing to look up at run time.
///
/// # Safety
/// An implementation must keep to the above, and the memory of each block must belong to nobody else until
/// the block is freed.
pub unsafe trait RawAllocator {
    /// Which of the five this is.
    const BACKEND: MemoryAllocatorBackend;

    /// A request for fewer bytes is raised to so many, for the alignment; 0 where none is.
    const LEAST: usize = 0;

    /// A block of at least `size` bytes with undefined contents, or null.
    fn malloc(size: usize) -> *mut c_void;

    /// [`malloc`](Self::malloc), for a caller who has raised the size.
    ///
    /// # Safety
    /// `size` is at least [`LEAST`](Self::LEAST).
    #[inline(always)]
    unsafe fn malloc_raised(size: usize) -> *mut c_void {
        Self::malloc(size)
    }

    /// A zeroed block for `count` elements of `size` bytes each, or null, also where the product overflows.
    fn calloc(count: usize, size: usize) -> *mut c_void;

    /// The block with its first `min(old, new)` bytes kept and room for `size`, perhaps elsewhere; or null,
    /// and `block` is as before. A null `block` makes it [`malloc`](Self::malloc).
    ///
    /// # Safety
    /// `block` is null or a live block of this allocator. Once this returned non-null it is live no more.
    unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void;

    /// Frees the block; null is no block and nothing happens.
    ///
    /// # Safety
    /// `block` is null or a live block of this allocator, and is not used after.
    unsafe fn free(block: *mut c_void);

    /// How many bytes of the block may be used: at least what was asked for. 0 for null.
    ///
    /// # Safety
    /// `block` is null or a live block of this allocator.
    unsafe fn usable_size(block: *mut c_void) -> usize;

    /// A block at a multiple of `alignment`, or null: also where `alignment` is not a power of two. It is
    /// freed like any other; a [`realloc`](Self::realloc) need not keep the alignment.
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void;

    /// The sizes that cost several times as much as smaller ones, so that a freed block is worth keeping for the next
    /// request. `None` where a large block costs no more than a small one.
    fn uncached() -> Option<Uncached> {
        None
    }

    /// The allocator's version, where it has one.
    fn version() -> Option<String>;

    /// What the allocator can tell of itself.
    fn stats() -> Stats;

    /// Has what is free in the calling thread's own cache or heap go to where a [`release`](Self::release) by another
    /// thread finds it, which takes little time. With `purge`, what then is left and only this thread can reach goes
    /// back to the system.
    fn collect_thread(_purge: bool) {}

    /// Gives memory that is free within the allocator back to the system. May take a while. What other threads keep
    /// for themselves stays.
    ///
    /// # Errors
    /// [`CannotRelease`] where the allocator has no way to.
    fn release() -> Result<(), CannotRelease>;
}

/// Sizes that an allocator has no thread cache for: see [`RawAllocator::uncached`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncached {
    /// Those above so many bytes.
    pub above: usize,
    /// They are rounded up to a multiple of this.
    pub page: usize,
}

/// Statistics of an allocator in bytes. What a backend cannot tell is absent. The meanings are those of
/// jemalloc's `stats.*` ([jemalloc(3)](https://jemalloc.net/jemalloc.3.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, core::default::Default)]
pub struct Stats {
    /// In live blocks.
    pub allocated: Option<u64>,
    /// In pages that hold live blocks.
    pub active: Option<u64>,
    /// The allocator's own structures.
    pub metadata: Option<u64>,
    /// In physical memory.
    pub resident: Option<u64>,
    /// Mapped and usable.
    pub mapped: Option<u64>,
    /// Address space that is kept without memory behind it.
    pub retained: Option<u64>,
}

/// The allocator has no way to give memory back to the system on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CannotRelease(pub MemoryAllocatorBackend);

impl fmt::Display for CannotRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no way to give memory back to the system on request", self.0)
    }
}

impl core::error::Error for CannotRelease {}
