//! What stands in a program file that decides whether a preloaded library would serve it.

use std::ffi::CString;
use std::fs::{File, metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::elf::Elf;

/// A file that can be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executable {
    /// A program or library for the machine.
    Elf {
        /// `x86_64`, `aarch64` …
        machine: String,
        /// 32 or 64.
        bits: u8,
        /// The dynamic loader it asks for; `None` for a static program, into which nothing can be preloaded.
        interpreter: Option<String>,
        /// It brings a `malloc` of its own, which comes before any preloaded one.
        defines_malloc: bool,
        /// It is CPython: it exports the functions that set its allocators, or needs a library that does.
        is_python: bool,
        /// It runs with more rights than its caller, for which the loader drops what is preloaded.
        privilege: Option<Privilege>,
    },
    /// A script and its first line: the program that reads it and, all in one, its argument.
    Script {
        /// The path after `#!`.
        interpreter: String,
        /// The rest of the line, without white space at its ends.
        argument: Option<String>,
    },
    /// Neither.
    Unknown,
}

/// Why the kernel starts a program in secure-execution mode (ld.so(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// The set-user-ID bit, of another user than the one who would run it.
    SetUserId,
    /// The set-group-ID bit, of another group.
    SetGroupId,
    /// File capabilities, for a user who is not root.
    Capabilities,
    /// None of the file's: its caller's effective ids are others than the real ones.
    Caller,
}

/// Who is going to run a program: effective and real ids of user and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    user: u32,
    real_user: u32,
    group: u32,
    real_group: u32,
}

impl Caller {
    /// This process, once it has become the user and the group, where they are given (setuid(2), setgid(2)).
    pub fn this(user: Option<u32>, group: Option<u32>) -> Self {
        // SAFETY: they take nothing and cannot fail.
        let ids = unsafe { [libc::geteuid(), libc::getuid(), libc::getegid(), libc::getgid()] };
        let [effective_user, real_user, effective_group, real_group] = ids;
        Self {
            user: user.unwrap_or(effective_user),
            real_user: user.unwrap_or(real_user),
            group: group.unwrap_or(effective_group),
            real_group: group.unwrap_or(real_group),
        }
    }
}

/// The most of a first line that the kernel reads (BINPRM_BUF_SIZE).
const FIRST_LINE: u64 = 256;

/// Looks into the file, which this process is to run.
///
/// # Errors
/// Where it cannot be read.
pub fn inspect(path: &Path) -> io::Result<Executable> {
    inspect_for(path, Caller::this(None, None))
}

/// Looks into the file, which that caller is to run.
///
/// # Errors
/// Where it cannot be read.
pub fn inspect_for(path: &Path, caller: Caller) -> io::Result<Executable> {
    let mut start = Vec::new();
    File::open(path)?.take(FIRST_LINE).read_to_end(&mut start)?;
    if let Some(line) = start.strip_prefix(b"#!") {
        return Ok(script(line));
    }
    if !start.starts_with(b"\x7fELF") {
        return Ok(Executable::Unknown);
    }
    let elf = Elf::open(path)?;
    Ok(match elf.kind() {
        None => Executable::Unknown,
        Some(kind) => Executable::Elf {
            defines_malloc: elf.defined(["malloc"]).is_some(),
            is_python: is_python(&elf),
            machine: kind.machine,
            bits: kind.bits,
            interpreter: kind.interpreter,
            privilege: privilege(path, caller)?,
        },
    })
}

fn script(line: &[u8]) -> Executable {
    // The kernel takes it for a C string.
    let line = line.split(|byte| b"\n\0".contains(byte)).next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    // As binfmt_script of Linux: a carriage return is a part of what it follows.
    let line = line.trim_matches([' ', '\t']);
    let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    match interpreter {
        "" => Executable::Unknown,
        _ => Executable::Script {
            interpreter: interpreter.to_owned(),
            argument: Some(argument.trim_start().to_owned()).filter(|argument| !argument.is_empty()),
        },
    }
}

/// A shared library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// `x86_64`, `aarch64` …
    pub machine: String,
    /// 32 or 64.
    pub bits: u8,
    /// The names of the libraries that it needs; none where the end of the file is missing.
    pub needed: Vec<PathBuf>,
}

/// Looks into a library; `None` where the file is none.
///
/// # Errors
/// Where it cannot be read.
pub fn inspect_library(path: &Path) -> io::Result<Option<Library>> {
    let elf = Elf::open(path)?;
    let needed = || elf.dependencies().needed;
    Ok(elf.kind().map(|kind| Library { machine: kind.machine, bits: kind.bits, needed: needed() }))
}

fn is_python(elf: &Elf) -> bool {
    let is_libpython =
        |library: &PathBuf| library.file_name().is_some_and(|name| name.as_bytes().starts_with(b"libpython"));
    elf.defined(["PyMem_SetAllocator"]).is_some() || elf.dependencies().needed.iter().any(is_libpython)
}

/// Follows `bprm_fill_uid` and `cap_bprm_creds_from_file` of Linux, but for mounts with nosuid and for
/// no_new_privs, under which the bits are void: there it errs towards refusing.
fn privilege(path: &Path, caller: Caller) -> io::Result<Option<Privilege>> {
    let file = metadata(path)?;
    let mode = file.mode();
    if mode & libc::S_ISUID != 0 && file.uid() != caller.user {
        return Ok(Some(Privilege::SetUserId));
    }
    let group_id = libc::S_ISGID | libc::S_IXGRP;
    if mode & group_id == group_id && file.gid() != caller.group {
        return Ok(Some(Privilege::SetGroupId));
    }
    if caller.user != caller.real_user || caller.group != caller.real_group {
        return Ok(Some(Privilege::Caller));
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: C strings, and no room for the value: only whether there is one is asked.
    let size =
        unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) };
    Ok((size > 0 && caller.real_user != 0).then_some(Privilege::Capabilities))
}
