//! What the tests of this crate share.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, io, process};

/// A folder that goes with the test. Not in `target`: another user is to get there.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("malloc-backend-process-{}-{number}", process::id()));
        fs::create_dir(&path).expect("a folder of its own");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("its owner may");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file that may be executed.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).expect("the folder may be written to");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("its owner may");
        path
    }

    /// Compiles the C program or library, or says why that did not work.
    pub fn compile(&self, name: &str, source: &str, flags: &[&str]) -> Result<PathBuf, String> {
        let code = self.path(&format!("{name}.c"));
        fs::write(&code, source).map_err(|error| error.to_string())?;
        let file = self.path(name);
        let compiler = Command::new("cc").arg("-o").arg(&file).arg(&code).args(flags).output();
        let output = compiler.map_err(|error| format!("cc: {error}"))?;
        match output.status.success() {
            true => Ok(file),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A file in memory: one on a disk takes its time where it is written anew thousands of times.
pub struct MemoryFile(OwnedFd);

impl MemoryFile {
    pub fn new() -> Self {
        // SAFETY: a C string; where it succeeds the descriptor is nobody else's.
        Self(unsafe {
            let fd = libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0, "{}", io::Error::last_os_error());
            OwnedFd::from_raw_fd(fd)
        })
    }

    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// A program that answers, as `cat` does: once it has, it is past its loader, and it stays until it is dropped.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.as_mut(), child.stdout.as_mut());
        let (input, output) = (input.expect("piped"), output.expect("piped"));
        input.write_all(b"?")?;
        input.flush()?;
        output.read_exact(&mut [0])?;
        Ok(Self(child))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its input ends, and with it the program.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A program in C that answers as `cat` does.
pub const ANSWERS: &str = "#include <unistd.h>\nint main(void) { char c; while (read(0, &c, 1) == 1) write(1, &c, 1); return 0; }\n";

pub fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Says in the test's output what is not tested here, and why.
pub fn skip(what: &str, why: impl std::fmt::Display) {
    eprintln!("skipped: {what}: {why}");
}
