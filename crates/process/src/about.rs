//! What the kernel tells of a process that decides whether its program can be switched, and which processes it started.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::elf::Elf;
use crate::host::Host;

/// The folder of `/proc` that tells of the process.
fn folder(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// The environment that the process was started with, in entries such as `name=value`. `None` where the process has
/// written a title over it (setproctitle).
///
/// # Errors
/// Where there is no such process, or it may not be looked into.
pub fn environment_of(pid: u32) -> io::Result<Option<Vec<Vec<u8>>>> {
    let bytes = fs::read(folder(pid).join("environ"))?;
    let entries = || bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let is_overwritten = bytes.first() == Some(&0) || entries().any(|entry| !entry.contains(&b'='));
    Ok((!is_overwritten).then(|| entries().map(<[u8]>::to_vec).collect()))
}

/// As [`crate::host`] has it for this process. Where the kernel does not tell, nothing stands in the way.
pub fn host_of(pid: u32) -> Host {
    let folder = folder(pid);
    let kind = Elf::open(&folder.join("exe")).ok().and_then(|elf| elf.kind());
    let limits = fs::read_to_string(folder.join("limits")).unwrap_or_default();
    let limit = |name: &str| {
        let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    Host {
        machine: kind.as_ref().map(|kind| kind.machine.clone()).unwrap_or_default(),
        interpreter: kind.and_then(|kind| kind.interpreter),
        // SAFETY: takes a constant.
        page_size: unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64,
        secure: auxiliary(&fs::read(folder.join("auxv")).unwrap_or_default(), libc::AT_SECURE) == Some(1),
        address_space: limit("Max address space"),
        data: limit("Max data size"),
    }
}

/// An entry of the auxiliary vector: pairs of words (getauxval(3)).
fn auxiliary(vector: &[u8], kind: u64) -> Option<u64> {
    let (words, _) = vector.as_chunks::<8>();
    let (pairs, _) = words.as_chunks::<2>();
    pairs
        .iter()
        .map(|pair| pair.map(u64::from_ne_bytes))
        .find(|[name, _]| *name == kind)
        .map(|[_, value]| value)
}

/// The program's file, as the process sees it.
///
/// # Errors
/// Where there is no such process, or it may not be looked into.
pub fn program_of(pid: u32) -> io::Result<PathBuf> {
    fs::read_link(folder(pid).join("exe"))
}

/// The version of the Node that the process is, "20.20.2" for example. `None` for what is none.
pub fn node_version(pid: u32) -> Option<String> {
    // The inspector's name for itself, which is in the program. To run a stranger's program for it would be a risk.
    const NAME: &[u8] = b"\0node.js/v";
    let elf = Elf::open(&folder(pid).join("exe")).ok()?;
    elf.defined(["napi_create_function"])?;
    let after = memmem::find(elf.bytes(), NAME)? + NAME.len();
    let version = elf.bytes()[after..].iter().take(64).take_while(|byte| !byte.is_ascii_control());
    let version: String = version.map(|byte| char::from(*byte)).collect();
    // (A build may have the next string right behind it.)
    let end = version.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(version.len());
    Some(version[..end].to_owned())
}

/// A process that another one started, and what started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its process id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
}

/// What the process started and what that started, each behind its parent. A kernel that hides processes hides them here.
///
/// # Errors
/// Where `/proc` cannot be read.
pub fn descendants(pid: u32) -> io::Result<Vec<Child>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile has no parent any more.
        if let Some(parent) = parent_of(child) {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![Child { pid, parent: 0 }];
    while let Some(next) = open.pop() {
        if next.pid != pid {
            found.push(next);
        }
        let mut own = children.remove(&next.pid).unwrap_or_default();
        own.sort_unstable_by(|one, other| other.cmp(one));
        open.extend(own.into_iter().map(|child| Child { pid: child, parent: next.pid }));
    }
    Ok(found)
}

/// The fourth field of `stat` (proc_pid_stat(5)); the second may have anything in it.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read(folder(pid).join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Why a process could not be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barrier {
    /// There is no such process.
    NoProcess,
    /// There is no `/proc` to look at.
    NoProc,
    /// There is one, and the process is not in it (the mount option `hidepid`).
    Hidden,
    /// It belongs to that user, and this process is none that may look at it.
    OfUser(u32),
    /// It belongs to this process's user and has more rights, or has forbidden to be looked into (PR_SET_DUMPABLE).
    Protected,
    /// None of these.
    Other,
}

/// Why a process could not be looked into, after the kernel refused to.
pub fn barrier(pid: u32) -> Barrier {
    if !Path::new("/proc/self").exists() {
        return Barrier::NoProc;
    }
    let Ok(status) = fs::read_to_string(folder(pid).join("status")) else {
        return if is_alive(pid) { Barrier::Hidden } else { Barrier::NoProcess };
    };
    // SAFETY: takes nothing and cannot fail.
    let own = unsafe { libc::geteuid() };
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let users: Vec<u32> = users.split_whitespace().filter_map(|user| user.parse().ok()).collect();
    match users.iter().find(|user| **user != own) {
        Some(user) => Barrier::OfUser(*user),
        None if fs::read_link(folder(pid).join("exe"))
            .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) =>
        {
            Barrier::Protected
        }
        None => Barrier::Other,
    }
}

fn is_alive(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 sends nothing.
    unsafe { libc::kill(pid, 0) == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM) }
}
