//! ArrayBuffers over foreign memory by V8's own functions (backing_store.cc), where they are known to be the same.
//! Elsewhere nothing is done, and Node-API is to be asked.

use std::ffi::{CStr, c_void};
use std::ops::RangeInclusive;
use std::ptr;
use std::sync::OnceLock;

use napi::sys;

/// Is called with `hint` once nothing shows the memory any more: during the detachment, or by any thread.
pub type Deleter = unsafe extern "C" fn(data: *mut c_void, length: usize, hint: *mut c_void);

/// The releases whose functions are the same; 20, 22, 24, 25 and 26 were tried.
const RELEASES: RangeInclusive<u32> = 20..=26;

unsafe extern "C" {
    safe fn malloc_backend_has_v8() -> bool;
    fn malloc_backend_array_buffer(
        data: *mut c_void,
        length: usize,
        deleter: Deleter,
        hint: *mut c_void,
    ) -> sys::napi_value;
    fn malloc_backend_uncounted_array_buffer(
        data: *mut c_void,
        length: usize,
        deleter: Deleter,
        hint: *mut c_void,
    ) -> sys::napi_value;
    fn malloc_backend_unlock(buffer: sys::napi_value, undefined: sys::napi_value);
}

/// An ArrayBuffer over so many bytes.
///
/// # Safety
/// `env` is the current environment, in a call from JavaScript. The memory lives until the deleter is called.
pub unsafe fn array_buffer(
    env: sys::napi_env,
    data: *mut c_void,
    length: usize,
    deleter: Deleter,
    hint: *mut c_void,
) -> Option<sys::napi_value> {
    // SAFETY: the caller's obligation.
    unsafe { are_known(env).then(|| malloc_backend_array_buffer(data, length, deleter, hint)) }
}

/// The same, of which V8 counts no bytes: how many of a reserved range are in use, it has to be told.
///
/// # Safety
/// As [`array_buffer`].
pub unsafe fn uncounted_array_buffer(
    env: sys::napi_env,
    data: *mut c_void,
    length: usize,
    deleter: Deleter,
    hint: *mut c_void,
) -> Option<sys::napi_value> {
    // SAFETY: the caller's obligation.
    unsafe { are_known(env).then(|| malloc_backend_uncounted_array_buffer(data, length, deleter, hint)) }
}

/// Lets an ArrayBuffer be detached that was marked as not transferable: from Node 24 on that is a key that
/// `napi_detach_arraybuffer` does not have, and without it Node ends the process.
///
/// # Safety
/// `env` is the current environment, in a call from JavaScript, and the value an ArrayBuffer of it.
pub unsafe fn unlock(env: sys::napi_env, buffer: sys::napi_value) {
    let mut undefined = ptr::null_mut();
    // SAFETY: the caller's obligation.
    unsafe {
        if are_known(env) && sys::napi_get_undefined(env, &mut undefined) == sys::Status::napi_ok {
            malloc_backend_unlock(buffer, undefined);
        }
    }
}

/// Whether V8's functions are there and known, and its sandbox is not.
///
/// # Safety
/// `env` is the current environment, in a call from JavaScript.
unsafe fn are_known(env: sys::napi_env) -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return *known;
    }
    // SAFETY: the caller's obligation.
    let known = unsafe {
        if malloc_backend_has_v8() && is_release(env) { takes_foreign_memory(env) } else { Some(false) }
    };
    known.is_some_and(|known| *KNOWN.get_or_init(|| known))
}

/// Whether this is one of the [`RELEASES`].
///
/// # Safety
/// `env` is the current environment.
unsafe fn is_release(env: sys::napi_env) -> bool {
    let mut version = ptr::null();
    // SAFETY: the caller's obligation; the answer is Node's, and is there as long as the process.
    unsafe {
        sys::napi_get_node_version(env, &mut version) == sys::Status::napi_ok
            && RELEASES.contains(&(*version).major)
            && CStr::from_ptr((*version).release) == c"node"
    }
}

/// Whether V8 is without its sandbox, in which foreign memory ends the process: Node-API says so. `None` where it does
/// not, as in a worker that is ending.
///
/// # Safety
/// `env` is the current environment.
unsafe fn takes_foreign_memory(env: sys::napi_env) -> Option<bool> {
    static BYTE: u8 = 0;
    let mut buffer = ptr::null_mut();
    let data = (&raw const BYTE).cast_mut().cast();
    // SAFETY: the byte is there as long as the process, and nothing has the ArrayBuffer that would write to it.
    match unsafe { sys::napi_create_external_arraybuffer(env, data, 1, None, ptr::null_mut(), &mut buffer) } {
        sys::Status::napi_ok => Some(true),
        sys::Status::napi_no_external_buffers_allowed => Some(false),
        _ => None,
    }
}
