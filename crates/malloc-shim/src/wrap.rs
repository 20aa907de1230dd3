//! What an allocator calls of libc and gets from here instead (build.rs, `--wrap`).

use core::ffi::{c_int, c_void};

use malloc_backend_preload::errno::{errno, set_errno};
use malloc_backend_preload::wrap;

unsafe extern "C" {
    fn __real_madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    fn __real_munmap(address: *mut c_void, length: usize) -> c_int;
}

/// `free` keeps `errno` (POSIX.1-2024), also where the system refuses to take memory back, as it does under mlockall
/// or a seccomp filter. None of the allocators sees to that, and to do so in `free` itself would cost every call.
fn keep_errno(call: impl FnOnce() -> c_int) -> c_int {
    let before = errno();
    let result = call();
    if result != 0 {
        set_errno(before);
    }
    result
}

/// mimalloc takes a result that is not 0 for a reason to read `errno`, and would now read the caller's, as long as it
/// is EAGAIN. What it did after an error is done here instead: it tried the older advice, and otherwise went on.
#[cfg(feature = "mimalloc")]
unsafe extern "C" fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int {
    // SAFETY: the caller's obligations are those of libc's function.
    let advise = |advice| keep_errno(|| unsafe { __real_madvise(address, length, advice) });
    if advise(advice) != 0 && advice == libc::MADV_FREE {
        advise(libc::MADV_DONTNEED);
    }
    0
}

#[cfg(not(feature = "mimalloc"))]
unsafe extern "C" fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int {
    // SAFETY: the caller's obligations are those of libc's function.
    keep_errno(|| unsafe { __real_madvise(address, length, advice) })
}

wrap!("__wrap_madvise", madvise);

unsafe extern "C" fn munmap(address: *mut c_void, length: usize) -> c_int {
    // SAFETY: the caller's obligations are those of libc's function.
    keep_errno(|| unsafe { __real_munmap(address, length) })
}

wrap!("__wrap_munmap", munmap);
