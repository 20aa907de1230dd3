//! The start of the program.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use malloc_backend_launch::Launch;

use crate::clock::now;
use crate::signals::Before;
use crate::usage::Usage;

/// A process that is to become the program.
pub struct Starting {
    /// Its process id.
    pub pid: i32,
    /// Carries the fields of [`Started`], and an error number if the system refuses.
    said: File,
    go: Option<File>,
}

/// The moment in which the process became the program.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// When.
    pub at: Duration,
    /// The peak RSS, in bytes, of the process before that moment. The kernel counts it as the program's.
    pub peak_before: u64,
}

/// How the program is started.
pub struct Manner<'a> {
    /// The program.
    pub launch: &'a Launch,
    /// Its environment.
    pub entries: Vec<Vec<u8>>,
    /// Its signals.
    pub signals: &'a Before,
    /// With this process's standard input, and not with an empty one.
    pub keep_input: bool,
}

const WORD: usize = size_of::<u64>();

impl Starting {
    /// Forks a process that becomes the program after [`Starting::go`]. The program leads a process group of its own. So Ctrl-C in
    /// a terminal does not reach the program directly, and a signal from the program to its group does not reach the launcher.
    ///
    /// # Errors
    /// The system cannot fork.
    pub fn new(manner: Manner<'_>) -> io::Result<Self> {
        let (said, say) = io::pipe()?;
        let (wait, go) = io::pipe()?;
        // SAFETY: this process has one thread, so the child may do whatever it may.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop((said, go));
                let mut say = file(say);
                let Err(error) = become_program(manner, file(wait), &mut say);
                let number = error.raw_os_error().unwrap_or(libc::EIO);
                let _ = say.write_all(&number.to_ne_bytes());
                // SAFETY: ends the process without the exit handlers, which are the launcher's.
                unsafe { libc::_exit(127) }
            }
            pid => Ok(Self { pid, said: file(said), go: Some(file(go)) }),
        }
    }

    /// Lets the process become the program.
    pub fn go(&mut self) {
        // The process waits until this end of the pipe is closed.
        self.go = None;
    }

    /// Waits until the process is the program.
    ///
    /// # Errors
    /// The system refuses to start the program.
    pub fn outcome(&mut self) -> io::Result<Started> {
        let mut bytes = Vec::new();
        self.said.read_to_end(&mut bytes)?;
        let word = |at: usize| {
            let bytes = bytes.get(at * WORD..(at + 1) * WORD)?;
            Some(u64::from_ne_bytes(bytes.try_into().ok()?))
        };
        let number = match bytes.len() % WORD {
            0 => None,
            rest => bytes[bytes.len() - rest..].try_into().ok().map(i32::from_ne_bytes),
        };
        match (number, word(0), word(1)) {
            (None, Some(at), Some(peak_before)) => Ok(Started { at: Duration::from_nanos(at), peak_before }),
            (Some(number), ..) => Err(io::Error::from_raw_os_error(number)),
            // A signal ended the process.
            _ => Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

impl AsFd for Starting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.said.as_fd()
    }
}

fn become_program(manner: Manner<'_>, mut wait: File, say: &mut File) -> io::Result<Infallible> {
    let Manner { launch, entries, signals, keep_input } = manner;
    // SAFETY: makes this process the leader of a group of its own.
    unsafe { libc::setpgid(0, 0) };
    if !keep_input {
        let empty = File::open("/dev/null")?;
        // SAFETY: two descriptors of this process.
        if unsafe { libc::dup2(empty.as_raw_fd(), libc::STDIN_FILENO) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    signals.restore();
    let _ = wait.read(&mut [0]);
    let peak = Usage::own().peak;
    let at = u64::try_from(now().as_nanos()).unwrap_or_default();
    say.write_all(&[at.to_ne_bytes(), peak.to_ne_bytes()].concat())?;
    Err(launch.execute(entries, false))
}

fn file(pipe: impl Into<OwnedFd>) -> File {
    File::from(pipe.into())
}
