//! What a program asks of the system that concerns jemalloc's background threads (crates/preload/src/background_threads.rs),
//! or this library's own thread (src/idle).
//!
//! Where the program makes a thread, they start too. They step aside where the kernel wants a process of one thread, or
//! changes the calling thread alone: with one more, unshare(2) and setns(2) enter no user namespace; and after capset(2),
//! which is one thread's, what setuid(2) and its like have every thread do fails in the other one, whereupon glibc ends the
//! process (nptl(7), "NPTL and process credential changes"). And none starts in a process that confines itself.

use core::ffi::{c_int, c_long, c_ulong, c_void};
use core::mem::{transmute, zeroed};

#[cfg(feature = "jemalloc")]
use malloc_backend_preload::background_threads::{confine, program_makes_thread, run_here, set};
use malloc_backend_preload::errno::{errno, set_errno};

#[cfg(idle_release)]
use crate::idle::{confine, program_makes_thread, run_here, set};
use crate::next::{Next, PTHREAD_CREATE};

static THRD_CREATE: Next = Next::new(c"thrd_create");
static PRCTL: Next = Next::new(c"prctl");

/// Looks the functions up.
pub fn prepare() {
    for next in [&PTHREAD_CREATE, &THRD_CREATE, &PRCTL] {
        next.find();
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut c_void,
    attributes: *const c_void,
    routine: *const c_void,
    argument: *mut c_void,
) -> c_int {
    type Function = unsafe extern "C" fn(*mut c_void, *const c_void, *const c_void, *mut c_void) -> c_int;
    let next = PTHREAD_CREATE.resolved();
    if next.is_null() {
        return libc::ENOSYS;
    }
    program_makes_thread();
    // SAFETY: the function has that type, with pointers for pointers; the arguments are handed on.
    unsafe { transmute::<*mut c_void, Function>(next)(thread, attributes, routine, argument) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn thrd_create(
    thread: *mut c_void,
    routine: *const c_void,
    argument: *mut c_void,
) -> c_int {
    type Function = unsafe extern "C" fn(*mut c_void, *const c_void, *mut c_void) -> c_int;
    /// thrd_error, in glibc and in musl.
    const ERROR: c_int = 2;
    let next = THRD_CREATE.resolved();
    if next.is_null() {
        return ERROR;
    }
    program_makes_thread();
    // SAFETY: see `pthread_create`.
    unsafe { transmute::<*mut c_void, Function>(next)(thread, routine, argument) }
}

/// Variadic in C; on the processors that this is built for, arguments that are not named are passed as named ones are.
#[unsafe(no_mangle)]
unsafe extern "C" fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int {
    type Function = unsafe extern "C" fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int;
    // Without more privileges than others a process has to give up new ones first.
    if matches!(option, libc::PR_SET_NO_NEW_PRIVS | libc::PR_SET_SECCOMP) {
        confine();
    }
    let next = PRCTL.resolved();
    // SAFETY: the function has that type; the arguments are handed on.
    unsafe {
        if next.is_null() {
            return libc::syscall(libc::SYS_prctl, c_long::from(option), a, b, c, d) as c_int;
        }
        transmute::<*mut c_void, Function>(next)(option, a, b, c, d)
    }
}

#[unsafe(no_mangle)]
extern "C" fn unshare(flags: c_int) -> c_int {
    // SAFETY: takes no memory.
    let call = || unsafe { libc::syscall(libc::SYS_unshare, flags) };
    let wants_one =
        flags & (libc::CLONE_NEWUSER | libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM) != 0;
    // (In a process whose children get a new PID namespace no thread can be started any more.)
    enter(call, wants_one, flags & libc::CLONE_NEWPID == 0)
}

#[unsafe(no_mangle)]
extern "C" fn setns(namespace: c_int, kind: c_int) -> c_int {
    // SAFETY: takes no memory.
    let call = || unsafe { libc::syscall(libc::SYS_setns, namespace, kind) };
    let wants_one = kind == 0 || kind & (libc::CLONE_NEWUSER | libc::CLONE_NEWNS) != 0;
    enter(call, wants_one, kind & libc::CLONE_NEWPID == 0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn capset(header: *mut c_void, data: *const c_void) -> c_int {
    // SAFETY: the caller's obligations are those of the system call.
    without_threads(|| unsafe { libc::syscall(libc::SYS_capset, header, data) }, true)
}

/// Enters a namespace: without the threads only where that is refused, and may be because of them.
fn enter(call: impl Fn() -> c_long, wants_one: bool, can_go_on: bool) -> c_int {
    match call() {
        -1 if wants_one && errno() == libc::EINVAL => without_threads(call, can_go_on),
        result => result as c_int,
    }
}

/// Ends the threads for the call, if there are any; those that come after it are like the thread that called.
fn without_threads(call: impl Fn() -> c_long, can_go_on: bool) -> c_int {
    let there_were = run_here() && !is_alone() && set(false);
    if there_were {
        // The kernel counts a thread that has ended for a moment longer than pthread_join(3) waits for it.
        for _ in 0..1000 {
            if is_alone() {
                break;
            }
            // SAFETY: takes nothing.
            unsafe { libc::sched_yield() };
        }
    }
    let result = call();
    if there_were {
        let error = errno();
        // Where they cannot start, the allocator is to know it: free pages then go back as the program allocates.
        if result == 0 && !can_go_on {
            stay_without();
        } else if !set(true) {
            set(false);
        }
        set_errno(error);
    }
    result as c_int
}

/// No thread starts in this process any more. (jemalloc knows that from `set(false)`.)
fn stay_without() {
    #[cfg(idle_release)]
    crate::idle::end();
}

/// Whether this process is known to have one thread only: a child of clone(2) in a new PID namespace may have its
/// parent's number, and jemalloc's record of its parent's threads.
fn is_alone() -> bool {
    // SAFETY: a C string, and a structure of integers to fill in.
    let (found, task) = unsafe {
        let mut task: libc::stat = zeroed();
        (libc::stat(c"/proc/self/task".as_ptr(), &mut task), task)
    };
    // A folder for each, beside the two names of this one.
    found == 0 && task.st_nlink == 3
}
