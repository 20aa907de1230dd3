//! Functions and variables of libc's, found while the program runs: some of which this library stands in front of, and
//! some that not every libc has.

use core::ffi::{CStr, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A symbol, as the loader finds it after this library's.
pub struct Next {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Next {
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Looks it up: before `main`, because later the dynamic loader may have the caller wait.
    pub fn find(&self) -> *mut c_void {
        // SAFETY: a C string.
        let address = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.address.store(address, Ordering::Relaxed);
        address
    }

    /// Its address, looked up if nobody has done so: another library's constructor may be before this one's.
    #[cfg(any(feature = "jemalloc", idle_release))]
    pub fn resolved(&self) -> *mut c_void {
        let address = self.get();
        if address.is_null() { self.find() } else { address }
    }

    /// Its address; null where there is none, or nobody has looked it up.
    pub fn get(&self) -> *mut c_void {
        self.address.load(Ordering::Relaxed)
    }
}

/// libc's own, which this library and the program call by way of the one that stands in front of it.
#[cfg(any(feature = "jemalloc", idle_release))]
pub static PTHREAD_CREATE: Next = Next::new(c"pthread_create");
