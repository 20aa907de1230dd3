use std::ffi::OsString;

use clap::{Args, ValueHint};
use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{
    Refusal, Switch, Switched, changed_entries, entries, environment, prepare_launch, switched_environment,
    variables,
};

use super::answer::misused;
use super::answer::{Answer, complain};
use super::arguments::{Choice, Chosen};
use super::misuse::backend;
use super::system::{become_program, context, folder};

/// Run a program on another memory allocator
#[derive(Args)]
#[command(
    override_usage = "malloc-backend run <backend>|--config <file> [options] [--] <program> [arguments]",
    after_help = "\
The program replaces this process: it keeps the process id, the signals and the open files. It does not begin if the
allocator does not serve it. Defaults: --preset balanced, --children inherit.

Exit status: the program's own; 2 wrong usage, 126 the program cannot be switched, 127 it was not found.

Examples:
  malloc-backend run mimalloc -- node server.js
  malloc-backend run jemalloc --preset low-rss --set narenas=1 -- python3 app.py
  malloc-backend run --config malloc-backend.json -- node server.js
  malloc-backend run snmalloc --children none -- ./server --port 80"
)]
pub struct Run {
    #[command(flatten)]
    choice: Choice,
    /// The program and its arguments
    #[arg(
        value_name = "program",
        trailing_var_arg = true,
        num_args = 0..,
        value_hint = ValueHint::CommandWithArguments
    )]
    program: Vec<OsString>,
}

/// Checks, and becomes the program.
pub fn main(Run { choice, program }: Run, words: &[OsString]) -> Answer {
    let folder = folder();
    let (named, program) = split(&choice, program, words)?;
    let Chosen { backend, preset, set, children } = choice.chosen(named, &folder)?;
    let Some((command, arguments)) = program.split_first() else {
        return Err(misused(format!(
            "the program is missing; write: malloc-backend run {} -- node server.js",
            choice.config.map_or(backend.to_string(), |file| format!("--config {}", file.display()))
        ))
        .into());
    };
    let entries = entries();
    let before = environment(&entries);
    let switch = Switch { backend, preset, set: &set, children, probe: true, folder: &folder };
    let Switched { variables: mut after, notice } = switched_environment(&switch, &before)?;
    // Should the library find in the program that another malloc came first, the program does not begin.
    after.insert(variables::REQUIRE.to_bytes().into(), b"1".to_vec());
    let launch = prepare_launch(backend, &folder, command, arguments, &context())?;
    if let Some(notice) = notice {
        complain(&notice);
    }
    Err(become_program(&launch, changed_entries(entries, &before, &after)).into())
}

/// The backend, if the words name one, and the program. With `--config`, the first word that is no option is the program's.
fn split(
    choice: &Choice,
    rest: Vec<OsString>,
    words: &[OsString],
) -> Result<(Option<MemoryAllocatorBackend>, Vec<OsString>), Refusal> {
    match &choice.backend {
        None => Ok((None, rest)),
        Some(name) => match (backend(words, "run", name, &rest), &choice.config) {
            (Ok(backend), _) => Ok((Some(backend), rest)),
            (Err(_), Some(_)) => Ok((None, [OsString::from(name)].into_iter().chain(rest).collect())),
            (Err(refusal), None) => Err(refusal),
        },
    }
}
