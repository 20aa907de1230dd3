//! From the words to what is printed, or to what the process becomes.

mod arguments;
mod completions;
mod doctor;
mod env;
mod misuse;
mod path;
mod python;
mod run;
mod system;

use std::ffi::{OsString, c_char, c_int};

use clap::Parser;
use clap::error::ErrorKind;
use malloc_backend_launch::{Code, Refusal, strings};

use arguments::{Cli, Command};
use misuse::{misused, refusal};
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
    match Cli::try_parse_from(words) {
        Ok(Cli { command, .. }) => match command {
            Command::Run(asked) => run::main(asked, words),
            Command::Python(asked) => python::main(asked, words),
            Command::Env(asked) => env::main(&asked),
            Command::Doctor(asked) => doctor::main(&asked),
            Command::Path(asked) => path::main(&asked),
            Command::Completions(asked) => completions::main(&asked),
        },
        Err(error) => unparsed(&error, words),
    }
}

/// What there is to say if the words are none that a command takes: they ask for help, or are wrong.
fn unparsed(error: &clap::Error, words: &[OsString]) -> Answer {
    let command = words.get(1).and_then(|word| word.to_str()).filter(|word| !word.starts_with('-'));
    match error.kind() {
        ErrorKind::DisplayHelp => Ok(error.to_string().into_bytes()),
        ErrorKind::DisplayVersion => Ok(concat!(env!("CARGO_PKG_VERSION"), "\n").into()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(misused(format!("the command is missing\n\n{}", error.to_string().trim_end())).into())
        }
        _ => {
            let refusal = refusal(error, command, words);
            let printed = match command {
                Some("env") => env::FAILED.to_vec(),
                Some("doctor") if words.iter().any(|word| word == "--json") => doctor::error(&refusal),
                _ => Vec::new(),
            };
            Err(Failure { printed, ..refusal.into() })
        }
    }
}

/// 2 is wrong usage, as bash has it; 126 found and not run, and 127 not found, as a shell has it (POSIX, 2.8.2).
const fn status(code: Code) -> c_int {
    match code {
        Code::InvalidArgument
        | Code::UnknownBackend
        | Code::UnknownPreset
        | Code::UnknownOption
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

#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: the C library calls this with an array of strings that ends in null and stays while the process does.
    let words: Vec<OsString> = unsafe { strings(arguments) };
    match answer(&words) {
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
