//! The outer process. It stands above everything that the program starts, and ends what is left when the inner one is gone.

use std::ffi::c_int;
use std::io;
use std::path::Path;

use malloc_backend_launch::{Code, Refusal};

use crate::event::Event;
use crate::family::{adopt_orphans, end_all, reap_all};
use crate::reporter::Reporter;
use crate::run::{Options, Program, run};
use crate::signals::{ABANDONED, Before, Signals, block, name};

/// What came of a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The program ran on its backend, whatever came of it.
    Ran,
    /// The program was not started on its backend, or did not prove it; the reporter knows why.
    Refused,
    /// A signal of that name ended the measurement.
    Lost(String),
}

/// Starts the program, measures it and everything that it starts up to its end, and tells the reporter. When this returns,
/// nothing of the program is left.
///
/// This process must have one thread and no children.
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
            // SAFETY: ends the process, without what the outer one would do at its end.
            unsafe { libc::_exit(status) }
        }
        Ok((Role::Outer(inner), signals)) => {
            drop((program, reporter));
            wait_for(inner, signals, is_abandoned)
        }
    }
}

enum Role {
    /// Of this one.
    Outer(c_int),
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
    // SAFETY: takes nothing. (What kills the group of the outer process shall not reach this one.)
    unsafe { libc::setsid() };
    adopt_orphans();
    let is_abandoned = end_with_parent(outer);
    run(program, options, before, signals, reporter, is_abandoned)
}

/// Has the kernel send [`ABANDONED`] when the parent ends. Says whether that has happened already.
fn end_with_parent(parent: c_int) -> bool {
    // SAFETY: takes constants; and nothing.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, ABANDONED);
        libc::getppid() != parent
    }
}

/// Hands signals on to the inner process until it ends, and ends what it has left.
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
