//! What this machine and this process are.

use std::path::Path;
use std::sync::OnceLock;

use crate::elf::Elf;

/// What decides, outside of the program, whether it can be switched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `e_machine` of this process's program: `x86_64`, `aarch64` …
    pub machine: String,
    /// The dynamic loader, and with it the C library: of this process's program or, where that is static or not to be
    /// seen, of the system's shell.
    pub interpreter: Option<String>,
    /// Bytes.
    pub page_size: u64,
    /// This process runs in secure-execution mode (`AT_SECURE`): nothing was preloaded into it.
    pub secure: bool,
    /// The limit on the address space (`RLIMIT_AS`) in bytes, if there is one.
    pub address_space: Option<u64>,
    /// The limit on what is writable and private in it (`RLIMIT_DATA`), likewise.
    pub data: Option<u64>,
}

/// Asks, once for what does not change.
pub fn host() -> Host {
    static PROGRAM: OnceLock<(String, Option<String>)> = OnceLock::new();
    let (machine, interpreter) = PROGRAM.get_or_init(|| {
        let kind_of = |file: &str| Elf::open(Path::new(file)).ok().and_then(|elf| elf.kind());
        let own = kind_of("/proc/self/exe");
        (
            own.as_ref().map_or_else(|| std::env::consts::ARCH.to_owned(), |kind| kind.machine.clone()),
            own.and_then(|kind| kind.interpreter).or_else(|| kind_of("/bin/sh")?.interpreter),
        )
    });
    Host {
        machine: machine.clone(),
        interpreter: interpreter.clone(),
        // SAFETY: takes a constant.
        page_size: unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64,
        // SAFETY: takes a constant.
        secure: unsafe { libc::getauxval(libc::AT_SECURE) } != 0,
        // SAFETY: a constant, and a structure to fill in.
        address_space: limit(|limit| unsafe { libc::getrlimit(libc::RLIMIT_AS, limit) }),
        // SAFETY: see above.
        data: limit(|limit| unsafe { libc::getrlimit(libc::RLIMIT_DATA, limit) }),
    }
}

/// The soft limit that the call fills in, if there is one.
fn limit(get: impl FnOnce(&mut libc::rlimit) -> libc::c_int) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    get(&mut limit);
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}
