//! What this machine and this process are.

use std::path::Path;

use crate::elf::Elf;

/// What decides, outside of the program, whether it can be switched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `e_machine` of this process's program: `x86_64`, `aarch64` …
    pub machine: String,
    /// The dynamic loader of this process's program, and with it the C library.
    pub interpreter: Option<String>,
    /// Bytes.
    pub page_size: u64,
    /// This process runs in secure-execution mode (`AT_SECURE`): nothing was preloaded into it.
    pub secure: bool,
    /// The limit on the address space (`RLIMIT_AS`) in bytes, if there is one.
    pub address_space: Option<u64>,
}

/// Asks.
pub fn host() -> Host {
    let kind = Elf::open(Path::new("/proc/self/exe")).ok().and_then(|elf| elf.kind());
    // SAFETY: each takes constants; `getrlimit` fills the structure in, and where it did not, that is zero,
    // which is not a limit that a running process has.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        let limited =
            libc::getrlimit(libc::RLIMIT_AS, &mut limit) == 0 && limit.rlim_cur != libc::RLIM_INFINITY;
        Host {
            machine: kind
                .as_ref()
                .map_or_else(|| std::env::consts::ARCH.to_owned(), |kind| kind.machine.clone()),
            interpreter: kind.and_then(|kind| kind.interpreter),
            page_size: libc::sysconf(libc::_SC_PAGESIZE) as u64,
            secure: libc::getauxval(libc::AT_SECURE) != 0,
            address_space: limited.then_some(limit.rlim_cur),
        }
    }
}
