//! A backend that knows its live blocks, and ends the test that frees another one or leaves one behind.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;

use malloc_backend::{Default, Functions, MIN_ALIGNMENT, Uncached};

thread_local! {
    /// Where each block begins, its size, its alignment. Of a thread's own: each test has one, and loom runs a model's
    /// threads on the test's.
    static LIVE: RefCell<BTreeMap<usize, (usize, usize)>> = const { RefCell::new(BTreeMap::new()) };
    /// So many requests from now on get no memory.
    static FAIL: Cell<bool> = const { Cell::new(false) };
}

/// The recorder's functions, with the sizes of a backend that has no cache for large blocks.
pub const RECORDER: Functions = Functions {
    malloc: |size| request(size, MIN_ALIGNMENT, false),
    calloc: |count, size| request(count * size, MIN_ALIGNMENT, true),
    aligned_alloc: |alignment, size| request(size, alignment, false),
    realloc,
    free,
    usable_size: |block| size_of_block(block),
    uncached: || Some(SIZES),
    ..Functions::of::<Default>()
};

pub const SIZES: Uncached = Uncached { above: 32 << 10, page: 4 << 10 };

/// Larger sizes are rounded up, as `SIZES` says.
fn rounded(size: usize) -> usize {
    if size > SIZES.above { size.next_multiple_of(SIZES.page) } else { size }
}

fn request(size: usize, alignment: usize, zero: bool) -> *mut c_void {
    let Some(layout) = Layout::from_size_align(rounded(size).max(1), alignment.max(MIN_ALIGNMENT)).ok()
    else {
        return ptr::null_mut();
    };
    if FAIL.get() || size > 1 << 40 {
        return ptr::null_mut();
    }
    // SAFETY: a layout of some bytes.
    let block = unsafe { if zero { alloc_zeroed(layout) } else { alloc(layout) } };
    if !zero {
        // SAFETY: so many bytes of a new block. No test sees zeros by chance.
        unsafe { block.write_bytes(0xa5, layout.size()) };
    }
    let before = LIVE.with_borrow_mut(|live| live.insert(block.addr(), (rounded(size), layout.align())));
    assert_eq!(before, None);
    block.cast()
}

unsafe fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    let known = LIVE.with_borrow_mut(|live| live.remove(&block.addr()));
    let (size, alignment) = known.expect("a live block of the recorder is freed, and once");
    // SAFETY: the layout of `request`, whose block it is.
    unsafe { dealloc(block.cast(), Layout::from_size_align_unchecked(size.max(1), alignment)) };
}

unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    let old = size_of_block(block);
    let new = request(size, MIN_ALIGNMENT, false);
    if !new.is_null() {
        // SAFETY: two live blocks, with as many bytes.
        unsafe {
            new.copy_from_nonoverlapping(block, old.min(size));
            free(block);
        }
    }
    new
}

fn size_of_block(block: *mut c_void) -> usize {
    LIVE.with_borrow(|live| live[&block.addr()].0)
}

/// Whether the backend is to have no more memory.
#[cfg(not(loom))]
pub fn fail(fails: bool) {
    FAIL.set(fails);
}

/// How many blocks are live.
pub fn live() -> usize {
    LIVE.with_borrow(BTreeMap::len)
}

/// Whether the block is a live one.
#[cfg(not(loom))]
pub fn is_live(block: *mut c_void) -> bool {
    LIVE.with_borrow(|live| live.contains_key(&block.addr()))
}
