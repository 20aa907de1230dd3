//! fork(2) beside the locks of an allocator. jemalloc and snmalloc have handlers that take all of theirs, so that no other
//! thread holds one whose child will miss it. libc's malloc takes its own inside of fork(2), after the lock of the list of
//! streams, and only in a process of more threads than one. Handlers come before that, and so these do the same first:
//!
//! - Where a thread that holds the list waits for one that reads a line, and that one for the allocator, the fork that has
//!   the allocator must not wait for the list. So it takes the list before it takes the allocator.
//! - In a process of one thread, no other one holds a lock. It may itself, where a signal came in the middle of a malloc
//!   whose handler forks: it would wait for itself. Parent and child both go on in the middle of it.

use core::ffi::{c_char, c_int, c_void};
use core::mem::transmute;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use malloc_backend_preload::wrap;

use crate::next::Next;

type Handler = Option<unsafe extern "C" fn()>;

unsafe extern "C" {
    fn __real_pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int;
}

/// The allocator's handlers: before, after in the parent, after in the child.
static HANDLERS: [AtomicPtr<c_void>; 3] = [const { AtomicPtr::new(ptr::null_mut()) }; 3];
/// Whether the process that forks has one thread.
static IS_ALONE: AtomicBool = AtomicBool::new(false);

static SINGLE_THREADED: Next = Next::new(c"__libc_single_threaded");
static LOCK: Next = Next::new(c"_IO_list_lock");
static UNLOCK: Next = Next::new(c"_IO_list_unlock");
static RESET: Next = Next::new(c"_IO_list_resetlock");

/// Looks glibc's functions up. Where there are none, the allocator's handlers do what they always did.
pub fn prepare() {
    for next in [&SINGLE_THREADED, &LOCK, &UNLOCK, &RESET] {
        next.find();
    }
}

/// The allocator has fork handlers. (This library's own ones have nothing to do before a fork.)
unsafe extern "C" fn pthread_atfork(prepare: Handler, parent: Handler, child: Handler) -> c_int {
    let theirs = [prepare, parent, child];
    let ours: [Handler; 3] = match prepare {
        None => theirs,
        Some(_) => {
            for (place, handler) in HANDLERS.iter().zip(theirs) {
                place.store(
                    handler.map_or(ptr::null_mut(), |handler| handler as *mut c_void),
                    Ordering::Relaxed,
                );
            }
            [Some(before), Some(in_parent), Some(in_child)]
        }
    };
    // SAFETY: handlers are never unloaded.
    unsafe { __real_pthread_atfork(ours[0], ours[1], ours[2]) }
}

wrap!("__wrap_pthread_atfork", pthread_atfork);

unsafe extern "C" fn before() {
    let flag: *const c_char = SINGLE_THREADED.get().cast();
    // SAFETY: glibc's variable, which other threads may change: but only where there are any.
    let is_alone = !flag.is_null() && unsafe { flag.read_volatile() } != 0;
    IS_ALONE.store(is_alone, Ordering::Relaxed);
    if !is_alone {
        call(LOCK.get());
        call(HANDLERS[0].load(Ordering::Relaxed));
    }
}

unsafe extern "C" fn in_parent() {
    if !IS_ALONE.load(Ordering::Relaxed) {
        call(HANDLERS[1].load(Ordering::Relaxed));
        call(UNLOCK.get());
    }
}

unsafe extern "C" fn in_child() {
    if !IS_ALONE.load(Ordering::Relaxed) {
        call(HANDLERS[2].load(Ordering::Relaxed));
        // fork(2) may have done so already.
        call(RESET.get());
    }
}

/// Calls it, if it is there.
fn call(function: *mut c_void) {
    // SAFETY: functions that take nothing, the allocator's and those of glibc's that fork(2) calls just so; null is none.
    // The lock of the list counts how often its owner has taken it.
    if let Some(function) = unsafe { transmute::<*mut c_void, Handler>(function) } {
        // SAFETY: see above.
        unsafe { function() }
    }
}
