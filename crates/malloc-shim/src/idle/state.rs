//! The state of the thread of idle release, the process that has this state, and whether the calling thread may allocate.

use core::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use crate::system_calls::system_call;

/// There is no thread, and none is to start.
pub const OFF: u8 = 0;
/// None yet.
pub const WAITING: u8 = 1;
pub const STARTING: u8 = 2;
pub const STARTED: u8 = 3;

pub static STATE: AtomicU8 = AtomicU8::new(OFF);
/// The process of which the state is told. A child of vfork(2) or clone(2) finds its parent's, and must leave it alone.
pub static PROCESS: AtomicI32 = AtomicI32::new(0);

/// Whether this process is the one that [`STATE`] tells of.
pub fn is_own() -> bool {
    PROCESS.load(Ordering::Relaxed) == process()
}

/// The calling process, also in a child of which libc knows nothing.
pub fn process() -> i32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { system_call(libc::SYS_getpid, &[]) as i32 }
}

/// Whether the calling thread is in no signal handler, which may have come in the middle of a `malloc`. A handler runs with
/// its signal blocked.
pub fn may_allocate() -> bool {
    let mut blocked = 0_u64;
    let set = [libc::SIG_BLOCK as usize, 0, (&raw mut blocked) as usize, size_of::<u64>()];
    // SAFETY: the kernel fills in a set of 64 signals.
    unsafe { system_call(libc::SYS_rt_sigprocmask, &set) == 0 && blocked == 0 }
}
