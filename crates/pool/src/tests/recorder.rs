//! A backend that records its live blocks. It fails a test that frees an unknown block or leaves a block behind.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;

use malloc_backend::{Default, Functions, MIN_ALIGNMENT, Uncached};

thread_local! {
    /// The address, size and alignment of each block. Thread-local: each test has its own thread, and loom runs all threads of
    /// a model on the thread of the test.
    static LIVE: RefCell<BTreeMap<usize, (usize, usize)>> = const { RefCell::new(BTreeMap::new()) };
    /// Number of further requests that fail.
    static FAIL: Cell<bool> = const { Cell::new(false) };
}

/// The functions of the recorder. Its sizes are those of a backend without a cache for large blocks.
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

/// Rounds larger sizes up, as `SIZES` says.
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

/// Sets whether requests fail.
#[cfg(not(loom))]
pub fn fail(fails: bool) {
    FAIL.set(fails);
}

/// Number of live blocks.
pub fn live() -> usize {
    LIVE.with_borrow(BTreeMap::len)
}

/// Whether the block is live.
#[cfg(not(loom))]
pub fn is_live(block: *mut c_void) -> bool {
    LIVE.with_borrow(|live| live.contains_key(&block.addr()))
}
