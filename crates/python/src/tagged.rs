//! A build for tests. Before each block stands a mark of its domain. So the table detects a `free` of a block that this
//! domain did not allocate, counts the block, and does not free it.

use core::ffi::c_void;
use core::sync::atomic::Ordering::Relaxed;

use malloc_backend::RawAllocator;

use crate::c_api::PyMemAllocatorEx;
use crate::counters::Counters;

/// Stands before a block. Its size is the minimum alignment.
#[repr(C, align(16))]
struct Mark {
    /// [`LIVE`] combined with the domain's context.
    tag: u64,
    size: usize,
}

const LIVE: u64 = 0x5bd1_e995_9d3c_2f41;
const HEADER: usize = size_of::<Mark>();

pub fn table<A: RawAllocator>(ctx: *mut c_void) -> PyMemAllocatorEx {
    PyMemAllocatorEx::new(ctx, malloc::<A>, calloc::<A>, realloc::<A>, free::<A>)
}

fn tag(ctx: *mut c_void) -> u64 {
    LIVE ^ ctx.addr() as u64
}

/// # Safety
/// `mark` is null or the start of a new block with room for the mark and `size` bytes.
unsafe fn marked(ctx: *mut c_void, mark: *mut Mark, size: usize) -> *mut c_void {
    if mark.is_null() {
        return mark.cast();
    }
    // SAFETY: the caller's obligation.
    unsafe {
        mark.write(Mark { tag: tag(ctx), size });
        mark.add(1).cast()
    }
}

/// Returns the mark of a block of this domain. Counts a block without a mark.
///
/// # Safety
/// There is readable memory for a mark before `block`.
unsafe fn mark_of(ctx: *mut c_void, block: *mut c_void) -> Option<*mut Mark> {
    // SAFETY: the caller's obligation. `ctx` is the context of a table.
    unsafe {
        let mark = block.cast::<Mark>().sub(1);
        if (*mark).tag == tag(ctx) {
            return Some(mark);
        }
        Counters::of(ctx).foreign.fetch_add(1, Relaxed);
    }
    None
}

unsafe extern "C" fn malloc<A: RawAllocator>(ctx: *mut c_void, size: usize) -> *mut c_void {
    let Some(total) = size.checked_add(HEADER) else { return core::ptr::null_mut() };
    // SAFETY: a new block of this size. `ctx` is the context of the table.
    unsafe {
        let block = marked(ctx, A::malloc(total).cast(), size);
        if !block.is_null() {
            Counters::of(ctx).allocated(size);
        }
        block
    }
}

unsafe extern "C" fn calloc<A: RawAllocator>(ctx: *mut c_void, count: usize, size: usize) -> *mut c_void {
    let Some(total) = count.checked_mul(size) else { return core::ptr::null_mut() };
    // SAFETY: a new block of at least this size.
    unsafe {
        let block = malloc::<A>(ctx, total);
        if !block.is_null() {
            block.cast::<u8>().write_bytes(0, total);
        }
        block
    }
}

unsafe extern "C" fn realloc<A: RawAllocator>(
    ctx: *mut c_void,
    block: *mut c_void,
    size: usize,
) -> *mut c_void {
    // SAFETY: a block with a mark is a live block of this table.
    unsafe {
        if block.is_null() {
            return malloc::<A>(ctx, size);
        }
        let (Some(mark), Some(total)) = (mark_of(ctx, block), size.checked_add(HEADER)) else {
            return core::ptr::null_mut();
        };
        let before = (*mark).size;
        let resized = marked(ctx, A::realloc(mark.cast(), total).cast(), size);
        if !resized.is_null() {
            Counters::of(ctx).reallocated(before, size);
        }
        resized
    }
}

unsafe extern "C" fn free<A: RawAllocator>(ctx: *mut c_void, block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: see `realloc`.
    unsafe {
        let Some(mark) = mark_of(ctx, block) else { return };
        Counters::of(ctx).freed((*mark).size);
        (*mark).tag = 0;
        A::free(mark.cast());
    }
}
