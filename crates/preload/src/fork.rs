//! `pthread_atfork`, for the library of glibc in a program of musl's too.
//!
//! In glibc a library has a `pthread_atfork` of its own, which calls `__register_atfork`. musl has none of that name, and
//! where a program that is switched starts one of musl's, that one's loader would refuse the library and end the program.
//! So the library names glibc's weakly, and where that is missing looks for musl's.

use core::ffi::{c_int, c_void};
use core::{mem, ptr};

type Handler = Option<unsafe extern "C" fn()>;

unsafe extern "C" {
    /// Where the loader puts the address of glibc's function, or zero.
    #[link_name = "malloc_backend_register_atfork"]
    static REGISTER: Option<unsafe extern "C" fn(Handler, Handler, Handler, *mut c_void) -> c_int>;
}

core::arch::global_asm!(
    ".pushsection .data.rel.ro.atfork, \"aw\"",
    ".balign 8",
    ".weak __register_atfork",
    ".globl malloc_backend_register_atfork",
    ".hidden malloc_backend_register_atfork",
    "malloc_backend_register_atfork:",
    ".quad __register_atfork",
    ".popsection",
);

unsafe extern "C" fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int {
    type Atfork = unsafe extern "C" fn(Handler, Handler, Handler) -> c_int;
    // SAFETY: the types are those that the C libraries have for these names. glibc is told no library to which the
    // handlers belong, because that would only matter where it is unloaded, and it never is.
    unsafe {
        if let Some(register) = REGISTER {
            return register(prepare, parent, child, ptr::null_mut());
        }
        let atfork = libc::dlsym(libc::RTLD_DEFAULT, c"pthread_atfork".as_ptr());
        match mem::transmute::<*mut c_void, Option<Atfork>>(atfork) {
            Some(atfork) => atfork(prepare, parent, child),
            None => libc::ENOMEM,
        }
    }
}

// Not by `--wrap`: with that the linker would still take in glibc's function, and with it the name that musl lacks.
crate::wrap!("pthread_atfork", pthread_atfork);
