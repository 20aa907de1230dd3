use alloc::borrow::ToOwned;
use alloc::string::String;
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use tikv_jemalloc_ctl::{epoch, raw, stats};
use tikv_jemalloc_sys as sys;

use crate::arena::purge;
use crate::raw::{ALIGNED_BY_SIZE, aligned_by_size, aligned_by_size_of_array};
use crate::{CannotRelease, MIN_ALIGNMENT, MemoryAllocatorBackend, RawAllocator, Stats, Uncached};

/// jemalloc, over tikv-jemalloc-sys.
pub enum Jemalloc {}

impl Jemalloc {
    /// Options that win over all others, if it is called before jemalloc reads them: during its first allocation.
    ///
    /// # Safety
    /// jemalloc reads them later in the same call of it, and no other thread does.
    pub unsafe fn set_last_options(options: &'static CStr) {
        unsafe extern "C" {
            /// jemalloc's variable, which a program may define to set options.
            #[link_name = "_rjem_malloc_conf_2_conf_harder"]
            static mut LAST: *const c_char;
        }
        // SAFETY: the caller's obligation; the string stays.
        unsafe { LAST = options.as_ptr() };
    }
}

/// jemalloc's own API (jemalloc(3), "Non-standard API"), for a library that exports it.
pub mod nonstandard {
    pub use tikv_jemalloc_sys::{
        dallocx, mallctl, mallctlbymib, mallctlnametomib, malloc_message, malloc_stats_print, mallocx,
        nallocx, rallocx, sallocx, sdallocx, xallocx,
    };
}

// SAFETY: jemalloc's malloc family is C's; `aligned_by_size` makes the alignment and `realloc` to 0 definite.
unsafe impl RawAllocator for Jemalloc {
    const BACKEND: MemoryAllocatorBackend = MemoryAllocatorBackend::Jemalloc;

    const LEAST: usize = ALIGNED_BY_SIZE;

    #[inline(always)]
    fn malloc(size: usize) -> *mut c_void {
        // SAFETY: that is at least `LEAST`.
        unsafe { Self::malloc_raised(aligned_by_size(size)) }
    }

    #[inline(always)]
    unsafe fn malloc_raised(size: usize) -> *mut c_void {
        // SAFETY: takes any size; so `calloc` and, for a power of two, `aligned_alloc`.
        unsafe { sys::malloc(size) }
    }

    #[inline(always)]
    fn calloc(count: usize, size: usize) -> *mut c_void {
        let (count, size) = aligned_by_size_of_array(count, size);
        // SAFETY: see `malloc_raised`.
        unsafe { sys::calloc(count, size) }
    }

    #[inline(always)]
    unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the contract is the same, but for a size of 0, which never gets here.
        unsafe { sys::realloc(block, aligned_by_size(size)) }
    }

    #[inline(always)]
    unsafe fn free(block: *mut c_void) {
        // SAFETY: the contract is the same.
        unsafe { sys::free(block) }
    }

    #[inline(always)]
    unsafe fn usable_size(block: *mut c_void) -> usize {
        // SAFETY: the contract is the same.
        unsafe { sys::malloc_usable_size(block) }
    }

    #[inline(always)]
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
        // jemalloc would refuse it, were it not for `max`.
        if !alignment.is_power_of_two() {
            return ptr::null_mut();
        }
        // SAFETY: see `malloc_raised`.
        unsafe { sys::aligned_alloc(alignment.max(MIN_ALIGNMENT), size) }
    }

    /// The thread cache ends at 32 KiB at the latest with pages of 4 KiB (`TCACHE_MAXCLASS_LIMIT` in 5.3.1). Larger sizes
    /// are whole pages.
    fn uncached() -> Option<Uncached> {
        // SAFETY: the key's value has that type.
        let page = unsafe { raw::read(b"arenas.page\0") }.unwrap_or(4096);
        Some(Uncached { above: 32 << 10, page })
    }

    /// The release, "5.3.1", without the commit that follows it in `mallctl("version")`.
    fn version() -> Option<String> {
        // SAFETY: the value is a NUL-terminated static string.
        let version = unsafe { raw::read_str(b"version\0") }.ok()?;
        let version = str::from_utf8(version).ok()?.trim_end_matches('\0');
        Some(version.split('-').next().unwrap_or(version).to_owned())
    }

    fn stats() -> Stats {
        // The statistics are a snapshot of the last epoch.
        let _ = epoch::advance();
        let bytes = |read: Result<usize, _>| read.ok().map(|bytes: usize| bytes as u64);
        Stats {
            allocated: bytes(stats::allocated::read()),
            active: bytes(stats::active::read()),
            metadata: bytes(stats::metadata::read()),
            resident: bytes(stats::resident::read()),
            mapped: bytes(stats::mapped::read()),
            retained: bytes(stats::retained::read()),
        }
    }

    fn collect_thread(_purge: bool) {
        // Without a thread cache there is nothing to flush, and that is an error to jemalloc.
        let _ = command(c"thread.tcache.flush");
    }

    /// Purges every arena, after the calling thread's cache went back to them.
    fn release() -> Result<(), CannotRelease> {
        Self::collect_thread(false);
        let _turn = purge::purge();
        // 4096 is MALLCTL_ARENAS_ALL.
        command(c"arena.4096.purge").map_err(|_| CannotRelease(Self::BACKEND))
    }
}

/// Has jemalloc carry out a key that takes no value and gives none, which tikv-jemalloc-ctl cannot say.
fn command(key: &CStr) -> Result<(), core::ffi::c_int> {
    // SAFETY: a valid key, and null and 0 for the values that it does not have.
    match unsafe { sys::mallctl(key.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) } {
        0 => Ok(()),
        error => Err(error),
    }
}
