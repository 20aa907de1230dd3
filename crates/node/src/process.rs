use std::ffi::CString;
use std::path::Path;

use malloc_backend_launch::is_under_npx;
use malloc_backend_process::{self as process, Allocator, Caller, Executable, Privilege};
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

/// An owner, nothing, or the system's error number.
#[napi(object)]
pub struct OwnerOrError {
    pub owner: Option<Owner>,
    pub errno: Option<i32>,
}

/// Whose `malloc` another process runs on.
#[napi]
pub fn owner_of(pid: u32) -> OwnerOrError {
    match process::owner_of(pid) {
        Ok(owner) => OwnerOrError { owner: owner.map(Owner::from), errno: None },
        Err(error) => OwnerOrError { owner: None, errno: Some(error.raw_os_error().unwrap_or(libc_eio())) },
    }
}

/// What stands in a file that can be executed.
#[napi(object)]
pub struct Program {
    /// `elf`, `script`, `unknown`, or `error` with `errno`.
    pub kind: String,
    pub errno: Option<i32>,
    pub machine: Option<String>,
    pub bits: Option<u8>,
    pub interpreter: Option<String>,
    /// A script's: the rest of its first line.
    pub argument: Option<String>,
    pub defines_malloc: bool,
    pub is_python: bool,
    /// `setuid`, `setgid`, `capabilities` or `caller`.
    pub privilege: Option<String>,
}

/// Looks into a program file, which this process is to run, or a child of it as another user and group.
#[napi]
pub fn inspect_program(path: String, user: Option<u32>, group: Option<u32>) -> Program {
    let mut program = Program {
        kind: "unknown".to_owned(),
        errno: None,
        machine: None,
        bits: None,
        interpreter: None,
        argument: None,
        defines_malloc: false,
        is_python: false,
        privilege: None,
    };
    match process::inspect_for(Path::new(&path), Caller::this(user, group)) {
        Err(error) => {
            program.kind = "error".to_owned();
            program.errno = Some(error.raw_os_error().unwrap_or(libc_eio()));
        }
        Ok(Executable::Unknown) => {}
        Ok(Executable::Script { interpreter, argument }) => {
            program.kind = "script".to_owned();
            program.interpreter = Some(interpreter);
            program.argument = argument;
        }
        Ok(Executable::Elf { machine, bits, interpreter, defines_malloc, is_python, privilege }) => {
            program.kind = "elf".to_owned();
            program.machine = Some(machine);
            program.bits = Some(bits);
            program.interpreter = interpreter;
            program.defines_malloc = defines_malloc;
            program.is_python = is_python;
            program.privilege = privilege.map(|privilege| {
                match privilege {
                    Privilege::SetUserId => "setuid",
                    Privilege::SetGroupId => "setgid",
                    Privilege::Capabilities => "capabilities",
                    Privilege::Caller => "caller",
                }
                .to_owned()
            });
        }
    }
    program
}

/// EIO, for an error that did not come from the system.
pub fn libc_eio() -> i32 {
    5
}

/// Replaces this process's program. Returns only where that failed, with the system's error number. The
/// arguments and the environment are as in `/proc/self/cmdline` and `environ`: bytes, each ended by a zero. Under npx the
/// program gets SIGTERM when the parent ends.
#[napi]
pub fn replace_process(program: String, arguments: &[u8], environment: &[u8]) -> i32 {
    const EINVAL: i32 = 22;
    let Ok(program) = CString::new(program) else { return EINVAL };
    let strings = |bytes: &[u8]| -> Vec<CString> {
        bytes
            .split_inclusive(|byte| *byte == 0)
            .filter_map(|string| CString::from_vec_with_nul(string.into()).ok())
            .collect()
    };
    process::replace_process(&program, &strings(arguments), &strings(environment), is_under_npx())
        .raw_os_error()
        .unwrap_or(libc_eio())
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
