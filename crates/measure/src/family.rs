//! The descendants of this process. A subreaper (prctl(2)) loses none of them.

use std::collections::HashSet;
use std::ffi::c_int;
use std::time::Duration;
use std::{fs, thread};

use malloc_backend_process::descendants;

use crate::usage::{Ended, Usage, ended, reap};

/// Makes this process a subreaper: the parent of every descendant whose own parent ends.
pub fn adopt_orphans() {
    // SAFETY: takes constants.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// The time between two attempts to kill processes.
pub const MOMENT: Duration = Duration::from_millis(2);

/// The descendants that still run, each behind its parent.
pub fn living() -> Vec<i32> {
    let mut found = Vec::new();
    visit(|pid| found.push(pid));
    found.retain(|pid| lives(*pid));
    found
}

/// Calls the function for each descendant at once when the descendant is found. Parents come first.
fn visit(mut each: impl FnMut(i32)) {
    let own = std::process::id();
    let Ok(pid) = i32::try_from(own) else { return };
    let Some(mut open) = children(pid) else {
        // The kernel has no such file (CONFIG_PROC_CHILDREN).
        let all = descendants(own).unwrap_or_default();
        all.into_iter().filter_map(|child| i32::try_from(child.pid).ok()).for_each(each);
        return;
    };
    let mut seen = HashSet::new();
    while let Some(pid) = open.pop() {
        if seen.insert(pid) {
            each(pid);
            open.extend(children(pid).unwrap_or_default());
        }
    }
}

/// The children of all threads of a process. `None` if the process has ended.
fn children(pid: i32) -> Option<Vec<i32>> {
    let (mut found, mut is_there) = (Vec::new(), false);
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Ok(text) = fs::read_to_string(thread.path().join("children")) else { continue };
        is_there = true;
        found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    is_there.then_some(found)
}

/// Whether a process still runs. The state is the third field of `stat` (proc_pid_stat(5)). The second field is a name, in which
/// any character may occur.
fn lives(pid: i32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Sends a signal to each process, if this process may.
pub fn signal_each(pids: &[i32], number: c_int) {
    for pid in pids {
        signal(*pid, number);
    }
}

/// Sends a signal, and returns whether this process may.
fn signal(pid: i32, signal: c_int) -> bool {
    // SAFETY: sends a signal to a process.
    pid > 0 && unsafe { libc::kill(pid, signal) == 0 }
}

/// Kills each descendant at once when it is found, so that a process that forks and exits again and again does not escape.
/// Parents come first, because a parent may start its children again. Returns false if only processes are left that this process
/// may not kill.
pub fn kill_all() -> bool {
    let (mut killed, mut others) = (Vec::new(), Vec::new());
    visit(|pid| if signal(pid, libc::SIGKILL) { killed.push(pid) } else { others.push(pid) });
    killed.into_iter().any(lives) || !others.into_iter().any(lives)
}

/// Waits for the children that have ended, and returns whether other children are left.
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

/// Kills until no descendant is left that this process may kill.
pub fn end_all() {
    while reap_all(|_, _, _| {}) && kill_all() {
        thread::sleep(MOMENT);
    }
}
