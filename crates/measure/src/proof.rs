//! The proof that the program runs on the backend.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::Report;

use crate::clock::cpu_of;

/// A program that has not proved its backend yet.
pub struct Proving<'a> {
    /// The program's process id.
    pub pid: i32,
    /// The backend to prove.
    pub backend: MemoryAllocatorBackend,
    /// The library that reports.
    pub library: &'a Path,
    reader: File,
    text: String,
    is_closed: bool,
    cpu: Duration,
    asleep: u32,
}

/// The time between two looks at a program that does not report.
pub const LOOK: Duration = Duration::from_secs(1);

/// The number of looks in a row at which the program may sleep, and the seconds of CPU time that it may use, before its report.
const PATIENCE: u32 = 10;

/// The state of the proof.
pub enum Verdict {
    /// No report yet.
    Open,
    /// The program runs on the backend.
    Proved(Report),
    /// No report will come.
    Missing,
    /// The program does not run on the backend, for this reason.
    Failed(String),
}

impl<'a> Proving<'a> {
    /// # Errors
    /// The system's.
    pub fn new(
        reader: OwnedFd,
        pid: i32,
        backend: MemoryAllocatorBackend,
        library: &'a Path,
    ) -> io::Result<Self> {
        // SAFETY: a descriptor of this process, of which nobody else has the reading end.
        if unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let (reader, text, cpu) = (reader.into(), String::new(), Duration::ZERO);
        Ok(Self { pid, backend, library, reader, text, is_closed: false, cpu, asleep: 0 })
    }

    /// Reads the report. A program that has ended sends none any more.
    pub fn read(&mut self, has_ended: bool) -> Verdict {
        let mut bytes = Vec::new();
        self.is_closed = self.reader.read_to_end(&mut bytes).is_ok();
        self.text.push_str(&String::from_utf8_lossy(&bytes));
        let Some(report) = Report::first(&self.text) else {
            // A program that ends closes its files first. The reason of its end is known a moment later.
            return if has_ended { Verdict::Missing } else { Verdict::Open };
        };
        if i64::from(report.pid) != i64::from(self.pid) {
            Verdict::Failed(format!(
                "the report is from process {}, which the program started; the loader ignored the library in the program \
                 itself",
                report.pid
            ))
        } else if report.applied && report.backend == self.backend.as_str() {
            Verdict::Proved(report)
        } else {
            Verdict::Failed(format!("it uses the malloc of {}", report.owner))
        }
    }

    /// Whether the program, and all that inherited its end of the pipe, have closed it.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Looks at the program itself. Call this function each [`LOOK`] until the report comes.
    pub fn look(&mut self) -> Verdict {
        if self.is_closed {
            return Verdict::Missing;
        }
        if is_ignored(self.pid, self.library) {
            return Verdict::Failed(
                "the dynamic loader ignored the library; check that the child's user can read the library and all folders \
                 above it"
                    .to_owned(),
            );
        }
        let cpu = cpu_of(self.pid).unwrap_or_default();
        self.asleep = if cpu == self.cpu && is_asleep(self.pid) { self.asleep + 1 } else { 0 };
        self.cpu = cpu;
        let what = if self.asleep >= PATIENCE {
            format!("the program has slept for {} s", self.asleep)
        } else if cpu.as_secs() >= u64::from(PATIENCE) {
            format!("the program has used {} s of CPU time", cpu.as_secs())
        } else {
            return Verdict::Open;
        };
        Verdict::Failed(format!(
            "the library has not reported, and {what} before its main; two preloaded libraries may wait for each other, so try \
             without the other libraries"
        ))
    }
}

impl AsFd for Proving<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

fn is_asleep(pid: i32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    String::from_utf8_lossy(&stat).rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
}

/// Whether glibc's loader ignored the library. The loader maps preloaded libraries before the C library.
fn is_ignored(pid: i32, library: &Path) -> bool {
    let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    let maps = String::from_utf8_lossy(&maps);
    let library = library.file_name().unwrap_or_default().to_string_lossy();
    // (A library whose code may not be executed is mapped, too.)
    let is_loaded = maps.lines().any(|line| {
        line.contains(" r-xp ") && line.rsplit_once('/').is_some_and(|(_, name)| name == library)
    });
    let is_libc = |line: &str| {
        let name = line.rsplit_once('/').map_or("", |(_, name)| name);
        name == "libc.so.6" || name.starts_with("libc-2.") && name.ends_with(".so")
    };
    maps.lines().any(is_libc) && !is_loaded
}
