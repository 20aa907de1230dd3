//! The writer of the events. A slow reader does not delay the measurement.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::event::Event;

/// The time between two writes. A write wakes the reader, which costs more CPU time than a sample.
const PERIOD: Duration = Duration::from_millis(250);

/// A pipe that is ready takes this many bytes without blocking (pipe(7), `PIPE_BUF`).
const AT_ONCE: usize = 4096;

/// A descriptor for events.
pub struct Reporter {
    fd: OwnedFd,
    waiting: Vec<u8>,
    written: Duration,
    is_lost: bool,
}

impl Reporter {
    /// The program does not inherit the descriptor.
    ///
    /// # Errors
    /// The descriptor cannot be written to.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: a descriptor of this process.
        let access = unsafe {
            libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC);
            libc::fcntl(fd.as_raw_fd(), libc::F_GETFL)
        };
        if access < 0 {
            return Err(io::Error::last_os_error());
        }
        if access & libc::O_ACCMODE == libc::O_RDONLY {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self { fd, waiting: Vec::new(), written: Duration::ZERO, is_lost: false })
    }

    /// Keeps an event for the next write.
    pub fn tell(&mut self, event: &Event) {
        // (This fails only for maps whose keys are not strings, and for types that refuse to be serialised. No event has these.)
        let _ = serde_json::to_writer(&mut self.waiting, event);
        self.waiting.push(b'\n');
    }

    /// Writes the events as far as the reader takes them without blocking, if the last write was long ago or `urgent` is true.
    pub fn flush(&mut self, now: Duration, urgent: bool) {
        if self.waiting.is_empty() || !urgent && now < self.written + PERIOD {
            return;
        }
        self.written = now;
        while !self.waiting.is_empty() && self.poll(libc::POLLOUT, 0) & libc::POLLOUT != 0 {
            self.write();
        }
    }

    /// Writes all events. Blocks until the reader has taken them or is gone.
    pub fn finish(&mut self) {
        while !self.waiting.is_empty() && !self.is_lost {
            if self.poll(libc::POLLOUT, -1) & libc::POLLOUT != 0 {
                self.write();
            }
        }
    }

    /// Whether the reader is gone.
    pub fn is_lost(&mut self) -> bool {
        self.poll(0, 0);
        self.is_lost
    }

    fn write(&mut self) {
        let length = self.waiting.len().min(AT_ONCE);
        // SAFETY: the bytes are readable.
        match unsafe { libc::write(self.fd.as_raw_fd(), self.waiting.as_ptr().cast(), length) } {
            written @ 0.. => drop(self.waiting.drain(..written.unsigned_abs())),
            _ => match io::Error::last_os_error().kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {}
                _ => self.lose(),
            },
        }
    }

    fn poll(&mut self, events: i16, timeout: c_int) -> i16 {
        let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events, revents: 0 };
        // SAFETY: one structure.
        unsafe { libc::poll(&mut poll, 1, timeout) };
        if poll.revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 {
            self.lose();
            return 0;
        }
        poll.revents
    }

    fn lose(&mut self) {
        self.is_lost = true;
        self.waiting.clear();
    }
}

impl AsFd for Reporter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
