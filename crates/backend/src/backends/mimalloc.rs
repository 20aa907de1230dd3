use alloc::format;
use alloc::string::String;
use core::ffi::c_void;
use core::ptr;

use libmimalloc_sys as sys;

use crate::raw::{ALIGNED_BY_SIZE, aligned_by_size, aligned_by_size_of_array};
use crate::{CannotRelease, MIN_ALIGNMENT, MemoryAllocatorBackend, RawAllocator, Stats};

/// mimalloc, from libmimalloc-sys.
pub enum Mimalloc {}

impl Mimalloc {
    /// From now on, a failed request sets `errno` to ENOMEM, as C's functions do. Without this, `errno` has the value of
    /// mimalloc's last system call, or is unchanged if mimalloc refuses a size without a system call.
    #[cfg(target_os = "linux")]
    pub fn set_errno_on_failure() {
        unsafe extern "C" fn failed(error: core::ffi::c_int, _: *mut c_void) {
            if matches!(error, libc::ENOMEM | libc::EOVERFLOW) {
                // SAFETY: the calling thread's errno, always valid.
                unsafe { *libc::__errno_location() = libc::ENOMEM };
            }
        }
        // SAFETY: any thread may call the function at any time. The function that it replaces does nothing in a release
        // build.
        unsafe { sys::mi_register_error(Some(failed), ptr::null_mut()) };
    }

    /// Has mimalloc call the function now and then, as it looks for memory, where the function may allocate. The function may
    /// be called by any thread.
    pub fn call_now_and_then(function: unsafe extern "C" fn(bool, u64, *mut c_void)) {
        // SAFETY: takes a function, which is never unloaded.
        unsafe { sys::mi_register_deferred_free(Some(function), ptr::null_mut()) };
    }

    /// Sets the default of an option. The user's variable overrides it: mimalloc reads this variable at the first use of the
    /// option. `option` is an index of [`crate::mimalloc_option_names::NAMES`].
    pub fn set_option_default(option: usize, value: i64) {
        // SAFETY: accepts any number, and does nothing for a number that is not an option.
        unsafe { sys::mi_option_set_default(option as sys::mi_option_t, value as _) };
    }

    /// Sets an option. Overrides the user's variable.
    pub fn set_option(option: usize, value: i64) {
        // SAFETY: as above.
        unsafe { sys::mi_option_set(option as sys::mi_option_t, value as _) };
    }
}

// SAFETY: mimalloc's functions have C's semantics. `aligned_by_size` guarantees the alignment.
unsafe impl RawAllocator for Mimalloc {
    const BACKEND: MemoryAllocatorBackend = MemoryAllocatorBackend::Mimalloc;

    const LEAST: usize = ALIGNED_BY_SIZE;

    #[inline(always)]
    fn malloc(size: usize) -> *mut c_void {
        // SAFETY: this size is at least `LEAST`.
        unsafe { Self::malloc_raised(aligned_by_size(size)) }
    }

    #[inline(always)]
    unsafe fn malloc_raised(size: usize) -> *mut c_void {
        // SAFETY: accepts any size, and so does `mi_calloc`.
        unsafe { sys::mi_malloc(size) }
    }

    #[inline(always)]
    fn calloc(count: usize, size: usize) -> *mut c_void {
        let (count, size) = aligned_by_size_of_array(count, size);
        // SAFETY: see `malloc_raised`.
        unsafe { sys::mi_calloc(count, size) }
    }

    #[inline(always)]
    unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the contract is the same.
        unsafe { sys::mi_realloc(block, aligned_by_size(size)) }
    }

    #[inline(always)]
    unsafe fn free(block: *mut c_void) {
        // SAFETY: the contract is the same.
        unsafe { sys::mi_free(block) }
    }

    #[inline(always)]
    unsafe fn usable_size(block: *mut c_void) -> usize {
        // SAFETY: the contract is the same.
        unsafe { sys::mi_usable_size(block) }
    }

    #[inline(always)]
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
        // Newer releases report an invalid alignment as an error in the program, and then return null.
        if !alignment.is_power_of_two() {
            return ptr::null_mut();
        }
        // SAFETY: a power of two, and any size.
        unsafe { sys::mi_malloc_aligned(size, alignment.max(MIN_ALIGNMENT)) }
    }

    fn version() -> Option<String> {
        // SAFETY: no arguments. Returns a constant: major, two digits of minor, two digits of patch.
        let version = unsafe { sys::mi_version() };
        Some(format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100))
    }

    /// Without its debug statistics, mimalloc counts only the committed bytes.
    fn stats() -> Stats {
        let mut committed = 0;
        let none = ptr::null_mut();
        // SAFETY: every pointer may be null, and the other pointer is writable.
        unsafe { sys::mi_process_info(none, none, none, none, none, &mut committed, none, none) };
        Stats { mapped: Some(committed as u64), ..Stats::default() }
    }

    /// A heap belongs to its thread. Collects blocks that other threads have freed, and moves empty segments to the arenas,
    /// where a `release` purges them. With `purge`, also purges the free parts of the other segments.
    fn collect_thread(purge: bool) {
        // SAFETY: may be called at any time.
        unsafe { sys::mi_collect(purge) };
    }

    /// Collects the heap of the calling thread and the heaps of ended threads, and purges the arenas.
    fn release() -> Result<(), CannotRelease> {
        // SAFETY: may be called at any time.
        unsafe { sys::mi_collect(true) };
        Ok(())
    }
}
