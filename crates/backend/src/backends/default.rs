use alloc::string::String;
use core::ffi::c_void;

use crate::{CannotRelease, MemoryAllocatorBackend, RawAllocator, Stats};

/// The `malloc` of this process: the C library's, or the `malloc` of the library that replaces it.
pub enum Default {}

impl Default {
    /// Returns the statistics, and the part of the mapped bytes that are large blocks in mappings of their own, outside glibc's
    /// arenas. `None` if another allocator serves, or a glibc before 2.33.
    pub fn stats_and_mapped_blocks() -> (Stats, Option<u64>) {
        platform::stats()
    }
}

#[cfg(unix)]
// SAFETY: C's allocator. `request` decides where C leaves a choice, and POSIX guarantees the rest.
unsafe impl RawAllocator for Default {
    const BACKEND: MemoryAllocatorBackend = MemoryAllocatorBackend::Default;

    fn malloc(size: usize) -> *mut c_void {
        // SAFETY: `malloc` accepts any size, and so does `calloc` below.
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
        // SAFETY: the contract of `realloc`. `request` never returns 0, for which glibc would free the block.
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
        // SAFETY: the contract of `malloc_usable_size`, which returns 0 for null.
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

/// The size to request instead of `size`. With at least 16 bytes, every allocator aligns the block to 16. This costs
/// nothing in glibc, whose smallest chunk has 24 bytes.
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

    /// The symbol's address, as the program sees it, or null. The lookup is by name, because musl has no extensions of glibc,
    /// and an older glibc does not have all of them.
    fn symbol(name: &CStr) -> *mut c_void {
        // SAFETY: looks up a valid name in the global scope.
        unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
    }

    /// A function of the C library's allocator, if this allocator serves the process's `malloc`.
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
        // Another allocator has its own version, which is not the version of the C library.
        if Object::that_defines(c"malloc")? != Object::that_defines(c"__libc_start_main")? {
            return None;
        }
        match libc_version() {
            Some(version) => Some(format!("glibc {version}")),
            // musl tells no program its version, so its name is all that is known.
            None => cfg!(target_env = "musl").then(|| String::from("musl")),
        }
    }

    /// The version of the C library, also if another library serves `malloc`. musl has no function for it.
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

    /// Does nothing for glibc. Its thread caches have some kilobytes, and only the end of a thread empties them.
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
        // SAFETY: glibc's malloc_trim has this type. Its result says whether it returned any memory.
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

/// The C runtime of Windows has a separate function that frees aligned blocks. So this uses the process heap of Rust's
/// `System`, with a header, which frees all blocks in the same way.
#[cfg(windows)]
// SAFETY: `headered` obeys the contract on any `GlobalAlloc`.
unsafe impl RawAllocator for Default {
    const BACKEND: MemoryAllocatorBackend = MemoryAllocatorBackend::Default;

    fn malloc(size: usize) -> *mut c_void {
        crate::backends::headered::malloc(&std::alloc::System, size)
    }
    fn calloc(count: usize, size: usize) -> *mut c_void {
        crate::backends::headered::calloc(&std::alloc::System, count, size)
    }
    unsafe fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the contract is the same, and so it is below.
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
    fn collect_thread(purge: bool) {
        platform::collect_thread(purge);
    }
    fn release() -> Result<(), CannotRelease> {
        platform::release()
    }
}
