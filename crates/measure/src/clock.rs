//! Clocks of the system.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Since some moment before; the clock of Node's `process.hrtime`.
pub fn now() -> Duration {
    read(libc::CLOCK_MONOTONIC).unwrap_or_default()
}

/// The CPU time of this process.
pub fn own_cpu() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default()
}

/// The CPU time of a process that lives, with all its threads, but without its children.
pub fn cpu_of(pid: i32) -> Option<Duration> {
    // clock_getcpuclockid(3): the clock of a process is its id, inverted, and the kind of the clock. The C library's function
    // would read the clock once to see whether there is one.
    const SCHEDULED: c_int = 2;
    read((!pid << 3) | SCHEDULED)
}

/// Milliseconds, to the microsecond.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_nanos() / 1000) as f64 / 1000.0
}

/// Seconds, to the microsecond.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_nanos() / 1000) as f64 / 1e6
}

fn read(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: a structure to fill in; a clock that does not exist is an error.
    let time = unsafe {
        if libc::clock_gettime(clock, time.as_mut_ptr()) != 0 {
            return None;
        }
        time.assume_init()
    };
    Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
}
