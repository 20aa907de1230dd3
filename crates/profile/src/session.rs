//! The running profile, as the threads see it that take samples.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// The number of the running profile; 0 while none runs.
static SESSION: AtomicU32 = AtomicU32::new(0);
/// The number of the last profile.
static LAST_SESSION: AtomicU32 = AtomicU32::new(0);
/// The mean distance of two samples, in bytes.
static INTERVAL: AtomicU64 = AtomicU64::new(0);
/// How many threads use the tables at this moment.
static INSIDE: AtomicI32 = AtomicI32::new(0);

/// The number of the running profile; 0 while none runs.
pub fn running() -> u32 {
    SESSION.load(Ordering::Acquire)
}

/// The number of a new profile.
pub fn next() -> u32 {
    let last = LAST_SESSION.load(Ordering::Relaxed);
    let next = last.checked_add(1).unwrap_or(1);
    LAST_SESSION.store(next, Ordering::Relaxed);
    next
}

/// Begins to take samples for that profile.
pub fn start(session: u32, interval: u64) {
    INTERVAL.store(interval, Ordering::Relaxed);
    SESSION.store(session, Ordering::Release);
}

/// Takes no more samples. Threads that are taking one go on ([`is_quiet`]).
pub fn stop() {
    SESSION.store(0, Ordering::SeqCst);
}

/// Whether no thread uses the tables. After [`stop`], this stays true once it is.
pub fn is_quiet() -> bool {
    INSIDE.load(Ordering::SeqCst) == 0
}

/// In a forked child: the other threads are not there.
pub fn forget_threads() {
    INSIDE.store(0, Ordering::SeqCst);
}

/// The mean distance of two samples, in bytes.
pub fn interval() -> u64 {
    INTERVAL.load(Ordering::Relaxed)
}

/// A right to use the tables of the running profile.
pub struct Inside {
    /// The profile.
    pub session: u32,
}

impl Inside {
    /// Enters, if that profile still runs.
    pub fn enter(session: u32) -> Option<Self> {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        let inside = Self { session };
        (SESSION.load(Ordering::SeqCst) == session).then_some(inside)
    }

    /// Enters the running profile.
    pub fn enter_any() -> Option<Self> {
        match running() {
            0 => None,
            session => Self::enter(session),
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}
