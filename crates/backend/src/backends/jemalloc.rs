use alloc::borrow::ToOwned;
use alloc::string::String;
use core::ffi::{CStr, c_char, c_void};
use core::ptr;

use tikv_jemalloc_ctl::{epoch, raw, stats};
use tikv_jemalloc_sys as sys;

use crate::arena::purge;
use crate::raw::{ALIGNED_BY_SIZE, aligned_by_size, aligned_by_size_of_array};
use crate::{CannotRelease, MIN_ALIGNMENT, MemoryAllocatorBackend, RawAllocator, Stats, Uncached};

/// jemalloc, from tikv-jemalloc-sys.
pub enum Jemalloc {}

impl Jemalloc {
    /// Sets options that override all others. Call it before jemalloc reads its options, during the first allocation.
    ///
    /// # Safety
    /// jemalloc reads the options later in the same call, and no other thread reads them.
    pub unsafe fn set_last_options(options: &'static CStr) {
        unsafe extern "C" {
            /// A variable of jemalloc, which a program may define to set options.
            #[link_name = "_rjem_malloc_conf_2_conf_harder"]
            static mut LAST: *const c_char;
        }
        // SAFETY: the caller's obligation. The string is static.
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

// SAFETY: jemalloc's malloc family has C's semantics. `aligned_by_size` guarantees the alignment and the result of
// `realloc` with size 0.
unsafe impl RawAllocator for Jemalloc {
    const BACKEND: MemoryAllocatorBackend = MemoryAllocatorBackend::Jemalloc;

    const LEAST: usize = ALIGNED_BY_SIZE;

    #[inline(always)]
    fn malloc(size: usize) -> *mut c_void {
        // SAFETY: this size is at least `LEAST`.
        unsafe { Self::malloc_raised(aligned_by_size(size)) }
    }

    #[inline(always)]
    unsafe fn malloc_raised(size: usize) -> *mut c_void {
        // SAFETY: accepts any size. So do `calloc` and, with a power of two, `aligned_alloc`.
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
        // SAFETY: the contract is the same, except for a size of 0, which never occurs here.
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
        // `max` would turn some invalid alignments into 16, which jemalloc accepts. So check here.
        if !alignment.is_power_of_two() {
            return ptr::null_mut();
        }
        // SAFETY: see `malloc_raised`.
        unsafe { sys::aligned_alloc(alignment.max(MIN_ALIGNMENT), size) }
    }

    /// The thread cache holds blocks of at most 32 KiB with pages of 4 KiB (`TCACHE_MAXCLASS_LIMIT` in 5.3.1). Larger blocks
    /// are whole pages.
    fn uncached() -> Option<Uncached> {
        // SAFETY: the key's value has this type.
        let page = unsafe { raw::read(b"arenas.page\0") }.unwrap_or(4096);
        Some(Uncached { above: 32 << 10, page })
    }

    /// The release, such as "5.3.1", without the commit that follows in `mallctl("version")`.
    fn version() -> Option<String> {
        // SAFETY: the value is a NUL-terminated static string.
        let version = unsafe { raw::read_str(b"version\0") }.ok()?;
        let version = str::from_utf8(version).ok()?.trim_end_matches('\0');
        Some(version.split('-').next().unwrap_or(version).to_owned())
    }

    fn stats() -> Stats {
        // jemalloc's statistics are a snapshot of the last epoch.
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
        // Without a thread cache, jemalloc returns an error. This is no error here.
        let _ = command(c"thread.tcache.flush");
    }

    /// Returns the calling thread's cache to the arenas, and then purges all arenas.
    fn release() -> Result<(), CannotRelease> {
        Self::collect_thread(false);
        let _turn = purge::purge();
        // 4096 is MALLCTL_ARENAS_ALL.
        command(c"arena.4096.purge").map_err(|_| CannotRelease(Self::BACKEND))
    }
}

/// Executes a key of jemalloc that has no argument and no result. tikv-jemalloc-ctl has no function for it.
fn command(key: &CStr) -> Result<(), core::ffi::c_int> {
    // SAFETY: a valid key, with null and 0 for the missing values.
    match unsafe { sys::mallctl(key.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) } {
        0 => Ok(()),
        error => Err(error),
    }
}
