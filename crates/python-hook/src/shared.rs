//! Counters that whoever started the process can read at any time: in memory that both have mapped.

use core::ffi::c_int;
use core::mem::size_of;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use malloc_backend_python::{Counters, DOMAINS_COUNTED};

type All = [Counters; DOMAINS_COUNTED];

static MAPPED: AtomicPtr<All> = AtomicPtr::new(ptr::null_mut());

/// Maps the file behind the descriptor, which is closed; `None` where that cannot be.
pub fn map(fd: c_int) -> Option<&'static All> {
    // SAFETY: a new mapping, of a file that the one who started the process made at least that large; zeroes
    // are counters. It is never unmapped.
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
        // A launcher may have asked another Python something before, which counted here.
        ptr::write_bytes(address.cast::<u8>(), 0, size_of::<All>());
        MAPPED.store(address.cast(), Ordering::Release);
        libc::pthread_atfork(None, None, Some(in_child));
        Some(&*address.cast::<All>())
    }
}

/// A forked child has blocks of its own from here on: what it frees is not to be missing in the parent's count.
unsafe extern "C" fn in_child() {
    // SAFETY: replaces that mapping, and nothing else, by one of the same size full of zeroes; the child has no other
    // thread. mmap is a bare system call.
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
