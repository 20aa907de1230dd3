//! What the process was started with, and what it becomes.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int};
use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use malloc_backend_launch::{
    BINARY_DIR, Code, Context, Environment, Launch, Refusal, absolute, is_under_npx,
};
use malloc_backend_process::execute;

/// The strings of an array that ends in null.
///
/// # Safety
/// It is one, of C strings.
pub unsafe fn strings(mut array: *const *const c_char) -> Vec<OsString> {
    let mut all = Vec::new();
    if array.is_null() {
        return all;
    }
    // SAFETY: the array goes on until a null.
    while let Some(string) = unsafe { array.read().as_ref() } {
        // SAFETY: the caller says that it is a C string.
        all.push(OsString::from_vec(unsafe { CStr::from_ptr(string) }.to_bytes().to_vec()));
        // SAFETY: this was not the last element.
        array = unsafe { array.add(1) };
    }
    all
}

/// Writes without the buffers of Rust's standard streams, which would be set up for one line.
pub fn write(fd: c_int, text: &[u8]) -> io::Result<()> {
    // SAFETY: never closed here, and where it is not open the write says so.
    let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    file.write_all(text)
}

/// The environment as it came, in entries such as `name=value`. There may be some without a name, and some twice.
pub fn entries() -> Vec<Vec<u8>> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library's own, which nobody changes: this process has one thread and sets nothing.
    unsafe { strings(environ) }.into_iter().map(OsString::into_vec).collect()
}

/// The variables in these entries. Of a name that is there twice the first counts.
pub fn environment(entries: &[Vec<u8>]) -> Environment {
    let pairs = entries.iter().rev().filter_map(|entry| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        Some((entry[..at].to_vec(), entry[at + 1..].to_vec()))
    });
    pairs.filter(|(name, _)| !name.is_empty()).collect()
}

/// The entries as they came, to the byte, but for what has changed since. A variable that switches stands there once: of a
/// name that is there twice the dynamic loader takes the last, and the C library the first.
pub fn changed_entries(entries: Vec<Vec<u8>>, before: &Environment, after: &Environment) -> Vec<Vec<u8>> {
    let same: BTreeSet<&[u8]> = after
        .iter()
        .filter(|(name, value)| before.get(*name) == Some(value))
        .map(|(name, _)| &name[..])
        .collect();
    let mut seen = BTreeSet::new();
    let is_kept = |entry: &Vec<u8>| match entry.iter().position(|byte| *byte == b'=') {
        None | Some(0) => true,
        Some(at) => {
            let name = &entry[..at];
            same.contains(name) && (!switches(name) || seen.insert(name.to_vec()))
        }
    };
    let new = after.iter().filter(|(name, _)| !same.contains(&name[..]));
    let new = new.map(|(name, value)| [&name[..], value].join(&b'='));
    entries.into_iter().filter(is_kept).chain(new).collect()
}

/// Whether the variable is one that the loader, a preloaded library or an allocator reads.
fn switches(name: &[u8]) -> bool {
    name == b"LD_PRELOAD" || name == b"GLIBC_TUNABLES" || name.starts_with(b"MALLOC_") || {
        let prefix = b"MIMALLOC_";
        name.len() > prefix.len() && name[..prefix.len()].eq_ignore_ascii_case(prefix)
    }
}

/// The folder of the preloadable libraries: the one that a user names, or this program's.
pub fn folder() -> PathBuf {
    match env::var_os(BINARY_DIR).filter(|folder| !folder.is_empty()) {
        Some(folder) => absolute(Path::new(&folder), &Context::default()),
        None => own_folder(),
    }
}

/// The folder of this program, whatever links lead to it. Without a /proc it is where the kernel was told it is.
pub fn own_folder() -> PathBuf {
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
    let file = c_string(launch.file.as_os_str().as_bytes().to_vec());
    let arguments: Vec<CString> =
        launch.arguments.iter().map(|word| c_string(word.as_bytes().to_vec())).collect();
    let entries: Vec<CString> = entries.into_iter().map(c_string).collect();
    let error = execute(&file, &arguments, &entries, is_under_npx());
    Refusal::new(Code::ExecFailed, format!("cannot start {}: {error}", launch.file.display()))
}

/// What came from the system has no zero in it.
fn c_string(bytes: Vec<u8>) -> CString {
    CString::new(bytes).unwrap_or_default()
}
