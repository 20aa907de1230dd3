//! What the library does before `main`: it looks who owns `malloc`, reports that or insists on it, and keeps
//! the program's children out of it, each when asked to. It asks the environment, and takes the question out
//! of it again: neither the program nor its children see it.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString};
use core::ffi::{CStr, c_char, c_int};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use malloc_backend::owner::Object;
use malloc_backend::shim::Shim;
use malloc_backend::variables::{CHILDREN, REGISTERED, REPORT, REQUIRE, RESTORE};
#[cfg(idle_release)]
use malloc_backend::variables::{DEFAULT, IDLE_RELEASE, MIMALLOC};
use malloc_backend::{MemoryAllocatorBackend, RawAllocator};

use malloc_backend_preload::descriptor::{self, Descriptor};
use malloc_backend_preload::environment::{get, leave_preload, remove, restore, take};
#[cfg(idle_release)]
use malloc_backend_preload::options::Options;
use malloc_backend_preload::own;
use malloc_backend_preload::report::{json, write};

use crate::backend::Backend;

/// Each of these says that a launcher of ours put the library in: `default` then takes itself out.
const OF_LAUNCHERS: [&CStr; 5] = [REPORT, REQUIRE, CHILDREN, RESTORE, REGISTERED];

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = start;

extern "C" fn start() {
    if Backend::BACKEND != MemoryAllocatorBackend::Default {
        crate::wrap::find_own();
    }
    #[cfg(any(feature = "jemalloc", feature = "mimalloc", feature = "snmalloc"))]
    crate::operators::prepare();
    #[cfg(feature = "mimalloc")]
    Backend::set_errno_on_failure();
    #[cfg(any(feature = "jemalloc", feature = "snmalloc"))]
    crate::fork::prepare();
    #[cfg(feature = "jemalloc")]
    if Object::that_defines(c"malloc").is_some_and(serves) {
        crate::background_threads::prepare();
        malloc_backend_preload::background_threads::allow();
    }
    #[cfg(idle_release)]
    crate::idle::prepare();
    #[cfg(idle_release)]
    let releases = idle_release();
    #[cfg(not(idle_release))]
    let releases = false;
    let launched = OF_LAUNCHERS.iter().any(|name| get(name).is_some());
    let report = descriptor::find(REPORT);
    remove(REPORT);
    let require = take(REQUIRE).is_some_and(|value| !value.is_empty());
    if matches!(report, Descriptor::Ours(3..)) || require {
        let owner = Object::that_defines(c"malloc");
        let applied = owner.is_some_and(serves);
        let owner = owner.map(|object| object.path()).unwrap_or_default();
        // (What a person reads is not the place.)
        if let Descriptor::Ours(fd @ 3..) = report {
            send(fd, &owner, applied);
        }
        if require && !applied {
            let name = Backend::BACKEND;
            let message =
                format!("malloc-backend: {name} was not applied: this program's malloc is that of {owner}\n");
            write(libc::STDERR_FILENO, message.as_bytes());
            // SAFETY: ends the process at once, before its `main`.
            unsafe { libc::_exit(126) }
        }
    }
    let alone = get(CHILDREN).is_some_and(|value| value == b"none");
    if alone {
        remove(CHILDREN);
        restore();
    }
    if alone || launched && !releases && Backend::BACKEND == MemoryAllocatorBackend::Default {
        leave_preload();
    }
}

/// Prepares idle release, if it is asked for. Says whether that is so.
#[cfg(idle_release)]
fn idle_release() -> bool {
    let options = Options::of(if cfg!(feature = "mimalloc") { MIMALLOC } else { DEFAULT });
    let is_asked = options.is_on(IDLE_RELEASE);
    if is_asked && Object::that_defines(c"malloc").is_some_and(serves) {
        crate::background_threads::prepare();
        crate::idle::allow();
    }
    is_asked
}

/// This library's file, for the C interface.
extern "C" fn own_path() -> *const c_char {
    own().map_or(c"".as_ptr(), |library| library.raw_path())
}

/// Whether the object is the one that the backend's `malloc` is in: this one or, for `default`, libc.
fn serves(owner: Object) -> bool {
    let expected = match Backend::BACKEND {
        MemoryAllocatorBackend::Default => Object::that_defines(c"__libc_start_main"),
        _ => own(),
    };
    expected == Some(owner)
}

fn send(fd: c_int, owner: &str, applied: bool) {
    let version = Backend::version().unwrap_or_default();
    let library = own().map(|object| object.path()).unwrap_or_default();
    let line = format!(
        "{{\"pid\":{},\"backend\":\"{}\",\"version\":{},\"library\":{},\"owner\":{},\"applied\":{applied}}}\n",
        // SAFETY: takes nothing, cannot fail.
        unsafe { libc::getpid() },
        Backend::BACKEND,
        json(&version),
        json(&library),
        json(owner),
    );
    write(fd, line.as_bytes());
    // SAFETY: whoever set the variable opened the descriptor for this library.
    unsafe { libc::close(fd) };
}

/// The structure behind `malloc_backend_shim`, made by the first call.
pub fn shim() -> *const Shim {
    static SHIM: AtomicPtr<Shim> = AtomicPtr::new(ptr::null_mut());
    fn leak(text: String) -> &'static CStr {
        alloc::boxed::Box::leak(CString::new(text).unwrap_or_default().into_boxed_c_str())
    }
    let made = SHIM.load(Ordering::Acquire);
    if !made.is_null() {
        return made;
    }
    let (name, version) = (leak(Backend::BACKEND.to_string()), leak(Backend::version().unwrap_or_default()));
    let new = alloc::boxed::Box::into_raw(Shim::new::<Backend>(name, version, own_path).into());
    // Where two threads are first at once, one structure is the answer and the other a few bytes lost.
    match SHIM.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        Err(other) => other,
    }
}
