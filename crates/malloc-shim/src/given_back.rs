//! What allocators give back to the system, and how often.

#[cfg(idle_release)]
use core::ffi::c_void;
use core::ffi::{c_int, c_long};
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::system_calls::system_call;

/// How often memory has gone back to the system, or may have.
pub static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);

/// `free` keeps `errno` (POSIX.1-2024), also where the system refuses to take memory back, as it
/// does under mlockall or a seccomp filter. None of the allocators sees to that, and to do so in `free` itself would cost every call.
///
/// # Safety
/// As the system call has it.
pub unsafe fn system_call_without_errno(number: c_long, arguments: &[usize]) -> c_int {
    // SAFETY: the caller's obligation.
    if unsafe { system_call(number, arguments) } < 0 {
        return -1;
    }
    GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
    0
}

/// Gives pages of the allocator's back to the system, if that takes them.
#[cfg(idle_release)]
pub fn give_back(address: *mut c_void, length: usize) {
    let advice = [address as usize, length, libc::MADV_DONTNEED as usize];
    // SAFETY: nobody needs what is in the pages, which is the caller's word; they stay mapped.
    let _ = unsafe { system_call_without_errno(libc::SYS_madvise, &advice) };
}
