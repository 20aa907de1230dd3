use std::ffi::CString;
use std::path::Path;

use malloc_backend_launch::{Refusal, is_under_npx, look};
use malloc_backend_process::{self as process, Allocator, Executable};
use napi_derive::napi;

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

/// Replaces this process's program. Returns only where that failed, with the reason. The
/// arguments and the environment are as in `/proc/self/cmdline` and `environ`: bytes, each ended by a zero. Under npx the
/// program gets SIGTERM when the parent ends.
#[napi]
pub fn replace_process(program: String, arguments: &[u8], environment: &[u8]) -> String {
    let Ok(program) = CString::new(program) else { return "its name has a NUL in it".to_owned() };
    let strings = |bytes: &[u8]| -> Vec<CString> {
        bytes
            .split_inclusive(|byte| *byte == 0)
            .filter_map(|string| CString::from_vec_with_nul(string.into()).ok())
            .collect()
    };
    process::replace_process(&program, &strings(arguments), &strings(environment), is_under_npx()).to_string()
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
