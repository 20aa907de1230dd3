//! Counters in shared memory. The process that started Python maps the same memory, and can read them at any time.

use core::ffi::c_int;
use core::mem::size_of;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use malloc_backend_python::{Counters, DOMAINS_COUNTED};

type All = [Counters; DOMAINS_COUNTED];

static MAPPED: AtomicPtr<All> = AtomicPtr::new(ptr::null_mut());

/// Maps the file of the descriptor and closes the descriptor. Returns `None` if the file cannot be mapped.
pub fn map(fd: c_int) -> Option<&'static All> {
    // SAFETY: a new mapping. The process that started Python made the file large enough. Zeros are valid counters. The
    // mapping is never unmapped.
    unsafe {
        let address = libc::mmap(
            ptr::null_mut(),
            size_of::<All>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd,
            0,
        );
        libc::close(fd);
        if address == libc::MAP_FAILED {
            return None;
        }
        // A launcher may have run another Python before, which has counted in this file.
        ptr::write_bytes(address.cast::<u8>(), 0, size_of::<All>());
        MAPPED.store(address.cast(), Ordering::Release);
        libc::pthread_atfork(None, None, Some(in_child));
        Some(&*address.cast::<All>())
    }
}

/// Gives a forked child its own counters. Otherwise the child's frees would change the parent's counters.
unsafe extern "C" fn in_child() {
    // SAFETY: replaces only this mapping by a mapping of the same size with zeros. The child has no other thread. mmap is a
    // plain system call.
    unsafe {
        libc::mmap(
            MAPPED.load(Ordering::Acquire).cast(),
            size_of::<All>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        );
    }
}
