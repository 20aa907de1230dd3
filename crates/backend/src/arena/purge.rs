//! Prevents that an arena is destroyed during a purge. jemalloc has no lock for this: it purges all arenas, and another
//! thread could destroy one of them at the same time.
//!
//! A mutex is no solution: if a process forks during a purge, the mutex stays locked for ever in the child. Here any number
//! of purges may run at the same time, so a purge in the child works even if the parent's purge was interrupted. Only the
//! end of an arena waits.

use core::sync::atomic::{AtomicIsize, Ordering};

/// The number of running purges, or [`ARENA_GOES`] while an arena is destroyed.
static TURN: AtomicIsize = AtomicIsize::new(0);
const ARENA_GOES: isize = -1;

/// A turn. A drop ends it.
pub struct Turn(isize);

fn wait(next: impl Fn(isize) -> Option<isize>) {
    while TURN.fetch_update(Ordering::Acquire, Ordering::Relaxed, &next).is_err() {
        // SAFETY: has no arguments.
        unsafe { libc::sched_yield() };
    }
}

/// Waits for a turn to purge all arenas.
pub fn purge() -> Turn {
    wait(|turn| (turn != ARENA_GOES).then_some(turn + 1));
    Turn(1)
}

/// Waits for a turn to destroy an arena.
pub fn destroy() -> Turn {
    wait(|turn| (turn == 0).then_some(ARENA_GOES));
    Turn(ARENA_GOES)
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURN.fetch_sub(self.0, Ordering::Release);
    }
}
