//! jemalloc's background threads step aside where the kernel wants a process of one thread, or changes the calling thread
//! alone.
//!
//! They start before `main`, in programs that know of no other thread. With one, unshare(2) and setns(2) enter no user
//! namespace; and after capset(2), which is one thread's, what setuid(2) and its like have every thread do fails in the
//! other one, whereupon glibc ends the process (nptl(7), "NPTL and process credential changes").

use core::ffi::{c_int, c_long, c_void};

use malloc_backend::jemalloc_nonstandard as je;
use malloc_backend_preload::errno::{errno, set_errno};

#[unsafe(no_mangle)]
extern "C" fn unshare(flags: c_int) -> c_int {
    // SAFETY: takes no memory.
    without_them(|| unsafe { libc::syscall(libc::SYS_unshare, flags) })
}

#[unsafe(no_mangle)]
extern "C" fn setns(namespace: c_int, kind: c_int) -> c_int {
    // SAFETY: takes no memory.
    without_them(|| unsafe { libc::syscall(libc::SYS_setns, namespace, kind) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn capset(header: *mut c_void, data: *const c_void) -> c_int {
    // SAFETY: the caller's obligations are those of the system call.
    without_them(|| unsafe { libc::syscall(libc::SYS_capset, header, data) })
}

/// Ends the threads for the call, if there are any; those that come after it are like the thread that called.
fn without_them(call: impl FnOnce() -> c_long) -> c_int {
    let there_were = enable(false);
    let result = call();
    if there_were {
        let error = errno();
        enable(true);
        set_errno(error);
    }
    result as c_int
}

/// Whether that changed anything.
fn enable(wanted: bool) -> bool {
    let mut before = wanted;
    let mut size = size_of::<bool>();
    let new = (&raw const wanted).cast_mut().cast();
    // SAFETY: the name is a C string, and both values are booleans of the given size.
    let error = unsafe {
        je::mallctl(
            c"background_thread".as_ptr(),
            (&raw mut before).cast(),
            &mut size,
            new,
            size_of::<bool>(),
        )
    };
    error == 0 && before != wanted
}
