//! Everything that this process has started, directly or not: a subreaper (prctl(2)) loses none of it.

use std::ffi::c_int;
use std::time::Duration;
use std::{fs, thread};

use malloc_backend_process::descendants;

use crate::usage::{Ended, Usage, ended, reap};

/// Makes this process the parent of every descendant that loses its own.
pub fn adopt_orphans() {
    // SAFETY: takes constants.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Until the next look at processes that were killed.
pub const MOMENT: Duration = Duration::from_millis(2);

/// The descendants of this process that live, each behind its parent.
pub fn living() -> Vec<i32> {
    let all = descendants(std::process::id()).unwrap_or_default();
    let pids = all.into_iter().filter_map(|child| i32::try_from(child.pid).ok());
    pids.filter(|pid| lives(*pid)).collect()
}

/// Whether a process has not ended yet. The third field of `stat` tells (proc_pid_stat(5)); the second may have anything in it.
fn lives(pid: i32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Sends a signal to each, parents first: who restarts its children shall not live to see them end. Says whether at least one
/// may be sent signals.
pub fn signal(pids: &[i32], signal: c_int) -> bool {
    // SAFETY: sends a signal.
    let sent = pids.iter().filter(|pid| unsafe { libc::kill(**pid, signal) == 0 });
    sent.count() > 0
}

/// Kills all that live. Says whether there may be some left that it can kill.
pub fn kill_all() -> bool {
    let living = living();
    living.is_empty() || signal(&living, libc::SIGKILL)
}

/// Waits for the children that have ended. Says whether there are others.
pub fn reap_all(mut each: impl FnMut(i32, c_int, &Usage)) -> bool {
    loop {
        match ended() {
            Ended::One(pid) => {
                if let Some((status, usage)) = reap(pid) {
                    each(pid, status, &usage);
                }
            }
            Ended::None => return true,
            Ended::Childless => return false,
        }
    }
}

/// Kills all, again and again, until nothing is left that may be killed.
pub fn end_all() {
    while reap_all(|_, _, _| {}) && kill_all() {
        thread::sleep(MOMENT);
    }
}
