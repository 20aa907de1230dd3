//! Allocators with one mistake each, built on the C library's allocator. They show that the tests find the mistakes.
//!
//! The mistakes do not harm the process. A real mistake would change freed memory. These allocators change memory that they
//! never free.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::c_void;
use std::ptr;
use std::sync::{LazyLock, Mutex};
use std::thread::{self, ThreadId};

use malloc_backend::{Default, Functions, Stats};

use super::IMPOSSIBLE;

const GOOD: Functions = Functions::of::<Default>();

/// All mistakes, with their names.
pub const MISTAKES: [(&str, Functions); 24] = [
    ("no bytes are null", Functions { malloc: no_bytes_are_null, ..GOOD }),
    (
        "no bytes share a block",
        Functions { malloc: no_bytes_share, realloc: realloc_copies, free: leak, ..GOOD },
    ),
    ("calloc multiplies unchecked", Functions { calloc: calloc_unchecked, ..GOOD }),
    ("calloc multiplies twice", Functions { calloc: calloc_twice, ..GOOD }),
    ("calloc leaves dirt", Functions { calloc: calloc_dirty, ..GOOD }),
    ("small blocks are aligned to 8", Functions { malloc: aligned_to_8, free: leak, ..GOOD }),
    ("alignments over 64 are ignored", Functions { aligned_alloc: aligned_to_64, ..GOOD }),
    ("alignments are ignored for no bytes", Functions { aligned_alloc: aligned_unless_empty, ..GOOD }),
    ("alignments are rounded up", Functions { aligned_alloc: aligned_to_any, ..GOOD }),
    ("realloc loses the last byte", Functions { realloc: realloc_loses, ..GOOD }),
    ("realloc of null is null", Functions { realloc: realloc_null, ..GOOD }),
    ("realloc to no bytes frees", Functions { realloc: realloc_frees, ..GOOD }),
    ("realloc that fails loses the contents", Functions { realloc: realloc_fails, ..GOOD }),
    ("realloc that fails says it did not", Functions { realloc: realloc_pretends, ..GOOD }),
    ("sizes wrap around", Functions { malloc: malloc_wraps, ..GOOD }),
    (
        "blocks are given out twice",
        Functions { malloc: malloc_twice, realloc: realloc_copies, free: leak, ..GOOD },
    ),
    ("usable is less than asked for", Functions { usable_size: usable_less, ..GOOD }),
    ("null has a usable size", Functions { usable_size: usable_null, ..GOOD }),
    (
        "only the own thread may resize",
        Functions { malloc: malloc_owned, realloc: realloc_own, free: leak, ..GOOD },
    ),
    (
        "blocks end with their thread",
        Functions { malloc: malloc_of_thread, realloc: realloc_copies, free: leak, ..GOOD },
    ),
    ("threads are limited", Functions { malloc: malloc_of_few_threads, ..GOOD }),
    ("the version is a name", Functions { version: || Some("glibc".to_owned()), ..GOOD }),
    ("what is absent is 0", Functions { stats: stats_of_zeros, ..GOOD }),
    ("release does nothing", Functions { release: || Ok(()), ..GOOD }),
];

fn no_bytes_are_null(size: usize) -> *mut c_void {
    if size == 0 { ptr::null_mut() } else { (GOOD.malloc)(size) }
}

fn no_bytes_share(size: usize) -> *mut c_void {
    static SHARED: LazyLock<usize> = LazyLock::new(|| (GOOD.malloc)(16).expose_provenance());
    if size == 0 { ptr::with_exposed_provenance_mut(*SHARED) } else { (GOOD.malloc)(size) }
}

fn leak(_block: *mut c_void) {}

fn calloc_unchecked(count: usize, size: usize) -> *mut c_void {
    (GOOD.calloc)(1, count.wrapping_mul(size))
}

/// PyOxidizer's mistake.
fn calloc_twice(count: usize, size: usize) -> *mut c_void {
    (GOOD.calloc)(count, count.saturating_mul(size))
}

fn calloc_dirty(count: usize, size: usize) -> *mut c_void {
    let Some(total) = count.checked_mul(size) else { return ptr::null_mut() };
    let block = (GOOD.malloc)(total);
    if total > 0 && !block.is_null() {
        // SAFETY: the last byte of the block.
        unsafe { block.cast::<u8>().add(total - 1).write(1) };
    }
    block
}

fn aligned_to_8(size: usize) -> *mut c_void {
    let block = (GOOD.malloc)(size.max(16));
    // SAFETY: within the block, which has 16 bytes.
    if size <= 8 { unsafe { block.byte_add(8) } } else { block }
}

fn aligned_to_64(alignment: usize, size: usize) -> *mut c_void {
    let block = (GOOD.aligned_alloc)(alignment, size);
    if alignment <= 64 || block.is_null() {
        return block;
    }
    let from_there = (GOOD.aligned_alloc)(alignment, size + 64);
    // SAFETY: within the block. This block and the block before are never freed.
    unsafe { from_there.byte_add(64) }
}

fn aligned_unless_empty(alignment: usize, size: usize) -> *mut c_void {
    if size == 0 && alignment.is_power_of_two() {
        (GOOD.malloc)(0)
    } else {
        (GOOD.aligned_alloc)(alignment, size)
    }
}

