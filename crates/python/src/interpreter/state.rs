//! What the process is told of its interpreter, in whichever file.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::counters::{Counters, DOMAINS_COUNTED, DomainCounters};

/// What went through the domains.
pub static COUNTERS: DomainCounters = [const { Counters::new() }; DOMAINS_COUNTED];

static FREE_THREADED: AtomicBool = AtomicBool::new(false);
/// Set in a forked child: nobody there waits for what a job gives.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether it has no GIL.
pub fn is_free_threaded() -> bool {
    FREE_THREADED.load(Ordering::Relaxed)
}

pub fn set_free_threaded(is: bool) {
    FREE_THREADED.store(is, Ordering::Relaxed);
}

pub fn is_forked_child() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// For pthread_atfork.
pub unsafe extern "C" fn in_forked_child() {
    FORKED.store(true, Ordering::Relaxed);
}
