//! A build for tests: each block carries its domain's mark before it, so that one that comes back and was not handed
//! out, or by another domain, is counted and left alone.

use core::ffi::c_void;
use core::sync::atomic::Ordering::Relaxed;

use malloc_backend::RawAllocator;

use crate::c_api::PyMemAllocatorEx;
use crate::counters::Counters;

/// Before a block; as large as the alignment that is asked for.
#[repr(C, align(16))]
struct Mark {
    /// [`LIVE`] and the domain's context together.
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
/// `mark` is null or the beginning of a new block with room for the mark and `size` bytes.
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

/// The mark of a block of this domain; a block without is counted.
///
/// # Safety
/// `block` points to memory with as much before it as a mark needs.
unsafe fn mark_of(ctx: *mut c_void, block: *mut c_void) -> Option<*mut Mark> {
    // SAFETY: the caller's obligation; `ctx` is a table's.
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
    // SAFETY: a new block of that size; `ctx` is the table's.
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
    // SAFETY: a new block of at least that size.
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
    // SAFETY: where there is a mark the block is this table's and live.
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
