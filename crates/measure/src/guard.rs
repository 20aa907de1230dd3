//! The outer process. It is an ancestor of the program and of all descendants, and kills those that survive the inner process.

use std::ffi::c_int;
use std::io;
use std::path::Path;

use malloc_backend_launch::{Code, Refusal};

use crate::event::Event;
use crate::family::{adopt_orphans, end_all, reap_all};
use crate::reporter::Reporter;
use crate::run::{Options, Program, run};
use crate::signals::{ABANDONED, Before, Signals, block, name};

/// The result of a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The program ran on its backend. It may have failed.
    Ran,
    /// The program was not started on its backend, or did not prove the backend. The reporter has the reason.
    Refused,
    /// The signal with this name ended the measurement.
    Lost(String),
}

/// Starts the program and measures it with all its descendants up to its end. Writes the events to the reporter. When this
/// function returns, no descendant runs.
///
/// The process that calls this function must have one thread and no children.
pub fn measure(program: Program, options: &Options, mut reporter: Reporter) -> Measured {
    // SAFETY: takes nothing and cannot fail.
    let parent = unsafe { libc::getppid() };
    let before = block();
    adopt_orphans();
    let is_abandoned = end_with_parent(parent);
    match fork(&program) {
        Err(refusal) => {
            reporter.tell(&Event::from(refusal));
            reporter.finish();
            Measured::Refused
        }
        Ok((Role::Inner(outer), signals)) => {
            let status = inner(outer, program, options, &before, signals, reporter);
            // SAFETY: ends the process without the exit handlers, which are the outer process's.
            unsafe { libc::_exit(status) }
        }
        Ok((Role::Outer(inner), signals)) => {
            drop((program, reporter));
            wait_for(inner, signals, is_abandoned)
        }
    }
}

enum Role {
    /// The outer process, with the id of the inner one.
    Outer(c_int),
    /// The inner process, with the id of the outer one.
    Inner(c_int),
}

fn fork(program: &Program) -> Result<(Role, Signals), Refusal> {
    if !Path::new("/proc/self").exists() {
        return Err(Refusal::new(
            Code::ProcessAccess,
            "cannot measure a program: /proc is not mounted; mount it (mount -t proc proc /proc)",
        ));
    }
    let refuse = |error: io::Error| program.launch.failed(&error);
    let signals = Signals::open().map_err(refuse)?;
    // SAFETY: takes nothing and cannot fail.
    let own = unsafe { libc::getpid() };
    // SAFETY: this process has one thread, so the child may do whatever it may.
    match unsafe { libc::fork() } {
        -1 => Err(refuse(io::Error::last_os_error())),
        0 => Ok((Role::Inner(own), signals)),
        inner => Ok((Role::Outer(inner), signals)),
    }
}

fn inner(
    outer: c_int,
    program: Program,
    options: &Options,
    before: &Before,
    signals: Signals,
    reporter: Reporter,
) -> c_int {
    // A signal to the process group of the outer process must not reach this one.
    // SAFETY: takes nothing.
    unsafe { libc::setsid() };
    adopt_orphans();
    let is_abandoned = end_with_parent(outer);
    run(program, options, before, signals, reporter, is_abandoned)
}

/// Makes the kernel send [`ABANDONED`] when the parent ends. Returns whether the parent has ended already.
fn end_with_parent(parent: c_int) -> bool {
    // SAFETY: takes constants; and nothing.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, ABANDONED);
        libc::getppid() != parent
    }
}

/// Forwards signals to the inner process until the inner process ends. Then kills the descendants that are left.
fn wait_for(inner: c_int, mut signals: Signals, is_abandoned: bool) -> Measured {
    // SAFETY: sends a signal to a child for which nobody has waited yet.
    let send = |signal: c_int| unsafe { libc::kill(inner, signal) };
    if is_abandoned {
        send(ABANDONED);
    }
    loop {
        let mut status = None;
        reap_all(|pid, ended, _| {
            if pid == inner {
                status = Some(ended);
            }
        });
        if let Some(status) = status {
            end_all();
            return match libc::WIFEXITED(status) {
                true if libc::WEXITSTATUS(status) == 0 => Measured::Ran,
                true => Measured::Refused,
                false => Measured::Lost(name(libc::WTERMSIG(status))),
            };
        }
        match signals.wait() {
            libc::SIGCHLD => {}
            signal => drop(send(signal)),
        }
    }
}
