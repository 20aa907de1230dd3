//! ArrayBuffers over memory that is not V8's.
//!
//! V8 is told of the memory once, and not by us: it counts the length of every ArrayBuffer that has a deleter,
//! external ones included, from its creation to its detachment or collection. `process.memoryUsage()` shows it in
//! `external`; `arrayBuffers` there is what Node's own allocator handed out. A call of `napi_adjust_external_memory`
//! would count it a second time.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use malloc_backend_pool::slots::Slot;
use malloc_backend_pool::{Block, Pool};
use napi::sys;

#[cfg(target_os = "linux")]
use crate::backing_store;

/// Why there is no ArrayBuffer.
pub enum Failure {
    Limit,
    /// This runtime allows none over foreign memory (Electron, V8's sandbox).
    Refused,
    /// There is a JavaScript exception, or the environment is ending.
    Failed,
}

/// V8's deleter. It is called during the detachment, unless a job of Node's still holds on to the memory; for an
/// ArrayBuffer that is collected by any thread; and when the environment ends.
///
/// # Safety
/// As [`Slot::finalize`], for `hint`.
#[cfg(target_os = "linux")]
unsafe extern "C" fn delete(_: *mut c_void, _: usize, hint: *mut c_void) {
    // SAFETY: the caller's obligation.
    unsafe { Slot::finalize(hint.cast()) }
}

/// Node-API's finaliser. It is called in a tick after the memory was detached or collected, or when the environment
/// ends.
///
/// # Safety
/// As [`Slot::finalize`], for `hint`.
unsafe extern "C" fn finalize(_: sys::napi_env, _: *mut c_void, hint: *mut c_void) {
    // SAFETY: the caller's obligation.
    unsafe { Slot::finalize(hint.cast()) }
}

/// An ArrayBuffer over the block, which is its finaliser's from now on. On failure the block is freed.
///
/// # Safety
/// `env` is the current environment, and the block a live one of the pool that nobody else uses.
pub unsafe fn create(
    env: sys::napi_env,
    pool: &Arc<Pool>,
    block: Block,
) -> Result<(sys::napi_value, u32), Failure> {
    let Some(slot) = Pool::lend(pool, block) else {
        // SAFETY: the caller's obligation.
        unsafe { pool.cancel(block) };
        return Err(Failure::Failed);
    };
    let hint = ptr::from_ref(slot).cast_mut().cast();
    #[cfg(target_os = "linux")]
    // SAFETY: the block has that many bytes and lives until it is taken out of the slot, which the deleter frees.
    if let Some(buffer) = unsafe { backing_store::array_buffer(env, block.start, block.size, delete, hint) } {
        return Ok((buffer, slot.index()));
    }
    let mut buffer = ptr::null_mut();
    // SAFETY: the block has that many bytes and lives until the finaliser, and so does the slot.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(env, block.start, block.size, Some(finalize), hint, &mut buffer)
    };
    if status == sys::Status::napi_ok {
        return Ok((buffer, slot.index()));
    }
    // SAFETY: without an ArrayBuffer there is no finaliser to come, and the block is as the caller gave it.
    unsafe {
        if let Some(block) = Pool::take_back(pool, slot) {
            pool.cancel(block);
        }
    }
    Err(match status {
        sys::Status::napi_no_external_buffers_allowed => Failure::Refused,
        _ => Failure::Failed,
    })
}

/// An ArrayBuffer of V8's own memory, counted in the pool as a block of its size: for a runtime that allows
/// no other, and a caller who said that it may be so. V8 zeroes it, and aligns it as it likes: `Refused` where that
/// is not enough.
///
/// # Safety
/// `env` is the current environment.
pub unsafe fn create_v8s(
    env: sys::napi_env,
    pool: &Arc<Pool>,
    size: usize,
    alignment: usize,
) -> Result<(sys::napi_value, *mut c_void, u32), Failure> {
    if !pool.account.has_room(size) {
        return Err(Failure::Limit);
    }
    let (mut buffer, mut start) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: two places to write to. The finaliser is called once the ArrayBuffer has gone, and its slot is there
    // until then.
    unsafe {
        if sys::napi_create_arraybuffer(env, size, &mut start, &mut buffer) == sys::Status::napi_ok {
            if start.addr() % alignment != 0 {
                return Err(Failure::Refused);
            }
            // No bytes have no address, and a live slot needs one.
            let place = if start.is_null() { ptr::dangling_mut() } else { start };
            if let Some(slot) = Pool::lend(pool, Block { start: place, size, alignment: Block::BORROWED }) {
                let hint: *mut c_void = ptr::from_ref(slot).cast_mut().cast();
                if sys::napi_add_finalizer(env, buffer, hint, Some(finalize), hint, ptr::null_mut())
                    == sys::Status::napi_ok
                {
                    pool.account.open(size);
                    return Ok((buffer, start, slot.index()));
                }
                Pool::take_back(pool, slot);
            }
        }
    }
    Err(Failure::Failed)
}

/// Where an ArrayBuffer's memory is, and how much of it; `None` for what is no ArrayBuffer, or detached.
///
/// # Safety
/// `env` is the current environment, and the value one of its.
pub unsafe fn memory_of(env: sys::napi_env, buffer: sys::napi_value) -> Option<(*mut c_void, usize)> {
    let (mut start, mut size, mut detached) = (ptr::null_mut(), 0, false);
    // SAFETY: the caller's obligation, and places to write to.
    unsafe {
        if sys::napi_get_arraybuffer_info(env, buffer, &mut start, &mut size) != sys::Status::napi_ok {
            return None;
        }
        // Without bytes it may be one that had some.
        let known =
            size > 0 || sys::napi_is_detached_arraybuffer(env, buffer, &mut detached) == sys::Status::napi_ok;
        (known && !detached).then_some((start, size))
    }
}

/// Detaches an ArrayBuffer: every view on it, wherever it is, is empty from then on.
///
/// # Safety
/// `env` is the current environment, and the value an ArrayBuffer of ours.
pub unsafe fn detach(env: sys::napi_env, buffer: sys::napi_value) -> bool {
    // SAFETY: the caller's obligation.
    unsafe {
        #[cfg(target_os = "linux")]
        backing_store::unlock(env, buffer);
        sys::napi_detach_arraybuffer(env, buffer) == sys::Status::napi_ok
    }
}
