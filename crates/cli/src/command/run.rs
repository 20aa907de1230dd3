use std::ffi::OsString;

use clap::{Args, ValueHint};
use malloc_backend_launch::{
    Switch, Switched, changed_entries, entries, environment, prepare_launch, switched_environment, variables,
};

use super::answer::misused;
use super::answer::{Answer, complain};
use super::arguments::{BACKENDS, Settings};
use super::misuse::backend;
use super::system::{become_program, context, folder};

/// Run a program on another memory allocator
#[derive(Args)]
#[command(
    override_usage = "malloc-backend run <backend> [options] [--] <program> [arguments]",
    after_help = "\
The program replaces this process: it keeps the process id, the signals and the open files. It does not begin if the
allocator does not serve it. Defaults: --preset balanced, --children inherit.

Exit status: the program's own; 2 wrong usage, 126 the program cannot be switched, 127 it was not found.

Examples:
  malloc-backend run mimalloc -- node server.js
  malloc-backend run jemalloc --preset low-rss --set narenas=1 -- python3 app.py
  malloc-backend run snmalloc --children none -- ./server --port 80"
)]
pub struct Run {
    /// jemalloc, mimalloc, snmalloc, or default for the C library's malloc
    #[arg(value_name = "backend", value_parser = BACKENDS, hide_possible_values = true)]
    backend: String,
    #[command(flatten)]
    settings: Settings,
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
pub fn main(Run { backend: name, settings, program }: Run, words: &[OsString]) -> Answer {
    let backend = backend(words, "run", &name, &program)?;
    let Some((command, arguments)) = program.split_first() else {
        return Err(misused(format!(
            "the program is missing; write: malloc-backend run {backend} -- node server.js"
        ))
        .into());
    };
    let folder = folder();
    let entries = entries();
    let before = environment(&entries);
    let switch = Switch {
        backend,
        preset: settings.preset()?,
        set: &settings.options()?,
        children: settings.children()?.unwrap_or_default(),
        probe: true,
        folder: &folder,
    };
    let Switched { variables: mut after, notice } = switched_environment(&switch, &before)?;
    // Should the library find in the program that another malloc came first, the program does not begin.
    after.insert(variables::REQUIRE.to_bytes().into(), b"1".to_vec());
    let launch = prepare_launch(backend, &folder, command, arguments, &context())?;
    if let Some(notice) = notice {
        complain(&notice);
    }
    Err(become_program(&launch, changed_entries(entries, &before, &after)).into())
}
