//! jemalloc's background threads step aside where the kernel wants a process of one thread, or changes the calling thread
//! alone.
//!
//! They start before `main`, in programs that know of no other thread. With one, unshare(2) and setns(2) enter no user
//! namespace; and after capset(2), which is one thread's, what setuid(2) and its like have every thread do fails in the
//! other one, whereupon glibc ends the process (nptl(7), "NPTL and process credential changes").

use core::ffi::{c_int, c_long, c_void};
use core::mem::zeroed;

use malloc_backend::jemalloc_nonstandard as je;
use malloc_backend_preload::errno::{errno, set_errno};

#[unsafe(no_mangle)]
extern "C" fn unshare(flags: c_int) -> c_int {
    // SAFETY: takes no memory.
    let call = || unsafe { libc::syscall(libc::SYS_unshare, flags) };
    // (In a process whose children get a new PID namespace no thread can be started any more.)
    enter(call, flags & libc::CLONE_NEWUSER != 0, flags & libc::CLONE_NEWPID == 0)
}

#[unsafe(no_mangle)]
extern "C" fn setns(namespace: c_int, kind: c_int) -> c_int {
    // SAFETY: takes no memory.
    let call = || unsafe { libc::syscall(libc::SYS_setns, namespace, kind) };
    enter(call, kind == 0 || kind & libc::CLONE_NEWUSER != 0, kind & libc::CLONE_NEWPID == 0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn capset(header: *mut c_void, data: *const c_void) -> c_int {
    // SAFETY: the caller's obligations are those of the system call.
    without_threads(|| unsafe { libc::syscall(libc::SYS_capset, header, data) }, true)
}

/// Enters a namespace: without the threads only where that is refused, and may be because of them.
fn enter(call: impl Fn() -> c_long, is_of_users: bool, can_go_on: bool) -> c_int {
    match call() {
        -1 if is_of_users && errno() == libc::EINVAL => without_threads(call, can_go_on),
        result => result as c_int,
    }
}

/// Ends the threads for the call, if there are any; those that come after it are like the thread that called.
fn without_threads(call: impl Fn() -> c_long, can_go_on: bool) -> c_int {
    // A child of vfork(2), or of clone(2) itself, has jemalloc's record of them and not the threads.
    let there_were = has_threads() && enable(false);
    let result = call();
    if there_were {
        let error = errno();
        // Where they cannot start, jemalloc is to know it: free pages then go back as the program allocates.
        if (result != 0 || can_go_on) && !enable(true) {
            enable(false);
        }
        set_errno(error);
    }
    result as c_int
}

/// Whether this process has more than one.
fn has_threads() -> bool {
    // SAFETY: a C string, and a structure of integers to fill in.
    let (found, task) = unsafe {
        let mut task: libc::stat = zeroed();
        (libc::stat(c"/proc/self/task".as_ptr(), &mut task), task)
    };
    // A folder for each, beside the two names of this one.
    found == 0 && task.st_nlink > 3
}

/// Has jemalloc start or end its threads. Whether that changed anything.
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
