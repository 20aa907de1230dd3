use alloc::borrow::ToOwned;
use alloc::string::String;
use core::ffi::c_void;

use snmalloc_sys as sys;

use crate::{CannotRelease, MIN_ALIGNMENT, MemoryAllocatorBackend, RawAllocator, Stats};

/// snmalloc, from snmalloc-sys.
pub enum Snmalloc {}

/// snmalloc has no function that returns its version. The crate has the number of the release. A test compares this
/// constant with Cargo.lock.
const VERSION: &str = "0.7.6";

// SAFETY: snmalloc's functions have C's semantics. Its smallest block has 16 bytes, and every block is aligned to 16.
unsafe impl RawAllocator for Snmalloc {
    const BACKEND: MemoryAllocatorBackend = MemoryAllocatorBackend::Snmalloc;

    #[inline(always)]
    fn malloc(size: usize) -> *mut c_void {
        // SAFETY: accepts any size, and so does `sn_calloc`.
        unsafe { sys::sn_malloc(size) }
    }

    #[inline(always)]
    fn calloc(count: usize, size: usize) -> *mut c_void {
        // SAFETY: see `malloc`.
        unsafe { sys::sn_calloc(count, size) }
    }

    #[inline(always)]
    unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the contract is the same, except for a size of 0, for which snmalloc would free the block.
        unsafe { sys::sn_realloc(block, size.max(1)) }
    }

    #[inline(always)]
    unsafe fn free(block: *mut c_void) {
        // SAFETY: the contract is the same.
        unsafe { sys::sn_free(block) }
    }

    #[inline(always)]
    unsafe fn usable_size(block: *mut c_void) -> usize {
        if block.is_null() {
            return 0;
        }
        // SAFETY: the contract is the same.
        unsafe { sys::sn_malloc_usable_size(block) }
    }

    #[inline(always)]
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
        if !alignment.is_power_of_two() {
            return core::ptr::null_mut();
        }
        // snmalloc aligns a block by rounding its size up to a multiple of the alignment. This fails for size 0, so pass 1.
        // SAFETY: the alignment is a power of two.
        unsafe { sys::sn_rust_alloc(alignment.max(MIN_ALIGNMENT), size.max(1)) }
    }

    fn version() -> Option<String> {
        Some(VERSION.to_owned())
    }

    /// snmalloc counts only the pages that contain live blocks or contained them until recently.
    fn stats() -> Stats {
        let (mut current, mut peak) = (0, 0);
        // SAFETY: two writable places.
        unsafe { sys::sn_rust_statistics(&mut current, &mut peak) };
        Stats { active: Some(current as u64), ..Stats::default() }
    }

    /// snmalloc returns pages by itself, and has no function that returns them.
    fn release() -> Result<(), CannotRelease> {
        Err(CannotRelease(Self::BACKEND))
    }
}

#[cfg(test)]
#[test]
fn version_is_the_crate_s() {
    let lock = include_str!("../../../../Cargo.lock");
    assert!(lock.contains(&alloc::format!("name = \"snmalloc-sys\"\nversion = \"{VERSION}\"")));
}
