//! The calling thread's `errno`.

use core::ffi::c_int;

/// What it is.
pub fn errno() -> c_int {
    // SAFETY: libc's function gives the address of the calling thread's errno, always valid.
    unsafe { *libc::__errno_location() }
}

/// Sets it.
pub fn set_errno(error: c_int) {
    // SAFETY: see `errno`.
    unsafe { *libc::__errno_location() = error }
}
