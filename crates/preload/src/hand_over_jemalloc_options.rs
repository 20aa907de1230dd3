//! How jemalloc gets its options. It reads them in this order, and what comes later wins: what it was built with, a
//! variable of the program's, the target of a symbolic link, `MALLOC_CONF`, and once more a variable of the program's.
//! The preset takes the place of the link's target, and what wins over the user's is the last.
//!
//! All that happens during the first allocation, before any constructor, and so without allocating.

use core::ffi::{CStr, c_char};
use core::ptr;

use malloc_backend::Jemalloc;

use crate::options::Options;
use malloc_backend::variables::JEMALLOC;

unsafe extern "C" {
    fn __real_readlink(path: *const c_char, buffer: *mut c_char, size: usize) -> isize;
    fn __real_secure_getenv(name: *const c_char) -> *const c_char;
}

/// tikv-jemalloc-sys builds jemalloc with a prefix, which is also that of the link. (Built without, its `malloc` would
/// collide with ours.)
unsafe extern "C" fn readlink(path: *const c_char, buffer: *mut c_char, size: usize) -> isize {
    // SAFETY: the caller gives a C string, and a buffer of that size.
    unsafe {
        if CStr::from_ptr(path) != c"/etc/_rjem_malloc.conf" {
            return __real_readlink(path, buffer, size);
        }
        let preset = Options::of(JEMALLOC).preset();
        let length = preset.len().min(size);
        ptr::copy_nonoverlapping(preset.as_ptr(), buffer.cast(), length);
        length as isize
    }
}

/// With the prefix, the variable would be `_RJEM_MALLOC_CONF`.
unsafe extern "C" fn secure_getenv(name: *const c_char) -> *const c_char {
    // SAFETY: the caller gives a C string, and so does this. jemalloc looks at the variable behind this call, under its
    // lock.
    unsafe {
        if CStr::from_ptr(name) != c"_RJEM_MALLOC_CONF" {
            return __real_secure_getenv(name);
        }
        Jemalloc::set_last_options(Options::of(JEMALLOC).over_users());
        __real_secure_getenv(c"MALLOC_CONF".as_ptr())
    }
}

crate::wrap!("__wrap_readlink", readlink);
crate::wrap!("__wrap_secure_getenv", secure_getenv);
