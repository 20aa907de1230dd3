//! C's functions that a preloaded library must have to own a process's `malloc`. Those of C++ are in src/operators.rs.
//!
//! rustc gives a shared library its own version script, which hides the C symbols of a static archive. So each
//! is a Rust function under the C name. The linker then gives the names of `malloc`, `calloc` and `free` to the
//! allocator's own functions (build.rs): they are here to be exported.

use core::ffi::{c_int, c_void};
use core::ptr;

use malloc_backend::RawAllocator;

use crate::backend::Backend;
use malloc_backend_preload::errno::{errno, set_errno};

/// What C says of a block that could not be had: null, and `errno` says ENOMEM.
fn or_enomem(block: *mut c_void) -> *mut c_void {
    if block.is_null() {
        set_errno(libc::ENOMEM);
    }
    block
}

#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    Backend::malloc(size)
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    Backend::calloc(count, size)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: the caller's obligation is that of C's `free`; so in all that take a block below.
    unsafe { Backend::free(block) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: see `free`.
    unsafe { Backend::realloc(block, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: see `free`.
        Some(total) => unsafe { Backend::realloc(block, total) },
        None => or_enomem(ptr::null_mut()),
    }
}

/// As glibc has it: an alignment that is no power of two is raised to the next one, and one that has none is refused.
#[unsafe(no_mangle)]
extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    match alignment.checked_next_power_of_two() {
        Some(alignment) => or_enomem(Backend::aligned_alloc(alignment, size)),
        None => {
            set_errno(libc::EINVAL);
            ptr::null_mut()
        }
    }
}

/// The same, as in glibc before 2.38. That one and newer ones refuse an alignment that is no power of two; a program that
/// runs on either is not to fail here.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    memalign(alignment, size)
}

/// The error is the result. As with glibc `errno` says it too where there is no memory, and `*place` is left alone on
/// failure.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    if !alignment.is_power_of_two() || alignment < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    let before = errno();
    let block = or_enomem(Backend::aligned_alloc(alignment, size));
    if block.is_null() {
        return libc::ENOMEM;
    }
    set_errno(before);
    // SAFETY: the caller gives a writable place.
    unsafe { place.write(block) };
    0
}

fn page_size() -> usize {
    // SAFETY: takes a constant; every system has this one and it is positive.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

#[unsafe(no_mangle)]
extern "C" fn valloc(size: usize) -> *mut c_void {
    memalign(page_size(), size)
}

/// Like `valloc`, with the size rounded up to whole pages.
#[unsafe(no_mangle)]
extern "C" fn pvalloc(size: usize) -> *mut c_void {
    let page = page_size();
    match size.max(1).checked_next_multiple_of(page) {
        Some(size) => memalign(page, size),
        None => or_enomem(ptr::null_mut()),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    // SAFETY: see `free`.
    unsafe { Backend::usable_size(block) }
}

/// C23. The size is a hint that a wrong program gets wrong, so it is not used.
#[unsafe(no_mangle)]
unsafe extern "C" fn free_sized(block: *mut c_void, _size: usize) {
    // SAFETY: see `free`.
    unsafe { Backend::free(block) }
}

/// C23; see `free_sized`.
#[unsafe(no_mangle)]
unsafe extern "C" fn free_aligned_sized(block: *mut c_void, _alignment: usize, _size: usize) {
    // SAFETY: see `free`.
    unsafe { Backend::free(block) }
}

/// SunOS's name for `free`, which glibc dropped in 2.26 and old programs still call.
#[unsafe(no_mangle)]
unsafe extern "C" fn cfree(block: *mut c_void) {
    // SAFETY: see `free`.
    unsafe { Backend::free(block) }
}
