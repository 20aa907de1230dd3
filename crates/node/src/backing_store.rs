//! ArrayBuffers over foreign memory by V8's own functions (backing_store.cc), where they are known to be the same.

use std::ffi::{CStr, c_void};
use std::ops::RangeInclusive;
use std::ptr;
use std::sync::OnceLock;

use napi::sys;

/// Is called with `hint` once nothing shows the memory any more: during the detachment, or by any thread.
pub type Deleter = unsafe extern "C" fn(data: *mut c_void, length: usize, hint: *mut c_void);

/// The releases that this was tried with. In others an ArrayBuffer is made by Node-API.
const RELEASES: RangeInclusive<u32> = 20..=26;

unsafe extern "C" {
    safe fn malloc_backend_has_v8() -> bool;
    fn malloc_backend_array_buffer(
        data: *mut c_void,
        length: usize,
        deleter: Deleter,
        hint: *mut c_void,
    ) -> sys::napi_value;
}

/// An ArrayBuffer over so many bytes; `None`, and nothing was done, where Node-API is to be asked.
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
    static KNOWN: OnceLock<bool> = OnceLock::new();
    // SAFETY: the caller's obligation. The three functions are there.
    unsafe {
        KNOWN
            .get_or_init(|| malloc_backend_has_v8() && is_release(env) && takes_foreign_memory(env))
            .then(|| malloc_backend_array_buffer(data, length, deleter, hint))
    }
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

/// Whether V8 is without its sandbox, in which foreign memory ends the process. Node-API says so.
///
/// # Safety
/// `env` is the current environment.
unsafe fn takes_foreign_memory(env: sys::napi_env) -> bool {
    static BYTE: u8 = 0;
    let mut buffer = ptr::null_mut();
    let data = (&raw const BYTE).cast_mut().cast();
    // SAFETY: the byte is there as long as the process, and nothing has the ArrayBuffer that would write to it.
    unsafe {
        sys::napi_create_external_arraybuffer(env, data, 1, None, ptr::null_mut(), &mut buffer)
            == sys::Status::napi_ok
    }
}
