//! Work that Node's pool of threads does (`napi_create_async_work`), linked to the stack that queued it.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::hooks::{self, Caller, Done, Run, Thread, Work};
use crate::lock::Lock;
use crate::session::Inside;
use crate::stacks;
use crate::tables::Tables;

/// The work that Node has, by Node's own address of it. An addon may delete work that it has never queued.
static PENDING: Lock<BTreeMap<usize, Pending>> = Lock::new(BTreeMap::new());

struct Pending(*mut Work);

// SAFETY: whoever takes the address out of the map has the work for itself.
unsafe impl Send for Pending {}

/// Keeps the stack of who queues work. Null if no profile runs.
///
/// # Safety
/// Only the hooks call it: with the calling thread's own part, the registers of the caller, and the arguments of
/// `napi_create_async_work`.
pub unsafe extern "C" fn queued(
    thread: *mut Thread,
    caller: *const Caller,
    run: Option<Run>,
    done: Option<Done>,
    data: *mut c_void,
) -> *mut Work {
    // Without a function that ends the work there is nobody to give up the memory. Node refuses work without a function to run.
    let (Some(inside), Some(tables), Some(_), Some(_)) = (Inside::enter_any(), Tables::get(), run, done)
    else {
        return std::ptr::null_mut();
    };
    // SAFETY: the caller's obligation.
    let stack = unsafe {
        if (*thread).busy != 0 {
            return std::ptr::null_mut();
        }
        (*thread).busy = 1;
        let stack = catch_unwind(AssertUnwindSafe(|| stacks::stack_of(thread, &*caller, &inside, tables)))
            .unwrap_or(0);
        (*thread).busy = 0;
        stack
    };
    Box::into_raw(Box::new(Work { run, done, data, stack, session: inside.session, handle: 0 }))
}

/// Notes the address that Node has for the work; or gives up the memory of work that Node has refused, with the address 0.
///
/// # Safety
/// Nobody else uses the work.
pub unsafe extern "C" fn created(work: *mut Work, handle: usize) {
    if handle == 0 {
        // SAFETY: the caller's obligation.
        return drop(unsafe { Box::from_raw(work) });
    }
    // SAFETY: the caller's obligation.
    unsafe { (*work).handle = handle };
    // Work that was deleted while no profile ran has left an entry.
    let old = PENDING.hold().insert(handle, Pending(work));
    // SAFETY: Node has given the address to other work, so the old one is over.
    drop(old.map(|Pending(old)| unsafe { Box::from_raw(old) }));
}

/// The addon has deleted its work, which is over, or was never queued.
pub extern "C" fn deleted(handle: usize) {
    let work = PENDING.hold().remove(&handle);
    // SAFETY: Node does not call for it any more.
    drop(work.map(|Pending(work)| unsafe { Box::from_raw(work) }));
}

/// Runs the work, on a thread of the pool.
///
/// # Safety
/// Node calls it with what was given to `napi_create_async_work`.
pub unsafe extern "C" fn run(env: *mut c_void, work: *mut Work) {
    let thread = hooks::current();
    // SAFETY: Node runs the work before it is done. The thread's part is the calling thread's.
    unsafe {
        let Work { run, data, stack, session, .. } = &*work;
        let before = ((*thread).queued_by, (*thread).queued_session);
        ((*thread).queued_by, (*thread).queued_session) = (*stack, *session);
        if let Some(run) = run {
            run(env, *data);
        }
        ((*thread).queued_by, (*thread).queued_session) = before;
    }
}

/// Ends the work, on the thread that queued it.
///
/// # Safety
/// As for [`run`]. Node calls it once.
pub unsafe extern "C" fn done(env: *mut c_void, status: c_int, work: *mut Work) {
    // SAFETY: the caller's obligation.
    unsafe {
        let Work { done, data, handle, .. } = *Box::from_raw(work);
        PENDING.hold().remove(&handle);
        if let Some(done) = done {
            done(env, status, data);
        }
    }
}
