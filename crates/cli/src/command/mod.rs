//! From the words to what is printed, or to what the process becomes.

mod doctor;
mod env;
mod node;
mod path;
mod run;
mod system;
mod words;

use std::ffi::{OsString, c_char, c_int};

use malloc_backend_launch::{Code, Refusal, strings};

use system::write;

/// What to say on standard output, if the command did not become another program.
type Answer = Result<Vec<u8>, Failure>;

/// Why there is none. What is printed even so goes to standard output, the message to standard error.
struct Failure {
    status: c_int,
    message: String,
    printed: Vec<u8>,
}

impl From<Refusal> for Failure {
    fn from(Refusal { code, message }: Refusal) -> Self {
        Self { status: status(code), message, printed: Vec::new() }
    }
}

fn answer(words: &[OsString]) -> Answer {
    match words.first().and_then(|word| word.to_str()) {
        Some("run") => run::main(&words[1..]),
        Some("env") => env::main(&words[1..]),
        Some("path") => path::main(&words[1..]),
        Some("doctor") => doctor::main(&words[1..]),
        _ => node::main(words),
    }
}

/// Of `run` and `env`. 2 is wrong usage, as bash has it; 126 found and not run, and 127 not found, as a shell has it (POSIX, 2.8.2).
const fn status(code: Code) -> c_int {
    match code {
        Code::InvalidArgument | Code::UnknownBackend | Code::UnknownPreset | Code::UnknownOption => 2,
        Code::ProgramNotFound => 127,
        Code::NotApplied | Code::ProcessNotFound | Code::ProcessAccess => 1,
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
        Ok(text) => match write(libc::STDOUT_FILENO, &text) {
            Ok(()) => 0,
            Err(error) => {
                complain(&format!("cannot write to standard output: {error}"));
                1
            }
        },
        Err(Failure { status, message, printed }) => {
            // (What cannot be written stops a shell as well.)
            let _ = write(libc::STDOUT_FILENO, &printed);
            complain(&message);
            status
        }
    }
}

fn complain(message: &str) {
    // There is nowhere else to say it.
    let _ = write(libc::STDERR_FILENO, format!("malloc-backend: {message}\n").as_bytes());
}
