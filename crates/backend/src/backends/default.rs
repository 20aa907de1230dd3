use alloc::string::String;
use core::ffi::c_void;

use crate::{CannotRelease, MemoryAllocatorBackend, RawAllocator, Stats};

/// The `malloc` of this process: the C library's, or that of the library preloaded in its place.
pub enum Default {}

impl Default {
    /// The statistics, and of what they have as mapped the large blocks that glibc has mapped for themselves, outside
    /// of its arenas; `None` where another allocator serves, or a glibc before 2.33.
    pub fn stats_and_mapped_blocks() -> (Stats, Option<u64>) {
        platform::stats()
    }
}

#[cfg(unix)]
// SAFETY: C's allocator with the choices that C leaves open made by `request`; POSIX has the rest.
unsafe impl RawAllocator for Default {
    const BACKEND: MemoryAllocatorBackend = MemoryAllocatorBackend::Default;

    fn malloc(size: usize) -> *mut c_void {
        // SAFETY: `malloc` takes any size; so `calloc` below.
        unsafe { libc::malloc(request(size)) }
    }

    fn calloc(count: usize, size: usize) -> *mut c_void {
        match count.checked_mul(size) {
            // SAFETY: see `malloc`.
            Some(total) => unsafe { libc::calloc(1, request(total)) },
            None => core::ptr::null_mut(),
        }
    }

    unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the contract of `realloc`; `request` is never 0, at which glibc would free.
        unsafe { libc::realloc(block, request(size)) }
    }

    unsafe fn free(block: *mut c_void) {
        // SAFETY: the contract of `free`.
        unsafe { libc::free(block) }
    }

    unsafe fn usable_size(block: *mut c_void) -> usize {
        #[cfg(target_vendor = "apple")]
        use libc::malloc_size as malloc_usable_size;
        #[cfg(not(target_vendor = "apple"))]
        use libc::malloc_usable_size;
        // SAFETY: the contract of `malloc_usable_size`, which gives 0 for null.
        unsafe { malloc_usable_size(block) }
    }

    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
        let mut block = core::ptr::null_mut();
        if !alignment.is_power_of_two() {
            return block;
        }
        // SAFETY: the alignment is a power of two and, after `max`, a multiple of a pointer's size.
        match unsafe { libc::posix_memalign(&mut block, alignment.max(crate::MIN_ALIGNMENT), request(size)) }
        {
            0 => block,
            _ => core::ptr::null_mut(),
        }
    }

    fn version() -> Option<String> {
        platform::version()
    }

    fn stats() -> Stats {
        platform::stats().0
    }

    fn collect_thread(purge: bool) {
        platform::collect_thread(purge);
    }

    fn release() -> Result<(), CannotRelease> {
        platform::release()
    }
}

/// What to ask for instead of `size`: with 16 bytes as the least, every allocator aligns the block to 16, and
/// glibc, whose smallest chunk holds 24, spends nothing on it.
#[cfg(unix)]
const fn request(size: usize) -> usize {
    if size > crate::MIN_ALIGNMENT { size } else { crate::MIN_ALIGNMENT }
}

#[cfg(target_os = "linux")]
pub use platform::libc_version;

#[cfg(target_os = "linux")]
mod platform {
    use alloc::format;
    use alloc::string::String;
    use core::ffi::{CStr, c_char, c_int, c_void};
    use core::mem;

    use crate::owner::Object;
    use crate::{CannotRelease, MallInfo2, MemoryAllocatorBackend, Stats, foreign, shim};

    /// The symbol's address as the program sees it, or null. By name, because musl has none of glibc's
    /// extensions and an older glibc not all.
    fn symbol(name: &CStr) -> *mut c_void {
        // SAFETY: a valid name, looked up in the global scope.
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
    }

    /// A function of the C library's allocator, if it is the one that serves this process's `malloc`.
    fn of_allocator(name: &CStr) -> Option<*mut c_void> {
        let function = symbol(name);
        (!function.is_null() && Object::that_defines(name)? == Object::that_defines(c"malloc")?)
            .then_some(function)
    }

