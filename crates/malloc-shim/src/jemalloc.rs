//! jemalloc's own API under its own names.

use core::ffi::{CStr, c_char, c_int, c_void};

use malloc_backend::jemalloc_nonstandard as je;
use malloc_backend_preload::background_threads::program_sets;

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
    fn mallctlnametomib(name: *const c_char, mib: *mut usize, length: *mut usize) -> c_int;
    fn malloc_stats_print(write: WriteCallback, argument: *mut c_void, options: *const c_char);
}

const BACKGROUND_THREAD: &CStr = c"background_thread";

#[unsafe(no_mangle)]
unsafe extern "C" fn mallctl(
    name: *const c_char,
    old: *mut c_void,
    old_size: *mut usize,
    new: *mut c_void,
    new_size: usize,
) -> c_int {
    // SAFETY: the caller's obligations are those of jemalloc's function: a C string, and a boolean where it takes one.
    unsafe {
        if !new.is_null() && new_size == 1 && CStr::from_ptr(name) == BACKGROUND_THREAD {
            program_sets(*new.cast::<u8>() != 0);
        }
        je::mallctl(name, old, old_size, new, new_size)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mallctlbymib(
    mib: *const usize,
    length: usize,
    old: *mut c_void,
    old_size: *mut usize,
    new: *mut c_void,
    new_size: usize,
) -> c_int {
    // SAFETY: as above; as many integers as are said.
    unsafe {
        if !new.is_null() && new_size == 1 && length == 1 {
            let (mut own, mut one) = (0, 1);
            let found = je::mallctlnametomib(BACKGROUND_THREAD.as_ptr(), &mut own, &mut one);
            if found == 0 && *mib == own {
                program_sets(*new.cast::<u8>() != 0);
            }
        }
        je::mallctlbymib(mib, length, old, old_size, new, new_size)
    }
}
