use std::ffi::CString;
use std::fs;
use std::path::Path;

use malloc_backend_launch::{
    Environment, Refusal, changed_entries, entries, environment, is_under_npx, look,
};
use malloc_backend_process::{self as process, Allocator, Executable};
use napi_derive::napi;

use crate::launch::variables;

/// What serves a process's `malloc`.
#[napi(object)]
pub struct Owner {
    /// `shim`, `foreign`, `libc` or `static`.
    pub kind: String,
    /// The allocator's name: a backend's for a shim, `glibc` or `musl`, or any other.
    pub allocator: Option<String>,
    pub version: Option<String>,
    pub path: String,
}

impl From<process::Owner> for Owner {
    fn from(owner: process::Owner) -> Self {
        let (kind, allocator) = match owner.kind {
            process::OwnerKind::StaticProgram => ("static", None),
            process::OwnerKind::Allocator(Allocator::Shim(backend)) => ("shim", Some(backend.to_string())),
            process::OwnerKind::Allocator(Allocator::Libc(name)) => ("libc", Some(name.to_owned())),
            process::OwnerKind::Allocator(Allocator::Foreign(name)) => ("foreign", Some(name)),
        };
        Self { kind: kind.to_owned(), allocator, version: owner.version, path: owner.path }
    }
}

/// Whose `malloc` this process runs on.
#[napi]
pub fn owner_here() -> Option<Owner> {
    process::owner_here().map(Owner::from)
}

/// An owner, or the code and the message of a refusal.
#[napi(object)]
#[derive(Default)]
pub struct OwnerOrRefusal {
    pub failure: Option<String>,
    pub message: Option<String>,
    pub owner: Option<Owner>,
}

/// Whose `malloc` another process runs on.
#[napi]
pub fn owner_of(pid: u32) -> OwnerOrRefusal {
    match look::owner(pid) {
        Ok(owner) => OwnerOrRefusal { owner: Some(owner.into()), ..OwnerOrRefusal::default() },
        Err(Refusal { code, message }) => OwnerOrRefusal {
            failure: Some(code.as_str().to_owned()),
            message: Some(message),
            ..OwnerOrRefusal::default()
        },
    }
}

/// What stands in a file that can be executed.
#[napi(object)]
pub struct Program {
    /// `elf`, `script`, `unknown` or `error`.
    pub kind: String,
    /// Of an ELF program its dynamic loader, of a script the program that reads it.
    pub interpreter: Option<String>,
    pub is_python: bool,
}

/// Looks into a program file.
#[napi]
pub fn inspect_program(path: String) -> Program {
    let (kind, interpreter, is_python) = match process::inspect(Path::new(&path)) {
        Err(_) => ("error", None, false),
        Ok(Executable::Unknown) => ("unknown", None, false),
        Ok(Executable::Script { interpreter, .. }) => ("script", Some(interpreter), false),
        Ok(Executable::Elf { interpreter, is_python, .. }) => ("elf", interpreter, is_python),
    };
    Program { kind: kind.to_owned(), interpreter, is_python }
}

/// Replaces this process's program. Returns only where that failed, with the reason. The arguments are as in
/// `/proc/self/cmdline`: bytes, each ended by a zero. The environment is this process's, but for what is other in that which
/// is given. Under npx the program gets SIGTERM when the parent ends.
#[napi]
pub fn replace_process(program: String, arguments: &[u8], environment: Option<Vec<String>>) -> String {
    let Ok(program) = CString::new(program) else { return "its name has a NUL in it".to_owned() };
    let arguments = arguments.split_inclusive(|byte| *byte == 0);
    let arguments: Vec<CString> =
        arguments.filter_map(|word| CString::from_vec_with_nul(word.into()).ok()).collect();
    let entries = match environment {
        None => all_entries(),
        Some(env) => changed_from(all_entries(), env),
    };
    let entries: Vec<CString> = entries.into_iter().filter_map(|entry| CString::new(entry).ok()).collect();
    process::replace_process(&program, &arguments, &entries, is_under_npx()).to_string()
}

/// What Node takes out of the environment when it starts: a child finds the channel to its parent by it.
const OF_NODE: [&[u8]; 3] = [b"NODE_CHANNEL_FD", b"NODE_CHANNEL_SERIALIZATION_MODE", b"NODE_UNIQUE_ID"];

/// The environment, what Node has taken included. (Without a /proc that is gone.)
fn all_entries() -> Vec<Vec<u8>> {
    let mut entries = entries();
    let started_with = fs::read("/proc/self/environ").unwrap_or_default();
    let taken = started_with.split(|byte| *byte == 0).filter(|entry| {
        OF_NODE.iter().any(|name| entry.strip_prefix(*name).is_some_and(|rest| rest.starts_with(b"=")))
    });
    entries.extend(taken.map(<[u8]>::to_vec));
    entries
}

/// The entries, changed to what JavaScript wants: it has seen them as UTF-8, and none that Node has taken or whose name is
/// no UTF-8. What looks the same to it stays, to the byte.
fn changed_from(entries: Vec<Vec<u8>>, wanted: Vec<String>) -> Vec<Vec<u8>> {
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

/// What decides, outside of a program, whether it can be switched.
#[napi(object)]
pub struct Host {
    pub machine: String,
    pub interpreter: Option<String>,
    pub page_size: f64,
    pub secure: bool,
    pub address_space: Option<f64>,
    pub data: Option<f64>,
}

/// Asks.
#[napi]
pub fn host() -> Host {
    let host = process::host();
    Host {
        machine: host.machine,
        interpreter: host.interpreter,
        page_size: host.page_size as f64,
        secure: host.secure,
        address_space: host.address_space.map(|bytes| bytes as f64),
        data: host.data.map(|bytes| bytes as f64),
    }
}
