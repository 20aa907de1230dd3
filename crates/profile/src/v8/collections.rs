//! When V8 collects garbage, in the isolate of the thread that has started the profile.
//!
//! Between two collections no object of V8's moves, and none goes away. So what was read for a stack is right for the same stack
//! until the next collection (`memo.rs`). V8 has no number of its collections that a profiler may read, but it calls whoever
//! wants to know of their beginning and their end. The other isolates are not watched: V8 takes such a wish only from the
//! isolate's own thread, and not in the middle of a call of `malloc`.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::v8::api::{Isolate, Watch};

/// The isolate that is watched; 0 for none.
static WATCHED: AtomicUsize = AtomicUsize::new(0);
/// Grows at the beginning and at the end of each collection. Odd in between.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// V8's `GCType`: all of them.
const ALL: c_int = 31;

unsafe extern "C" fn begin(_: Isolate, _: c_int, _: c_int, _: *mut c_void) {
    COUNT.store(COUNT.load(Ordering::Relaxed).wrapping_add(1) | 1, Ordering::Relaxed);
}

unsafe extern "C" fn end(_: Isolate, _: c_int, _: c_int, _: *mut c_void) {
    COUNT.store(COUNT.load(Ordering::Relaxed).wrapping_add(2) & !1, Ordering::Relaxed);
}

/// Watches the isolate, if none is watched.
///
/// # Safety
/// The isolate is the calling thread's, and the call comes from JavaScript.
pub unsafe fn watch(functions: &Watch, isolate: Isolate) {
    if isolate.is_null() || WATCHED.load(Ordering::Relaxed) != 0 {
        return;
    }
    // SAFETY: the caller's obligation. The functions stay: an addon is never unloaded. They are not called before this thread
    // allocates in V8's heap again.
    unsafe {
        (functions.add_begin)(isolate, begin, ptr::null_mut(), ALL);
        (functions.add_end)(isolate, end, ptr::null_mut(), ALL);
    }
    // What was read before is no longer right: nobody has counted.
    COUNT.store(COUNT.load(Ordering::Relaxed).wrapping_add(2) & !1, Ordering::Relaxed);
    WATCHED.store(isolate.addr(), Ordering::Release);
}

/// Watches the isolate no more, if it is the one that is watched.
///
/// # Safety
/// As for [`watch`].
pub unsafe fn unwatch(functions: &Watch, isolate: Isolate) {
    if isolate.is_null() || WATCHED.load(Ordering::Relaxed) != isolate.addr() {
        return;
    }
    WATCHED.store(0, Ordering::Release);
    // SAFETY: the caller's obligation. `watch` has added them.
    unsafe {
        (functions.remove_begin)(isolate, begin, ptr::null_mut());
        (functions.remove_end)(isolate, end, ptr::null_mut());
    }
}

/// The number of collections in that isolate, which is the calling thread's. `None` if it is not watched, or collects.
pub fn number(isolate: usize) -> Option<u32> {
    let is_watched = isolate != 0 && WATCHED.load(Ordering::Acquire) == isolate;
    is_watched.then(|| COUNT.load(Ordering::Relaxed)).filter(|count| count & 1 == 0)
}
