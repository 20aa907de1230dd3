use std::ffi::OsString;

use clap::{Args, ValueHint};
use malloc_backend_launch::python::{
    OptionNames, PythonConfig, PythonSwitch, prepare_python, python_environment,
};
use malloc_backend_launch::{Refusal, Switched, changed_entries, entries, environment, variables};
use malloc_backend_python::Config;

use super::answer::{Answer, complain};
use super::arguments::{BACKENDS, PYTHON_BACKENDS, Settings};
use super::misuse::backend;
use super::system::{become_program, context, folder};

/// Run Python with its allocator domains on another memory allocator
#[derive(Args)]
#[command(
    override_usage = "malloc-backend python <backend> [options] [--] [what Python takes]",
    after_help = "\
Python replaces this process: it keeps the process id, the signals and the open files. It does not begin if the domains
cannot be set. Defaults: --preset balanced, --children inherit.

Exit status: Python's own; 2 wrong usage, 126 the domains cannot be set, 127 Python was not found.

Examples:
  malloc-backend python jemalloc -- script.py --its own arguments
  malloc-backend python mimalloc --mem --obj -- -m http.server
  malloc-backend python snmalloc --arena --report -- -c 'print(1)'"
)]
pub struct Python {
    /// jemalloc, mimalloc, snmalloc or rust; default leaves the domains to Python
    #[arg(value_name = "backend", value_parser = PYTHON_BACKENDS, hide_possible_values = true)]
    backend: String,
    /// Leave the raw domain to Python
    #[arg(long)]
    no_raw: bool,
    /// Put the mem domain on the backend
    #[arg(long)]
    mem: bool,
    /// Put the obj domain on the backend
    #[arg(long)]
    obj: bool,
    /// Put the arenas of pymalloc on the backend; not with --mem or --obj
    #[arg(long)]
    arena: bool,
    /// Turn Python's debug hooks on
    #[arg(long)]
    debug: bool,
    /// The interpreter
    #[arg(long, value_name = "path", default_value = "python3", value_hint = ValueHint::CommandName)]
    python: OsString,
    /// Switch the malloc of the whole process too; --preset and --set are then for it
    #[arg(long, value_name = "backend", value_parser = BACKENDS, hide_possible_values = true)]
    malloc: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Write a heap profile of Python to this file when Python ends; %p stands for the process id
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    profile: Option<OsString>,
    /// Remove PYTHONMALLOC and PYTHONDEVMODE from the environment instead of refusing them
    #[arg(long)]
    unset: bool,
    /// Print whose the domains are, as a line of JSON on standard error
    #[arg(long)]
    report: bool,
    /// What Python takes: a script, or its own options behind --
    #[arg(value_name = "arguments", trailing_var_arg = true, num_args = 0.., value_hint = ValueHint::FilePath)]
    arguments: Vec<OsString>,
}

/// Checks, and becomes Python.
pub fn main(asked: Python, words: &[OsString]) -> Answer {
    let Python { settings, arguments, python, .. } = &asked;
    let domains = Config {
        backend: backend(words, "python", &asked.backend, arguments)?,
        domains: [!asked.no_raw, asked.mem, asked.obj, asked.arena],
        debug: asked.debug,
        counters: false,
    };
    let config = PythonConfig { domains, unset: asked.unset, names: OptionNames::COMMAND };
    config.check()?;
    let malloc = asked.malloc.as_deref().map(str::parse).transpose().map_err(Refusal::from)?;
    let folder = folder();
    let entries = entries();
    let before = environment(&entries);
    let switch = PythonSwitch {
        malloc,
        preset: settings.preset()?,
        set: &settings.options()?,
        children: settings.children()?.unwrap_or_default(),
        profile: asked.profile.as_deref(),
        folder: &folder,
    };
    let Switched { variables: mut after, notice } = python_environment(&config, arguments, &switch, &before)?;
    if asked.report {
        after
            .insert(variables::PYTHON_REPORT.to_bytes().into(), libc::STDERR_FILENO.to_string().into_bytes());
    }
    let launch = prepare_python(malloc, &folder, python, arguments, &context())?;
    if let Some(notice) = notice {
        complain(&notice);
    }
    Err(become_program(&launch, changed_entries(entries, &before, &after)).into())
}
