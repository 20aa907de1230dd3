//! From the words to what is printed, or to what the process becomes.

mod answer;
mod arguments;
mod compare;
mod completions;
mod doctor;
mod env;
mod fleet;
mod measure;
mod misuse;
mod node;
mod path;
mod profile;
mod python;
mod quoting;
mod run;
mod runs;
mod service;
mod system;
mod tune;

use std::ffi::{OsString, c_char, c_int};

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use malloc_backend_launch::strings;

use answer::{Answer, Failure, complain, misused};
use misuse::refusal;
use system::write;

/// Choose the memory allocator of a program, with proof that it took effect.
#[derive(Parser)]
#[command(
    name = "malloc-backend",
    bin_name = "malloc-backend",
    version,
    disable_version_flag = true,
    args_override_self = true,
    override_usage = "malloc-backend <command> …",
    subcommand_value_name = "command",
    arg_required_else_help = true,
    after_help = "\
Examples:
  malloc-backend run mimalloc -- node server.js
  malloc-backend run jemalloc --preset low-rss -- python3 app.py
  malloc-backend python jemalloc --mem --obj -- script.py
  malloc-backend env jemalloc --format docker
  malloc-backend doctor --pid 4711
  malloc-backend compare -- node build.js
  malloc-backend profile --pid 4711 --html heap.html

Run `malloc-backend <command> --help` for the options of a command."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the version
    #[arg(short = 'v', visible_short_alias = 'V', long, action = ArgAction::Version)]
    version: (),
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Python(python::Python),
    Env(env::Env),
    Doctor(doctor::Doctor),
    Measure(measure::Measure),
    Compare(Box<compare::Compare>),
    Tune(Box<tune::Tune>),
    Profile(profile::Profile),
    Path(path::Path),
    Completions(completions::Completions),
}

fn answer(words: &[OsString]) -> Answer {
    match Cli::try_parse_from(words) {
        Ok(Cli { command, .. }) => match command {
            Command::Run(asked) => run::main(asked, words),
            Command::Python(asked) => python::main(asked, words),
            Command::Env(asked) => env::main(&asked),
            Command::Doctor(asked) => doctor::main(&asked),
            Command::Measure(asked) => measure::main(asked, words),
            Command::Compare(asked) => compare::main(*asked),
            Command::Tune(asked) => tune::main(*asked),
            Command::Profile(asked) => profile::main(&asked),
            Command::Path(asked) => path::main(&asked),
            Command::Completions(asked) => completions::main(&asked, &Cli::command()),
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
            if !message.is_empty() {
                complain(&message);
            }
            status
        }
    }
}
