use std::env::var_os;
use std::ffi::OsString;

use malloc_backend_launch::{
    Context, Switched, changed_entries, entries, environment, prepare_launch, variables,
};

use super::system::{become_program, folder};
use super::words::{OPTIONS, Words, asks_for_help, misused};
use super::{Answer, complain};

fn help() -> String {
    format!(
        "Become the command, on the backend: same process id, signals and open files; no process stays between.

Usage: malloc-backend run <backend> [options] [--] <command …>

Backend: default (the C library's, and proven so), jemalloc, mimalloc or snmalloc

Options:
{OPTIONS}

Exit status: the command's own; 2 wrong usage, 126 the command cannot be switched, 127 it was not found.

Examples:
  malloc-backend run mimalloc -- node server.js
  malloc-backend run jemalloc --preset low-rss --set narenas=1 -- python3 app.py
  malloc-backend run snmalloc --children none -- ./server --port 80"
    )
}

/// Checks, and becomes the command. (It has a --help of its own, which is not ours.)
pub fn main(words: &[OsString]) -> Answer {
    if words.first().is_some_and(asks_for_help) {
        return Ok(format!("{}\n", help()).into_bytes());
    }
    let words = Words::parse(words, &["preset", "set", "children"], &["if-supported"])
        .map_err(|problem| misused(&format!("{problem}; the command's own come after it"), &help()))?;
    let backend = words.backend(&help())?;
    let Some((command, arguments)) = words.rest.split_first() else {
        return Err(misused("no command was given", &help()).into());
    };
    let folder = folder();
    let entries = entries();
    let before = environment(&entries);
    let Switched { variables: mut after, notice } = words.switched(backend, true, &folder, &before)?;
    // Should the library find in the program that another malloc came first, the program does not begin.
    after.insert(variables::REQUIRE.to_bytes().into(), b"1".to_vec());
    let context =
        Context { search: var_os("PATH"), libraries: var_os("LD_LIBRARY_PATH"), ..Context::default() };
    let launch = prepare_launch(backend, &folder, command, arguments, &context)?;
    if let Some(notice) = notice {
        complain(&notice);
    }
    Err(become_program(&launch, changed_entries(entries, &before, &after)).into())
}
