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

    /// Its address; null where there is none, or nobody has looked it up.
    pub fn get(&self) -> *mut c_void {
        self.address.load(Ordering::Relaxed)
    }
}
