//! C's `malloc` on Rust's [`GlobalAlloc`]. A `GlobalAlloc` needs the layout of a block when it frees the block, but C's `free`
//! does not pass it.
//!
//! So a header before the block contains the layout. This needs no table and no lock:
//!
//! ```text
//!  base                    block - 16        block
//!   | … padding (align - 16) | size   align | the caller's bytes …
//! ```
//!
//! `base` and `block` are both multiples of `align`, and `align` bytes lie between them.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;
use core::ptr;

use crate::MIN_ALIGNMENT;

#[repr(C)]
struct Header {
    /// The size of the block's memory. After a small shrink, it is larger than the requested size.
    size: usize,
    align: usize,
}

const _: () = assert!(size_of::<Header>() <= MIN_ALIGNMENT);

/// A block that shrinks by at most half, and by at most this many bytes, stays unchanged. The unused part is too small to
/// return to the system, and a reallocation would take time.
const KEPT: usize = 4096;

/// If a block of up to this size (including the header) does not fit, it is copied to a new block and not reallocated. Up to
/// this size, glibc has a cache for each thread, but its `realloc` does not use this cache (malloc/malloc.c,
/// `_int_realloc`).
const MOVED: usize = 1024;

/// The layout for the underlying allocator. `None` if there is no valid layout.
fn layout(size: usize, align: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(align)?, align).ok()
}

/// The header of a block.
///
/// # Safety
/// `block` is a live block of this module.
unsafe fn header(block: *mut c_void) -> *mut Header {
    // SAFETY: every block has `align >= 16` bytes before it in the same allocation, and the header fits into them.
    unsafe { block.byte_sub(size_of::<Header>()).cast() }
}

fn allocate<A: GlobalAlloc>(
    allocator: &A,
    size: usize,
    align: usize,
    from: unsafe fn(&A, Layout) -> *mut u8,
) -> *mut c_void {
    let Some(layout) = layout(size, align) else { return ptr::null_mut() };
    // SAFETY: the layout's size is at least `align`, so not zero.
    let base = unsafe { from(allocator, layout) };
    if base.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the allocation has `align + size` bytes. So the block lies inside or one past its end, and the header lies
    // before the block. `align` is a multiple of the header's alignment.
    unsafe {
        let block = base.add(align).cast();
        header(block).write(Header { size, align });
        block
    }
}

pub fn malloc<A: GlobalAlloc>(allocator: &A, size: usize) -> *mut c_void {
    allocate(allocator, size, MIN_ALIGNMENT, A::alloc)
}

pub fn calloc<A: GlobalAlloc>(allocator: &A, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        Some(total) => allocate(allocator, total, MIN_ALIGNMENT, A::alloc_zeroed),
        None => ptr::null_mut(),
    }
}

pub fn aligned_alloc<A: GlobalAlloc>(allocator: &A, alignment: usize, size: usize) -> *mut c_void {
    if !alignment.is_power_of_two() {
        return ptr::null_mut();
    }
    allocate(allocator, size, alignment.max(MIN_ALIGNMENT), A::alloc)
}

/// # Safety
/// The conditions of [`RawAllocator::realloc`](crate::RawAllocator::realloc).
pub unsafe fn realloc<A: GlobalAlloc>(allocator: &A, block: *mut c_void, size: usize) -> *mut c_void {
    if block.is_null() {
        return malloc(allocator, size);
    }
    // SAFETY: a live block has a header, and the layout was valid when the block was made.
    let Header { size: old, align } = unsafe { header(block).read() };
    if size <= old && old - size <= (old / 2).min(KEPT) {
        return block;
    }
    if old.max(size).saturating_add(align) <= MOVED {
        let moved = allocate(allocator, size, align, A::alloc);
        if !moved.is_null() {
            // SAFETY: both blocks have enough bytes and do not overlap. The old block is live, and nothing uses it afterwards.
            unsafe {
                moved.copy_from_nonoverlapping(block, old.min(size));
                free(allocator, block);
            }
        }
        return moved;
    }
    let (Some(before), Some(after)) = (layout(old, align), layout(size, align)) else {
        return ptr::null_mut();
    };
    // SAFETY: `base` and `before` belong to the allocation. `after` is a valid layout with the same alignment, and its size
    // is not zero.
    let base = unsafe { allocator.realloc(block.byte_sub(align).cast(), before, after.size()) };
    if base.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: as in `allocate`. The bytes before the block, including the header, were copied too.
    unsafe {
        let block = base.add(align).cast();
        (*header(block)).size = size;
        block
    }
}

/// # Safety
/// The conditions of [`RawAllocator::free`](crate::RawAllocator::free).
pub unsafe fn free<A: GlobalAlloc>(allocator: &A, block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: a live block has a header, and its layout was valid when the block was made. So neither the sum nor the
    // alignment needs a check. `base` is the start of the allocation.
    unsafe {
        let Header { size, align } = header(block).read();
        let layout = Layout::from_size_align_unchecked(size + align, align);
        allocator.dealloc(block.byte_sub(align).cast(), layout);
    }
}

/// # Safety
/// The conditions of [`RawAllocator::usable_size`](crate::RawAllocator::usable_size).
pub unsafe fn usable_size(block: *mut c_void) -> usize {
    // SAFETY: a live block has a header.
    if block.is_null() { 0 } else { unsafe { (*header(block)).size } }
}
