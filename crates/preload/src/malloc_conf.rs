//! jemalloc's options.

use core::ffi::{CStr, c_char};

unsafe extern "C" {
    fn __real_secure_getenv(name: *const c_char) -> *const c_char;
}

/// tikv-jemalloc-sys builds jemalloc with a prefix, and with it the variable it reads is
/// `_RJEM_MALLOC_CONF`. Built without, its `malloc` would collide with ours. jemalloc reads the variable
/// during the first allocation, before any constructor could copy it.
unsafe extern "C" fn secure_getenv(name: *const c_char) -> *const c_char {
    // SAFETY: the caller gives a C string, and so does this.
    unsafe {
        let name = if CStr::from_ptr(name) == c"_RJEM_MALLOC_CONF" { c"MALLOC_CONF".as_ptr() } else { name };
        __real_secure_getenv(name)
    }
}

crate::wrap!("__wrap_secure_getenv", secure_getenv);
