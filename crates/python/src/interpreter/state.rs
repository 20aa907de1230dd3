//! The state of the interpreter that several files need.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::counters::{Counters, DOMAINS_COUNTED, DomainCounters};

/// The counters of the domains.
pub static COUNTERS: DomainCounters = [const { Counters::new() }; DOMAINS_COUNTED];

static FREE_THREADED: AtomicBool = AtomicBool::new(false);
/// Set in a forked child, where nobody waits for the result of a job.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether Python runs without the GIL.
pub fn is_free_threaded() -> bool {
    FREE_THREADED.load(Ordering::Relaxed)
}

pub fn set_free_threaded(is: bool) {
    FREE_THREADED.store(is, Ordering::Relaxed);
}

pub fn is_forked_child() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Marks the process as a forked child. For pthread_atfork.
pub unsafe extern "C" fn in_forked_child() {
    FORKED.store(true, Ordering::Relaxed);
}
