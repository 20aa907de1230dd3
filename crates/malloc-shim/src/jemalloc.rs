//! jemalloc's own API under its own names, and its own variable.

use core::ffi::{CStr, c_char, c_int, c_void};

use malloc_backend::jemalloc_nonstandard as je;

unsafe extern "C" {
    fn __real_secure_getenv(name: *const c_char) -> *const c_char;
}

/// tikv-jemalloc-sys builds jemalloc with a prefix, and with it the variable it reads is
/// `_RJEM_MALLOC_CONF`. Built without, its `malloc` would collide with ours. jemalloc reads the variable
/// during the first allocation, before any constructor could copy it. So the linker (build.rs) sends its
/// `secure_getenv` here.
unsafe extern "C" fn secure_getenv(name: *const c_char) -> *const c_char {
    // SAFETY: the caller gives a C string, and so does this.
    unsafe {
        let name = if CStr::from_ptr(name) == c"_RJEM_MALLOC_CONF" { c"MALLOC_CONF".as_ptr() } else { name };
        __real_secure_getenv(name)
    }
}

// Under the name that the linker looks for. rustc would export a function of that name.
core::arch::global_asm!(
    ".pushsection .text.wrap, \"ax\"",
    ".globl __wrap_secure_getenv",
    ".hidden __wrap_secure_getenv",
    "__wrap_secure_getenv:",
    #[cfg(target_arch = "x86_64")]
    "jmp {function}",
    #[cfg(target_arch = "aarch64")]
    "b {function}",
    ".popsection",
    function = sym secure_getenv,
);

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
