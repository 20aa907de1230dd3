//! The preloadable libraries, as files.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, mem};

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend::files::shim_name;
use malloc_backend_process::{host, inspect_library, is_musl_libc};

/// The variable that names the folder of the binaries, where it is not the platform's package.
pub const BINARY_DIR: &str = "MALLOC_BACKEND_BINARY_DIR";

/// The file of the preloadable library; for `default` that of its probe.
pub fn shim_file(folder: &Path, backend: MemoryAllocatorBackend) -> PathBuf {
    folder.join(shim_name(backend))
}

/// Why the loader cannot be pointed at a file, if it cannot: it takes white space and colons for separators.
pub fn why_not_preloadable(file: &Path) -> Option<String> {
    let bytes = file.as_os_str().as_bytes();
    bytes.iter().any(|byte| byte.is_ascii_whitespace() || b":$".contains(byte)).then(|| {
        format!(
            "LD_PRELOAD cannot name {:?}: the dynamic loader splits LD_PRELOAD at white space and colons, and replaces \
             $; install the package at a path without these characters, or copy its folder to such a path and name the \
             copy in {BINARY_DIR}",
            file.to_string_lossy()
        )
    })
}

/// Why the loader would go on without a library, if it would: it says so on standard error, and starts the program.
pub fn why_not_usable(file: &Path) -> Option<String> {
    let why = match fs::metadata(file) {
        Err(_) => Some("does not exist".to_owned()),
        Ok(metadata) if !metadata.is_file() => Some("is not a file".to_owned()),
        Ok(_) => match inspect_library(file) {
            Err(error) => Some(format!("cannot be read: {error}")),
            Ok(None) => Some("is not a library".to_owned()),
            Ok(Some(library)) if library.machine != host().machine || library.bits != 64 => {
                Some(format!("is built for {} ({} bits)", library.machine, library.bits))
            }
            Ok(Some(library)) if library.needed.is_empty() => Some("is truncated".to_owned()),
            Ok(Some(_)) => {
                is_on_noexec(file).then(|| "is on a file system that is mounted with noexec".to_owned())
            }
        },
    };
    why.map(|why| format!("the preloadable library {} {why}", file.display()))
}

fn is_on_noexec(file: &Path) -> bool {
    let Ok(path) = CString::new(file.as_os_str().as_bytes()) else { return false };
    // SAFETY: a structure of numbers, for which all zero bits are a value.
    let mut about: libc::statvfs = unsafe { mem::zeroed() };
    // SAFETY: a C string, and a structure to fill in.
    let asked = unsafe { libc::statvfs(path.as_ptr(), &mut about) };
    asked == 0 && about.f_flag & libc::ST_NOEXEC != 0
}

/// Whether a preloadable library is for musl.
pub fn is_for_musl(shim: &Path) -> bool {
    matches!(inspect_library(shim), Ok(Some(library)) if library.needed.iter().any(|name| is_musl_libc(name)))
}
