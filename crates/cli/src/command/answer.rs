//! What a command comes to: text for standard output, or a failure with its exit status.

use std::ffi::c_int;

use malloc_backend_launch::{Code, Refusal};

use super::system::write;

/// What to say on standard output, if the command did not become another program.
pub type Answer = Result<Vec<u8>, Failure>;

/// Why the command failed. `printed` goes to standard output, `message` to standard error, unless it is empty.
pub struct Failure {
    pub status: c_int,
    pub message: String,
    pub printed: Vec<u8>,
}

impl From<Refusal> for Failure {
    fn from(Refusal { code, message }: Refusal) -> Self {
        Self { status: status(code), message, printed: Vec::new() }
    }
}

/// Wrong usage.
pub fn misused(problem: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidArgument, problem)
}

/// 2 is wrong usage, as bash has it; 126 found and not run, and 127 not found, as a shell has it (POSIX, 2.8.2).
const fn status(code: Code) -> c_int {
    match code {
        Code::InvalidArgument
        | Code::UnknownBackend
        | Code::UnknownPreset
        | Code::UnknownOption
        | Code::ConfigInvalid
        | Code::PythonConfig => 2,
        Code::ProgramNotFound => 127,
        Code::NotApplied | Code::ProcessNotFound | Code::ProcessAccess => 1,
        Code::BackendUnavailable
        | Code::ShimMissing
        | Code::PythonEnvironment
        | Code::ProgramNotExecutable
        | Code::CannotSwitch
        | Code::ForeignPreload
        | Code::ExecFailed => 126,
    }
}

pub fn complain(message: &str) {
    // There is nowhere else to say it.
    let _ = write(libc::STDERR_FILENO, format!("malloc-backend: {message}\n").as_bytes());
}
