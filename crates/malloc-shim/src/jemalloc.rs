//! jemalloc's own API under its own names.

use core::ffi::{c_char, c_int, c_void};

use malloc_backend::jemalloc_nonstandard as je;

/// Exports jemalloc's functions: each is handed its arguments as they come.
macro_rules! export {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller's obligations are those of jemalloc's function of the same name.
            unsafe { je::$name($($argument),*) }
        }
    )*};
}

type WriteCallback = Option<unsafe extern "C" fn(*mut c_void, *const c_char)>;

export! {
    fn mallocx(size: usize, flags: c_int) -> *mut c_void;
    fn rallocx(block: *mut c_void, size: usize, flags: c_int) -> *mut c_void;
    fn xallocx(block: *mut c_void, size: usize, extra: usize, flags: c_int) -> usize;
    fn sallocx(block: *const c_void, flags: c_int) -> usize;
    fn dallocx(block: *mut c_void, flags: c_int);
    fn sdallocx(block: *mut c_void, size: usize, flags: c_int);
    fn nallocx(size: usize, flags: c_int) -> usize;
    fn mallctl(name: *const c_char, old: *mut c_void, old_size: *mut usize, new: *mut c_void, new_size: usize) -> c_int;
    fn mallctlnametomib(name: *const c_char, mib: *mut usize, length: *mut usize) -> c_int;
    fn mallctlbymib(mib: *const usize, length: usize, old: *mut c_void, old_size: *mut usize, new: *mut c_void, new_size: usize) -> c_int;
    fn malloc_stats_print(write: WriteCallback, argument: *mut c_void, options: *const c_char);
}