fn aligned_to_any(alignment: usize, size: usize) -> *mut c_void {
    match alignment.checked_next_power_of_two() {
        Some(alignment) => (GOOD.aligned_alloc)(alignment, size),
        None => ptr::null_mut(),
    }
}

/// A realloc that always moves the block, and never frees the old block.
///
/// # Safety
/// As of `realloc`.
unsafe fn realloc_copies(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's obligation.
    unsafe { realloc_but(block, size, 0) }
}

/// # Safety
/// As of `realloc`.
unsafe fn realloc_loses(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's obligation.
    unsafe { realloc_but(block, size, 1) }
}

/// # Safety
/// As of `realloc`.
unsafe fn realloc_but(block: *mut c_void, size: usize, lost: usize) -> *mut c_void {
    let moved = (GOOD.malloc)(size);
    if !block.is_null() && !moved.is_null() {
        // SAFETY: both blocks have this many bytes.
        unsafe {
            let kept = (GOOD.usable_size)(block).min(size);
            moved.cast::<u8>().write_bytes(0, size);
            moved.copy_from_nonoverlapping(block, kept.saturating_sub(lost));
        }
    }
    moved
}

/// # Safety
/// As of `realloc`.
unsafe fn realloc_null(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's obligation.
    if block.is_null() { block } else { unsafe { (GOOD.realloc)(block, size) } }
}

/// # Safety
/// As of `realloc`.
unsafe fn realloc_frees(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's obligation.
    if size == 0 { ptr::null_mut() } else { unsafe { (GOOD.realloc)(block, size) } }
}

/// # Safety
/// As of `realloc`.
unsafe fn realloc_fails(block: *mut c_void, size: usize) -> *mut c_void {
    if IMPOSSIBLE.contains(&size) && !block.is_null() {
        // SAFETY: every block has a byte.
        unsafe { block.cast::<u8>().write(block.cast::<u8>().read() ^ 1) };
        return ptr::null_mut();
    }
    // SAFETY: the caller's obligation.
    unsafe { (GOOD.realloc)(block, size) }
}

/// # Safety
/// As of `realloc`.
unsafe fn realloc_pretends(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's obligation.
    if IMPOSSIBLE.contains(&size) { block } else { unsafe { (GOOD.realloc)(block, size) } }
}

fn malloc_wraps(size: usize) -> *mut c_void {
    (GOOD.malloc)(size.wrapping_add(16).min(1 << 40))
}

fn malloc_twice(size: usize) -> *mut c_void {
    static LAST: Mutex<usize> = Mutex::new(0);
    let mut last = LAST.lock().expect("nobody panics here");
    let block: *mut c_void = ptr::with_exposed_provenance_mut(*last);
    // SAFETY: null, or a block that is never freed.
    if !block.is_null() && unsafe { (GOOD.usable_size)(block) } >= size {
        *last = 0;
        return block;
    }
    let block = (GOOD.malloc)(size);
    *last = block.expose_provenance();
    block
}

/// # Safety
/// As of `usable_size`.
unsafe fn usable_less(block: *mut c_void) -> usize {
    // SAFETY: the caller's obligation.
    unsafe { (GOOD.usable_size)(block) / 2 }
}

/// # Safety
/// As of `usable_size`.
unsafe fn usable_null(block: *mut c_void) -> usize {
    // SAFETY: the caller's obligation.
    if block.is_null() { 16 } else { unsafe { (GOOD.usable_size)(block) } }
}

static OWNERS: LazyLock<Mutex<HashMap<usize, ThreadId>>> = LazyLock::new(Mutex::default);

fn malloc_owned(size: usize) -> *mut c_void {
    let block = (GOOD.malloc)(size);
    OWNERS.lock().expect("nobody panics here").insert(block.addr(), thread::current().id());
    block
}

/// # Safety
/// As of `realloc`.
unsafe fn realloc_own(block: *mut c_void, size: usize) -> *mut c_void {
    let owner = OWNERS.lock().expect("nobody panics here").get(&block.addr()).copied();
    if owner.is_some_and(|owner| owner != thread::current().id()) {
        return ptr::null_mut();
    }
    // SAFETY: the caller's obligation.
    unsafe { realloc_copies(block, size) }
}

fn malloc_of_thread(size: usize) -> *mut c_void {
    struct Blocks(Vec<*mut c_void>);
    impl Drop for Blocks {
        fn drop(&mut self) {
            for block in &self.0 {
                // SAFETY: every block has a byte, and is never freed.
                unsafe { block.cast::<u8>().write(block.cast::<u8>().read() ^ 1) };
            }
        }
    }
    thread_local!(static BLOCKS: RefCell<Blocks> = const { RefCell::new(Blocks(Vec::new())) });
    let block = (GOOD.malloc)(size);
    if !block.is_null() {
        BLOCKS.with_borrow_mut(|blocks| blocks.0.push(block));
    }
    block
}

fn malloc_of_few_threads(size: usize) -> *mut c_void {
    static THREADS: LazyLock<Mutex<HashSet<ThreadId>>> = LazyLock::new(Mutex::default);
    let mut threads = THREADS.lock().expect("nobody panics here");
    threads.insert(thread::current().id());
    if threads.len() > 250 { ptr::null_mut() } else { (GOOD.malloc)(size) }
}

fn stats_of_zeros() -> Stats {
    let stats = (GOOD.stats)();
    Stats { retained: Some(stats.retained.unwrap_or(0)), ..stats }
}
