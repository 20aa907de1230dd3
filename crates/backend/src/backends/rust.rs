use alloc::alloc as global_alloc;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;

use super::global::{self, GLOBAL_ALLOCATOR};
use super::headered;
use crate::{CannotRelease, MemoryAllocatorBackend, RawAllocator, Stats};

/// Rust's global allocator: the system's allocator, or the allocator that a `global-*` feature chooses.
pub enum Rust {}

/// The functions of [`alloc::alloc`], which call the registered global allocator.
struct Global;

// SAFETY: passes all arguments unchanged.
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the called function has the same obligations. The same is true below.
        unsafe { global_alloc::alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: see `alloc`.
        unsafe { global_alloc::dealloc(block, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see `alloc`.
        unsafe { global_alloc::alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: see `alloc`.
        unsafe { global_alloc::realloc(block, layout, size) }
    }
}

// SAFETY: `headered` obeys the contract on any `GlobalAlloc`.
unsafe impl RawAllocator for Rust {
    const BACKEND: MemoryAllocatorBackend = MemoryAllocatorBackend::Rust;

    fn malloc(size: usize) -> *mut c_void {
        headered::malloc(&Global, size)
    }
    fn calloc(count: usize, size: usize) -> *mut c_void {
        headered::calloc(&Global, count, size)
    }
    unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the contract is the same, and so it is below.
        unsafe { headered::realloc(&Global, block, size) }
    }
    unsafe fn free(block: *mut c_void) {
        // SAFETY: see `realloc`.
        unsafe { headered::free(&Global, block) }
    }
    unsafe fn usable_size(block: *mut c_void) -> usize {
        // SAFETY: see `realloc`.
        unsafe { headered::usable_size(block) }
    }
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
        headered::aligned_alloc(&Global, alignment, size)
    }

    /// The name of the global allocator, and its version if it has one.
    fn version() -> Option<String> {
        let name = GLOBAL_ALLOCATOR.as_str();
        Some(global::Global::version().map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
    }
    fn stats() -> Stats {
        global::Global::stats()
    }
    fn release() -> Result<(), CannotRelease> {
        global::Global::release().map_err(|_| CannotRelease(Self::BACKEND))
    }
}
