//! What a process was to have preloaded, and has not.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::about::{environment_of, host_of};
use crate::owner::is_same;

/// An entry of LD_PRELOAD that the dynamic loader passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredPreload {
    /// The entry.
    pub entry: String,
    /// Why, where that shows.
    pub why: &'static str,
}

/// The entries of the LD_PRELOAD that the process was started with of which it has mapped no file. The loader says one
/// line of it at the most, and goes on (ld.so(8)).
pub fn ignored_preloads(pid: u32) -> Vec<IgnoredPreload> {
    let environment = environment_of(pid).ok().flatten().unwrap_or_default();
    let value = environment.iter().find_map(|entry| entry.strip_prefix(b"LD_PRELOAD=")).unwrap_or_default();
    let text = String::from_utf8_lossy(value).into_owned();
    let entries: Vec<_> = text.split([' ', ':']).filter(|entry| !entry.is_empty()).collect();
    if entries.is_empty() {
        return Vec::new();
    }
    let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    let files: Vec<&Path> = maps.split(|byte| *byte == b'\n').filter_map(mapped_file).collect();
    let root = format!("/proc/{pid}/root");
    let outside = |path: &Path| Path::new(&root).join(path.strip_prefix("/").unwrap_or(path));
    let is_mapped = |entry: &Path| {
        files.iter().any(|file| {
            let is_same = || is_same(&outside(entry), &outside(file)).unwrap_or(false);
            // A name is looked for in folders, and a link may lead to a file of another name.
            file.file_name() == entry.file_name() || entry.is_absolute() && is_same()
        })
    };
    let host = host_of(pid);
    let why = |entry: &Path| {
        if host.interpreter.is_none() {
            "the program is static"
        } else if host.secure {
            "the process was started with more rights than its caller (AT_SECURE)"
        } else if entry.is_absolute() && !outside(entry).exists() {
            "the file does not exist"
        } else {
            "the loader did not find it or could not load it"
        }
    };
    let ignored = entries.iter().map(Path::new).filter(|entry| !is_mapped(entry));
    ignored
        .map(|entry| IgnoredPreload { entry: entry.to_string_lossy().into_owned(), why: why(entry) })
        .collect()
}

/// The file in a line of `maps` (proc_pid_maps(5)).
fn mapped_file(line: &[u8]) -> Option<&Path> {
    let name = line.splitn(6, |byte| *byte == b' ').nth(5)?.trim_ascii_start();
    name.starts_with(b"/").then(|| Path::new(std::ffi::OsStr::from_bytes(name)))
}
