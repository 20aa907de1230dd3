//! Signals. They are blocked and read from a descriptor, so that one `poll` waits for them and for all other events.

use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Read};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::ptr;

/// The signals that ask the launcher to end. It forwards them to the program.
pub const STOPS: [c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];
/// The signal that says that the parent has ended: all processes are killed at once.
pub const ABANDONED: c_int = libc::SIGUSR1;

/// The signal mask and the dispositions of the launcher's parent. The program inherits them.
#[derive(Clone, Copy)]
pub struct Before {
    mask: libc::sigset_t,
    pipe: libc::sighandler_t,
    child: libc::sighandler_t,
}

/// Blocks the signals that the launcher reads.
///
/// SIGPIPE is ignored, so that `write` returns an error if the reader is gone. SIGCHLD gets the default disposition: a process
/// that ignores SIGCHLD cannot wait for its children.
pub fn block() -> Before {
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    let ours = ours();
    // SAFETY: both sets outlive the call, which fills the second in; the dispositions run no code.
    unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, &ours, before.as_mut_ptr());
        Before {
            mask: before.assume_init(),
            pipe: libc::signal(libc::SIGPIPE, libc::SIG_IGN),
            child: libc::signal(libc::SIGCHLD, libc::SIG_DFL),
        }
    }
}

impl Before {
    /// Undoes [`block`], in a process that is about to become the program.
    pub fn restore(&self) {
        // SAFETY: sets what was set before.
        unsafe {
            libc::signal(libc::SIGPIPE, self.pipe);
            libc::signal(libc::SIGCHLD, self.child);
            libc::sigprocmask(libc::SIG_SETMASK, &self.mask, ptr::null_mut());
        }
    }
}

fn ours() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` fills the set in.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in STOPS.into_iter().chain([ABANDONED, libc::SIGCHLD]) {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// The signals that were blocked, as a descriptor to wait for.
pub struct Signals(File);

impl Signals {
    /// Opens the descriptor.
    pub fn open() -> io::Result<Self> {
        // SAFETY: a set; the new descriptor belongs to nobody else.
        unsafe {
            match libc::signalfd(-1, &ours(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Self(File::from_raw_fd(fd))),
            }
        }
    }

    /// Waits for the next signal.
    pub fn wait(&mut self) -> c_int {
        loop {
            let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one structure.
            unsafe { libc::poll(&mut poll, 1, -1) };
            if let Some(signal) = self.next() {
                return signal;
            }
        }
    }

    /// The next signal, if one has arrived.
    pub fn next(&mut self) -> Option<c_int> {
        let mut bytes = [0; size_of::<libc::signalfd_siginfo>()];
        self.0.read_exact(&mut bytes).ok()?;
        // SAFETY: the kernel wrote one of these structures, of which every pattern of bits is a value.
        let info: libc::signalfd_siginfo = unsafe { mem::transmute(bytes) };
        c_int::try_from(info.ssi_signo).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The name of a signal, as in Node.
pub fn name(signal: c_int) -> String {
    const NAMES: [(c_int, &str); 31] = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGSTKFLT, "SIGSTKFLT"),
        (libc::SIGCHLD, "SIGCHLD"),
        (libc::SIGCONT, "SIGCONT"),
        (libc::SIGSTOP, "SIGSTOP"),
        (libc::SIGTSTP, "SIGTSTP"),
        (libc::SIGTTIN, "SIGTTIN"),
        (libc::SIGTTOU, "SIGTTOU"),
        (libc::SIGURG, "SIGURG"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGXFSZ, "SIGXFSZ"),
        (libc::SIGVTALRM, "SIGVTALRM"),
        (libc::SIGPROF, "SIGPROF"),
        (libc::SIGWINCH, "SIGWINCH"),
        (libc::SIGIO, "SIGIO"),
        (libc::SIGPWR, "SIGPWR"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    let known = NAMES.into_iter().find(|(number, _)| *number == signal);
    known.map_or_else(|| format!("SIG{signal}"), |(_, name)| name.to_owned())
}
