//! The report of a preloaded library to whoever started the program (crates/malloc-shim/src/startup.rs).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use malloc_backend::variables::REPORT;
use serde::Deserialize;

use crate::Environment;

/// What the library says before the program's `main`: it is the proof if `applied` is true.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Report {
    /// The process that reports.
    pub pid: u32,
    /// The backend of the library.
    pub backend: String,
    /// The version of the backend; empty if the backend does not tell.
    pub version: String,
    /// The library's file.
    pub library: String,
    /// The file whose `malloc` the process uses.
    pub owner: String,
    /// Whether that `malloc` is the backend's.
    pub applied: bool,
}

impl Report {
    /// The first report in a text; `None` if no line is complete.
    pub fn first(text: &str) -> Option<Self> {
        serde_json::from_str(text.split_inclusive('\n').next()?.strip_suffix('\n')?).ok()
    }
}

/// A pipe for the report. Programs inherit its writing end.
#[derive(Debug)]
pub struct ReportPipe {
    /// The launcher reads here.
    pub reader: OwnedFd,
    /// The launcher closes this end after it has started the program.
    pub writer: OwnedFd,
}

impl ReportPipe {
    /// Makes the pipe, and tells the library of it in the environment of the program. Other programs that this process starts
    /// before the writing end is closed inherit that end too.
    ///
    /// # Errors
    /// The system's.
    pub fn announce(env: &mut Environment) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let writer = File::from(OwnedFd::from(writer));
        let fd = writer.as_raw_fd();
        // SAFETY: a descriptor of this process.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // The library recognises the pipe by these (crates/preload/src/descriptor.rs).
        let about = writer.metadata()?;
        let value = format!("{fd}:{}:{}", about.dev(), about.ino());
        env.insert(REPORT.to_bytes().into(), value.into_bytes());
        Ok(Self { reader: reader.into(), writer: writer.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"pid":7,"backend":"mimalloc","version":"2.3.2","library":"/a.so","owner":"/a.so","applied":true}"#;

    #[test]
    fn the_first_complete_line_counts() {
        assert_eq!(Report::first(LINE), None);
        assert_eq!(Report::first(&LINE[..20]), None);
        let report = Report::first(&format!("{LINE}\n{}", LINE.replace('7', "8"))).unwrap();
        assert_eq!((report.pid, &report.backend[..], report.applied), (7, "mimalloc", true));
        assert_eq!(Report::first(&format!("no report\n{LINE}\n")), None);
    }
}
