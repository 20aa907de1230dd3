//! The command, as a program of its own: `run` and `env`, which are to cost a program's start next to nothing and want no
//! Node. For what else the command can do it starts Node.
//!
//! There is no runtime of Rust's own around `main`: that would ignore SIGPIPE, and the program inherits what is ignored.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![no_main]

mod env;
mod node;
mod run;
mod system;
mod words;

use std::ffi::{OsString, c_char, c_int};

use malloc_backend_launch::{Code, Refusal};

use crate::system::{descriptor, strings};

/// What to say on standard output, if the command did not become another program.
type Answer = Result<Vec<u8>, Failure>;

/// Why there is none. What is printed even so goes to standard output, the message to standard error.
struct Failure {
    refusal: Refusal,
    printed: &'static str,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, printed: "" }
    }
}

fn answer(words: &[OsString]) -> Answer {
    match words.first().and_then(|word| word.to_str()) {
        Some("run") => run::main(&words[1..]),
        Some("env") => env::main(&words[1..]),
        _ => node::main(words),
    }
}

/// 2 is wrong usage, as bash has it; 126 found and not run, and 127 not found, as a shell has it (POSIX, 2.8.2).
const fn status(code: Code) -> c_int {
    match code {
        Code::InvalidArgument | Code::UnknownBackend | Code::UnknownPreset | Code::UnknownOption => 2,
        Code::ProgramNotFound => 127,
        Code::BackendUnavailable
        | Code::ShimMissing
        | Code::ProgramNotExecutable
        | Code::CannotSwitch
        | Code::ForeignPreload
        | Code::ExecFailed => 126,
    }
}

#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: the C library calls this with an array of strings that ends in null and stays while the process does.
    let words: Vec<OsString> = unsafe { strings(arguments) };
    match answer(words.get(1..).unwrap_or_default()) {
        // A status that says so where the answer could not be written.
        Ok(text) => c_int::from(!descriptor::write(libc::STDOUT_FILENO, &text)),
        Err(Failure { refusal, printed }) => {
            descriptor::write(libc::STDOUT_FILENO, printed.as_bytes());
            descriptor::write(libc::STDERR_FILENO, format!("malloc-backend: {refusal}\n").as_bytes());
            status(refusal.code)
        }
    }
}
