use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::Path;

use malloc_backend_launch::presets::has_presets;
use malloc_backend_launch::{Environment, changed_entries, entries, environment, is_under_npx, look};
use malloc_backend_process::{self as process, Allocator, Executable};
use napi_derive::napi;

use crate::backend::{Backend, Preset};
use crate::errors::{Result, error, refused};
use crate::launch::variables;

/// What the file is that serves a process's `malloc`.
///
/// - `shim`: a library of this package
/// - `foreign`: another allocator, or a program that exports a `malloc` of its own
/// - `libc`: the C library
/// - `static`: the program, which is statically linked and does not show its allocator
#[napi(string_enum = "lowercase")]
pub enum OwnerKind {
    Shim,
    Foreign,
    Libc,
    Static,
}

/// The file that serves a process's `malloc`.
#[napi(object)]
pub struct Owner {
    pub kind: OwnerKind,
    /// The allocator's name: the backend's name for a shim, `glibc`, `musl` or any other name.
    pub allocator: Option<String>,
    pub version: Option<String>,
    pub path: String,
}

impl From<process::Owner> for Owner {
    fn from(owner: process::Owner) -> Self {
        let (kind, allocator) = match owner.kind {
            process::OwnerKind::StaticProgram => (OwnerKind::Static, None),
            process::OwnerKind::Allocator(Allocator::Shim(backend)) => {
                (OwnerKind::Shim, Some(backend.to_string()))
            }
            process::OwnerKind::Allocator(Allocator::Libc(name)) => (OwnerKind::Libc, Some(name.to_owned())),
            process::OwnerKind::Allocator(Allocator::Foreign(name)) => (OwnerKind::Foreign, Some(name)),
        };
        Self { kind, allocator, version: owner.version, path: owner.path }
    }
}

/// The file that serves this process's `malloc`.
#[napi(namespace = "linux")]
pub fn owner_here() -> Option<Owner> {
    process::owner_here().map(Owner::from)
}

/// The file that serves another process's `malloc`.
#[napi(namespace = "linux")]
pub fn owner_of(pid: u32) -> Result<Owner> {
    look::owner(pid).map(Owner::from).map_err(refused)
}

/// The user of the process at the other end of a unix socket, which is given by its file descriptor. Nothing if there is none.
#[napi(namespace = "linux")]
pub fn peer_user(socket: i32) -> Option<u32> {
    if socket < 0 {
        return None;
    }
    // SAFETY: the descriptor is none that std reserves, and the call keeps nothing of it. If JavaScript closed it, the system
    // says so.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    process::peer_user(socket).ok()
}

/// How this process's allocator is set up.
#[napi(object)]
pub struct Setup {
    /// The preset whose options are in force. Missing if other options have replaced some of them.
    pub preset: Option<Preset>,
    /// The environment variables that gave options to the allocator.
    pub options: BTreeMap<String, String>,
}

/// How this process's allocator is set up, by the environment with which the process was started. Nothing if the process has
/// overwritten this environment.
#[napi(namespace = "linux")]
pub fn setup_here(allocator: String, backend: Option<Backend>) -> Option<Setup> {
    let started = process::environment_of(std::process::id()).ok().flatten()?;
    let env = environment(&started);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let options = look::options_in_force(&allocator, &env).into_iter();
    let preset = match backend.map(Into::into) {
        Some(backend) if has_presets(backend) => look::preset_in_force(backend, &env),
        _ => Some(malloc_backend_launch::Preset::None),
    };
    Some(Setup {
        preset: preset.map(Into::into),
        options: options.map(|(name, value)| (text(name), text(value))).collect(),
    })
}

/// The kind of an executable file.
#[napi(string_enum = "lowercase")]
pub enum ProgramKind {
    Elf,
    Script,
    Unknown,
    /// It cannot be read.
    Error,
}

/// Facts about an executable file.
#[napi(object)]
pub struct Program {
    pub kind: ProgramKind,
    /// For an ELF program, its dynamic loader. For a script, its interpreter.
    pub interpreter: Option<String>,
    pub is_python: bool,
}

/// Inspects an executable file.
#[napi(namespace = "linux")]
pub fn inspect_program(path: String) -> Program {
    let (kind, interpreter, is_python) = match process::inspect(Path::new(&path)) {
        Err(_) => (ProgramKind::Error, None, false),
        Ok(Executable::Unknown) => (ProgramKind::Unknown, None, false),
        Ok(Executable::Script { interpreter, .. }) => (ProgramKind::Script, Some(interpreter), false),
        Ok(Executable::Elf { interpreter, is_python, .. }) => (ProgramKind::Elf, interpreter, is_python),
    };
    Program { kind, interpreter, is_python }
}

/// Replaces this process's program. Returns only with an error. The arguments have the form of `/proc/self/cmdline`: bytes,
/// each argument ended by a zero. The environment is this process's, with the changes in `environment`. Under npx the
/// program gets SIGTERM when the parent ends.
#[napi(namespace = "linux", ts_return_type = "never")]
pub fn replace_process(
    program: String,
    args: &[u8],
    environment: Option<BTreeMap<String, String>>,
) -> Result<()> {
    let failed = |why: &str| error("ERR_EXEC_FAILED", format!("cannot start {program}: {why}"));
    let path = CString::new(program.as_str()).map_err(|_| failed("its name has a NUL in it"))?;
    let args = args.split_inclusive(|byte| *byte == 0);
    let args: Vec<CString> = args.filter_map(|word| CString::from_vec_with_nul(word.into()).ok()).collect();
    let entries = match environment {
        None => all_entries(),
        Some(env) => changed_from(all_entries(), env),
    };
    let entries: Vec<CString> = entries.into_iter().filter_map(|entry| CString::new(entry).ok()).collect();
    Err(failed(&process::replace_process(&path, &args, &entries, is_under_npx()).to_string()))
}

/// The variables that Node removes from the environment when it starts. A child finds the channel to its parent by them.
const OF_NODE: [&[u8]; 3] = [b"NODE_CHANNEL_FD", b"NODE_CHANNEL_SERIALIZATION_MODE", b"NODE_UNIQUE_ID"];

/// The environment, with the variables that Node has removed. (Without /proc these are lost.)
fn all_entries() -> Vec<Vec<u8>> {
    let mut entries = entries();
    let started_with = fs::read("/proc/self/environ").unwrap_or_default();
    let taken = started_with.split(|byte| *byte == 0).filter(|entry| {
        OF_NODE.iter().any(|name| entry.strip_prefix(*name).is_some_and(|rest| rest.starts_with(b"=")))
    });
    entries.extend(taken.map(<[u8]>::to_vec));
    entries
}

/// The entries with JavaScript's changes. JavaScript has seen them as UTF-8, without those that Node has removed and those
/// whose name is not UTF-8. An entry that looks the same to JavaScript stays as it is, byte for byte.
fn changed_from(entries: Vec<Vec<u8>>, wanted: BTreeMap<String, String>) -> Vec<Vec<u8>> {
    let before = environment(&entries);
    let wanted = variables(wanted);
    let is_kept = |name: &[u8], value: &[u8]| match wanted.get(name) {
        Some(wanted) => String::from_utf8_lossy(value).as_bytes() == wanted,
        None => OF_NODE.contains(&name) || str::from_utf8(name).is_err(),
    };
    let kept = before.iter().filter(|(name, value)| is_kept(name, value));
    let mut after: Environment = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, value) in wanted {
        after.entry(name).or_insert(value);
    }
    changed_entries(entries, &before, &after)
}