    pub fn version() -> Option<String> {
        if let Some(shim) = shim::current() {
            return Some(format!(
                "{} {}",
                shim.backend().map_or("unknown", MemoryAllocatorBackend::as_str),
                shim.version()
            ));
        }
        // An allocator that is not ours has a version too, and it is not the C library's.
        (Object::that_defines(c"malloc")? == Object::that_defines(c"__libc_start_main")?)
            .then(|| Some(format!("glibc {}", libc_version()?)))
            .flatten()
    }

    /// The version of the C library, whoever serves `malloc`. musl does not tell.
    pub fn libc_version() -> Option<String> {
        let function = symbol(c"gnu_get_libc_version");
        if function.is_null() {
            return None;
        }
        // SAFETY: glibc's gnu_get_libc_version has this type and returns a static string.
        let version = unsafe {
            let get: extern "C" fn() -> *const c_char = mem::transmute(function);
            CStr::from_ptr(get())
        };
        Some(version.to_string_lossy().into_owned())
    }

    pub fn stats() -> (Stats, Option<u64>) {
        if let Some(shim) = shim::current() {
            return (shim.stats(), None);
        }
        let Some(function) = of_allocator(c"mallinfo2") else { return (foreign::stats(), None) };
        // SAFETY: glibc's mallinfo2 has this type.
        let mallinfo2: extern "C" fn() -> MallInfo2 = unsafe { mem::transmute(function) };
        let info = mallinfo2();
        let of_arenas = info.arena as u64;
        let of_mmap = info.hblkhd as u64;
        let stats = Stats {
            allocated: Some(info.uordblks as u64 + of_mmap),
            mapped: Some(of_arenas + of_mmap),
            ..Stats::default()
        };
        (stats, Some(of_mmap))
    }

    /// glibc's thread caches are of some kilobytes and have no way out but the thread's end.
    pub fn collect_thread(purge: bool) {
        match shim::current() {
            Some(shim) => shim.collect_thread(purge),
            None => foreign::collect_thread(purge),
        }
    }

    pub fn release() -> Result<(), CannotRelease> {
        const CANNOT: CannotRelease = CannotRelease(MemoryAllocatorBackend::Default);
        if let Some(shim) = shim::current() {
            return shim.release().map_err(|_| CANNOT);
        }
        let Some(function) = of_allocator(c"malloc_trim") else {
            return if foreign::release() { Ok(()) } else { Err(CANNOT) };
        };
        // SAFETY: glibc's malloc_trim has this type. Its result says whether anything was given back.
        let trim: extern "C" fn(usize) -> c_int = unsafe { mem::transmute(function) };
        trim(0);
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use alloc::string::String;

    use crate::{CannotRelease, MemoryAllocatorBackend, Stats};

    pub fn version() -> Option<String> {
        None
    }

    pub fn stats() -> (Stats, Option<u64>) {
        (Stats::default(), None)
    }

    pub fn collect_thread(_purge: bool) {}

    pub fn release() -> Result<(), CannotRelease> {
        Err(CannotRelease(MemoryAllocatorBackend::Default))
    }
}

/// Windows' C runtime frees aligned blocks by a function of their own; the process heap behind Rust's
/// `System` with a header does not need to know.
#[cfg(windows)]
// SAFETY: `headered` keeps the contract over any `GlobalAlloc`.
unsafe impl RawAllocator for Default {
    const BACKEND: MemoryAllocatorBackend = MemoryAllocatorBackend::Default;

    fn malloc(size: usize) -> *mut c_void {
        crate::backends::headered::malloc(&std::alloc::System, size)
    }
    fn calloc(count: usize, size: usize) -> *mut c_void {
        crate::backends::headered::calloc(&std::alloc::System, count, size)
    }
    unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the contract is the same; so below.
        unsafe { crate::backends::headered::realloc(&std::alloc::System, block, size) }
    }
    unsafe fn free(block: *mut c_void) {
        // SAFETY: see `realloc`.
        unsafe { crate::backends::headered::free(&std::alloc::System, block) }
    }
    unsafe fn usable_size(block: *mut c_void) -> usize {
        // SAFETY: see `realloc`.
        unsafe { crate::backends::headered::usable_size(block) }
    }
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
        crate::backends::headered::aligned_alloc(&std::alloc::System, alignment, size)
    }
    fn version() -> Option<String> {
        platform::version()
    }
    fn stats() -> Stats {
        platform::stats().0
    }
    fn release() -> Result<(), CannotRelease> {
        platform::release()
    }
}
