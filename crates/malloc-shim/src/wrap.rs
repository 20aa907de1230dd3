//! What an allocator calls of libc and gets from here instead: the linker (build.rs, `--wrap`) sends its `NAME` to
//! `__wrap_NAME`, and knows libc's as `__real_NAME`.

#[cfg(feature = "jemalloc")]
use core::ffi::{CStr, c_char};
use core::ffi::{c_int, c_void};

use crate::errno::{errno, set_errno};

/// Puts a function where the linker looks for it. rustc would export one of that name, so it is an assembler's
/// label that jumps there.
macro_rules! wrap {
    ($label:literal, $function:path) => {
        core::arch::global_asm!(
            concat!(".pushsection .text.", $label, ", \"ax\""),
            concat!(".globl ", $label),
            concat!(".hidden ", $label),
            concat!($label, ":"),
            #[cfg(target_arch = "x86_64")]
            "jmp {function}",
            #[cfg(target_arch = "aarch64")]
            "b {function}",
            ".popsection",
            function = sym $function,
        );
    };
}

unsafe extern "C" {
    #[cfg(feature = "jemalloc")]
    fn __real_secure_getenv(name: *const c_char) -> *const c_char;
    fn __real_madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int;
    fn __real_munmap(address: *mut c_void, length: usize) -> c_int;
}

/// tikv-jemalloc-sys builds jemalloc with a prefix, and with it the variable it reads is
/// `_RJEM_MALLOC_CONF`. Built without, its `malloc` would collide with ours. jemalloc reads the variable
/// during the first allocation, before any constructor could copy it.
#[cfg(feature = "jemalloc")]
unsafe extern "C" fn secure_getenv(name: *const c_char) -> *const c_char {
    // SAFETY: the caller gives a C string, and so does this.
    unsafe {
        let name = if CStr::from_ptr(name) == c"_RJEM_MALLOC_CONF" { c"MALLOC_CONF".as_ptr() } else { name };
        __real_secure_getenv(name)
    }
}

#[cfg(feature = "jemalloc")]
wrap!("__wrap_secure_getenv", secure_getenv);

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
