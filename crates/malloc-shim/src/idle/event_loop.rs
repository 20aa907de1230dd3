//! An event loop that waits for long. What other threads free of a thread's memory, mimalloc leaves for that thread to collect:
//! V8 frees buffers in threads of its own, and all of them would stay until the main thread allocates again. So a thread that
//! waits for an event wakes a few times, collects its own blocks, and goes on waiting (event_loop.c).

use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

use malloc_backend::RawAllocator;
use malloc_backend_preload::errno::{errno, set_errno};

use malloc_backend_preload::wrap;

use super::state::{STARTED, STATE, is_own, may_allocate};
use crate::backend::Backend;

unsafe extern "C" {
    static malloc_backend_own_epoll_wait: AtomicPtr<c_void>;
    static malloc_backend_own_epoll_pwait: AtomicPtr<c_void>;
    fn malloc_backend_epoll_wait();
    fn malloc_backend_epoll_pwait();
}

/// The function that is to be called in place of libc's own function of that name, which was found.
pub fn in_front_of(name: &CStr, found: *mut c_void) -> *mut c_void {
    // SAFETY: pointers of event_loop.c, which only this function writes.
    let (own, function) = unsafe {
        match name.to_bytes() {
            b"epoll_wait" => (&malloc_backend_own_epoll_wait, malloc_backend_epoll_wait as *mut c_void),
            b"epoll_pwait" => (&malloc_backend_own_epoll_pwait, malloc_backend_epoll_pwait as *mut c_void),
            _ => return found,
        }
    };
    own.store(found, Ordering::Relaxed);
    if found.is_null() { found } else { function }
}

/// Whether a thread that waits wakes meanwhile. (A child of vfork(2) finds its parent's answer, and collects nothing.)
extern "C" fn has_naps() -> bool {
    STATE.load(Ordering::Relaxed) == STARTED
}

wrap!("malloc_backend_has_naps", has_naps);

/// Collects what other threads have freed of this thread's memory.
extern "C" fn collect() {
    if is_own() && may_allocate() {
        let error = errno();
        Backend::collect_thread(false);
        set_errno(error);
    }
}

wrap!("malloc_backend_collect", collect);
