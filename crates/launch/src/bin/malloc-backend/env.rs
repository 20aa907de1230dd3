use std::ffi::OsString;

use malloc_backend_launch::{Code, Environment, Refusal, Switch, switched_environment, without_switch};

use crate::system::{entries, environment, folder};
use crate::words::{OPTIONS, Words, asks_for_help, misused};
use crate::{Answer, Failure};

fn help() -> String {
    format!(
        "Print what to set where no wrapper is wanted. It costs the program nothing, and proves nothing: see doctor --pid.

Usage: malloc-backend env <backend> [options]

Backend: default (the C library's), jemalloc, mimalloc or snmalloc

Options:
  --format <format>    shell (the default), docker, systemd or json
{OPTIONS}

Examples:
  set=\"$(malloc-backend env jemalloc)\" && eval \"$set\" && exec node server.js
  malloc-backend env mimalloc --format docker     # lines of a Dockerfile
  malloc-backend env jemalloc --format systemd    # lines of a [Service] section"
    )
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Shell,
    Docker,
    Systemd,
    Json,
}

const FORMATS: [(&str, Format); 4] = [
    ("shell", Format::Shell),
    ("docker", Format::Docker),
    ("systemd", Format::Systemd),
    ("json", Format::Json),
];

/// Prints the variables that differ from those of now without a switch, and ends that one.
pub fn main(words: &[OsString]) -> Answer {
    let own = words.split(|word| word == "--").next().unwrap_or_default();
    if own.iter().any(asks_for_help) {
        return Ok(format!("{}\n", help()).into_bytes());
    }
    print(words).map_err(|refusal| {
        // `eval "$(…)" && …` does not see this command's status; it sees that of what is printed.
        let is_data = |word: &OsString| {
            let word = word.to_string_lossy();
            FORMATS[1..].iter().any(|(name, _)| *name == word.trim_start_matches("--format="))
        };
        Failure { refusal, printed: if words.iter().any(is_data) { "" } else { "false\n" } }
    })
}

fn print(words: &[OsString]) -> Result<Vec<u8>, Refusal> {
    let words = Words::parse(words, Some("format"), &help())?;
    if let Some(unexpected) = words.rest.first() {
        return Err(misused(
            &format!("there is nothing to do with {}", unexpected.to_string_lossy()),
            &help(),
        ));
    }
    let format = parse_format(words.own.as_deref().unwrap_or("shell"))?;
    let is_shell = format == Format::Shell;
    let here = environment(&entries());
    // A shell may be switched already; the other formats are for an environment that begins elsewhere, of which what this
    // shell has set is no part.
    let now = if is_shell { without_switch(&here) } else { Environment::new() };
    let folder = folder();
    let switch = Switch {
        backend: words.backend,
        preset: words.preset,
        set: &words.set,
        children: words.children,
        probe: false,
        folder: &folder,
    };
    let then = switched_environment(&switch, &now)?;
    let is_new = |(name, value): &(&Vec<u8>, &Vec<u8>)| {
        now.get(*name) != Some(value) || is_shell && here.get(*name) != Some(value)
    };
    let changed: Vec<_> = then.iter().filter(is_new).collect();
    let mut lines: Vec<Vec<u8>> = match format {
        Format::Json => return Ok(json(&changed)),
        _ => changed.into_iter().map(|(name, value)| line(format, name, value)).collect(),
    };
    if is_shell {
        let gone = here.keys().filter(|name| !then.contains_key(*name));
        lines.extend(gone.map(|name| [b"unset ", &name[..], b"\n"].concat()));
    }
    Ok(lines.concat())
}

fn parse_format(name: &str) -> Result<Format, Refusal> {
    FORMATS.into_iter().find(|(known, _)| *known == name).map(|(_, format)| format).ok_or_else(|| {
        let known = FORMATS.map(|(name, _)| name).join(", ");
        Refusal::new(Code::InvalidArgument, format!("unknown format {name:?}; it must be one of: {known}"))
    })
}

/// A shell takes everything in single quotes as it stands. A Dockerfile's ENV expands $, a unit file's Environment= its %
/// specifiers.
fn line(format: Format, name: &[u8], value: &[u8]) -> Vec<u8> {
    let quoted = |text: &[u8]| {
        [b"\"", &escaped(text, |byte| b"\\\"".contains(&byte).then_some(b'\\'))[..], b"\""].concat()
    };
    match format {
        Format::Docker => {
            let value = escaped(&quoted(value), |byte| (byte == b'$').then_some(b'\\'));
            [b"ENV ", name, b"=", &value, b"\n"].concat()
        }
        Format::Systemd => {
            let pair = quoted(&[name, b"=", value].concat());
            [b"Environment=", &escaped(&pair, |byte| (byte == b'%').then_some(b'%'))[..], b"\n"].concat()
        }
        Format::Shell | Format::Json => {
            let parts: Vec<&[u8]> = value.split(|byte| *byte == b'\'').collect();
            [b"export ", name, b"='", &parts.join(&br"'\''"[..]), b"'\n"].concat()
        }
    }
}

/// The text with that byte before each for which there is one.
fn escaped(text: &[u8], before: impl Fn(u8) -> Option<u8>) -> Vec<u8> {
    text.iter().flat_map(|&byte| before(byte).into_iter().chain([byte])).collect()
}

fn json(variables: &[(&Vec<u8>, &Vec<u8>)]) -> Vec<u8> {
    let string = |text: &[u8]| {
        let mut out = String::from("\"");
        for character in String::from_utf8_lossy(text).chars() {
            match character {
                '"' | '\\' => out.extend(['\\', character]),
                '\0'..='\x1f' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
                _ => out.push(character),
            }
        }
        out + "\""
    };
    let members: Vec<String> =
        variables.iter().map(|(name, value)| format!("\n  {}: {}", string(name), string(value))).collect();
    let end = if members.is_empty() { "" } else { "\n" };
    format!("{{{}{end}}}\n", members.join(",")).into_bytes()
}
