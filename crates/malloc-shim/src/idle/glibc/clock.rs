//! How much time has passed, and how much of it the program has used.

use core::mem::MaybeUninit;

/// A program that uses less than this part of one processor is idle: a tenth.
pub const IDLE: u64 = 10;

/// The CPU time of all other threads.
pub fn spent_by_program() -> u64 {
    now(libc::CLOCK_PROCESS_CPUTIME_ID).saturating_sub(now(libc::CLOCK_THREAD_CPUTIME_ID))
}

/// What the clock says, in nanoseconds.
pub fn now(clock: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: a place for the time; where the call succeeds it is filled in.
    unsafe {
        if libc::clock_gettime(clock, time.as_mut_ptr()) != 0 {
            return 0;
        }
        let time = time.assume_init();
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}
