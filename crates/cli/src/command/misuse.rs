//! What is wrong with the words, and what to do.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{Refusal, find_program};

use super::answer::misused;
use super::quoting::single_quoted;
use super::system::context;

/// The backend in `malloc-backend <command> <backend> -- <rest>`. `words` are all that were given.
pub fn backend(
    words: &[OsString],
    command: &str,
    name: &str,
    rest: &[OsString],
) -> Result<MemoryAllocatorBackend, Refusal> {
    let is_before_dashes =
        words.iter().take_while(|word| *word != "--").any(|word| word.as_os_str() == OsStr::new(name));
    match name.parse() {
        Ok(backend) if is_before_dashes => Ok(backend),
        Err(error) if is_before_dashes && !is_file(name) => Err(Refusal::from(error)),
        _ => {
            let program: Vec<_> = [&OsString::from(name)].into_iter().chain(rest).map(shown).collect();
            Err(misused(no_backend(command, &format!(" -- {}", program.join(" ")))))
        }
    }
}

/// Whether someone who names no backend means this: a program, or a script.
fn is_file(name: &str) -> bool {
    Path::new(name).exists() || find_program(OsStr::new(name), &context(), "").is_ok()
}

fn no_backend(command: &str, rest: &str) -> String {
    format!("the backend is missing; write: malloc-backend {command} jemalloc{rest}")
}

/// As a shell takes it.
fn shown(word: &OsString) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:,%+@=-".contains(byte);
    let bytes = word.as_encoded_bytes();
    match !bytes.is_empty() && bytes.iter().all(is_plain) {
        true => word.to_string_lossy().into_owned(),
        false => String::from_utf8_lossy(&single_quoted(bytes)).into_owned(),
    }
}

/// What is wrong where clap found something. In `run node --inspect app.js` that is not the option.
pub fn refusal(error: &clap::Error, command: Option<&str>, words: &[OsString]) -> Refusal {
    let no_backend = match (command, words.get(2..)) {
        (Some(command @ ("run" | "python")), Some([first, rest @ ..])) => {
            let first = first.to_str().filter(|first| !first.starts_with('-'));
            first.and_then(|first| backend(words, command, first, rest).err())
        }
        _ => None,
    };
    no_backend.unwrap_or_else(|| misused(explain(error, command, words)))
}

/// Whether a file names the backend, so that the first word may be the program's.
fn is_by_file(words: &[OsString]) -> bool {
    words.get(2).and_then(|word| word.to_str()).is_some_and(|word| word.starts_with("--config"))
}

/// In a line.
fn explain(error: &clap::Error, command: Option<&str>, words: &[OsString]) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let argument = text(ContextKind::InvalidArg);
    let suggested = |kind| Some(text(kind)).filter(|text| !text.is_empty());
    let help = match command {
        Some(command) => format!("malloc-backend {command} --help"),
        None => "malloc-backend --help".to_owned(),
    };
    let or_else = |suggestion: Option<String>, otherwise: String| match suggestion {
        Some(name) => format!(". Did you mean {name}?"),
        None => otherwise,
    };
    match error.kind() {
        ErrorKind::UnknownArgument if !argument.starts_with('-') => {
            format!("unexpected argument {argument:?}; see {help}")
        }
        ErrorKind::UnknownArgument => {
            let otherwise = match command {
                Some("run") if is_by_file(words) => format!("; the program comes after --. See {help}"),
                Some("run") => format!("; the program's own options come after its name. See {help}"),
                Some("python") => format!("; Python's own options come after --. See {help}"),
                _ => format!("; see {help}"),
            };
            let rest = or_else(suggested(ContextKind::SuggestedArg), otherwise);
            format!("unknown option {argument}{rest}")
        }
        ErrorKind::InvalidSubcommand => {
            let help = "; see malloc-backend --help".to_owned();
            let rest = or_else(suggested(ContextKind::SuggestedSubcommand), help);
            format!("unknown command {}{rest}", text(ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingRequiredArgument if argument == "<backend>" => match command {
            Some("run") => no_backend("run", " -- node server.js"),
            Some("python") => no_backend("python", " -- script.py"),
            other => no_backend(other.unwrap_or_default(), ""),
        },
        ErrorKind::MissingRequiredArgument => format!("{argument} is missing; see {help}"),
        ErrorKind::InvalidValue => format!("{argument} needs a value; see {help}"),
        ErrorKind::TooManyValues => format!("{argument} takes no value"),
        ErrorKind::InvalidUtf8 => {
            "an argument of malloc-backend is not UTF-8; only the program's name and arguments may be other bytes".to_owned()
        }
        _ => {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}
