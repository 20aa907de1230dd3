//! jemalloc purges all arenas without a lock that keeps one of them from being destroyed meanwhile. So here the two take
//! turns.
//!
//! Not by a mutex, which a forked child of a process that purges would find locked for ever: there may be any number of
//! purges at a time, and a child in which one was left goes on with its own. Only a region's end waits.

use core::sync::atomic::{AtomicIsize, Ordering};

/// How many purges there are; or that an arena goes.
static TURN: AtomicIsize = AtomicIsize::new(0);
const ARENA_GOES: isize = -1;

/// A turn, to its end.
pub struct Turn(isize);

fn wait(next: impl Fn(isize) -> Option<isize>) {
    while TURN.fetch_update(Ordering::Acquire, Ordering::Relaxed, &next).is_err() {
        // SAFETY: takes nothing.
        unsafe { libc::sched_yield() };
    }
}

/// A turn for a purge of all arenas.
pub fn purge() -> Turn {
    wait(|turn| (turn != ARENA_GOES).then_some(turn + 1));
    Turn(1)
}

/// A turn for the end of an arena.
pub fn destroy() -> Turn {
    wait(|turn| (turn == 0).then_some(ARENA_GOES));
    Turn(ARENA_GOES)
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURN.fetch_sub(self.0, Ordering::Release);
    }
}
