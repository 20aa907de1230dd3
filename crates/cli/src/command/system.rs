//! What the process was started with, and what it becomes.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use malloc_backend_launch::{BINARY_DIR, Context, Launch, Refusal, absolute, is_under_npx};

/// Writes without the buffers of Rust's standard streams, which would be set up for one line.
pub fn write(fd: c_int, text: &[u8]) -> io::Result<()> {
    // SAFETY: never closed here, and where it is not open the write says so.
    let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    file.write_all(text)
}

/// The folder of the preloadable libraries: the one that a user names, or this program's.
pub fn folder() -> PathBuf {
    match env::var_os(BINARY_DIR).filter(|folder| !folder.is_empty()) {
        Some(folder) => absolute(Path::new(&folder), &Context::default()),
        None => own_folder(),
    }
}

/// Where a program of this command is searched: as in a shell of the caller.
pub fn context() -> Context {
    Context { search: env::var_os("PATH"), libraries: env::var_os("LD_LIBRARY_PATH"), ..Context::default() }
}

/// The folder of this program, whatever links lead to it. Without a /proc it is where the kernel was told it is.
fn own_folder() -> PathBuf {
    let file = env::current_exe().unwrap_or_else(|_| {
        // SAFETY: it takes a constant, and gives the address of a C string that stays, or 0.
        let name = unsafe {
            (libc::getauxval(libc::AT_EXECFN) as *const c_char).as_ref().map(|name| CStr::from_ptr(name))
        };
        let file =
            absolute(Path::new(OsStr::from_bytes(name.unwrap_or_default().to_bytes())), &Context::default());
        fs::canonicalize(&file).unwrap_or(file)
    });
    file.parent().unwrap_or(Path::new("/")).to_owned()
}

/// Becomes the program: same process, same open files. Returns only where that failed.
pub fn become_program(launch: &Launch, entries: Vec<Vec<u8>>) -> Refusal {
    launch.failed(&launch.execute(entries, is_under_npx()))
}
