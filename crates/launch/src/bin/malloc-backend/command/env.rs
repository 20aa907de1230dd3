use std::ffi::OsString;

use malloc_backend_launch::{Code, Environment, Refusal, Switched, without_switch};

use super::system::{entries, environment, folder};
use super::words::{OPTIONS, Words, asks_for_help, misused};
use super::{Answer, Failure, complain};

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
    // `eval "$(…)" && …` does not see this command's status; it sees that of what is printed.
    let failure = |refusal| Failure { refusal, printed: "false\n" };
    let words = Words::parse(words, &["preset", "set", "children", "format"])
        .map_err(|problem| failure(misused(&problem, &help())))?;
    let format = parse_format(words.value("format").unwrap_or("shell")).map_err(failure)?;
    print(&words, format).map_err(|refusal| match format {
        Format::Shell => failure(refusal),
        Format::Docker | Format::Systemd | Format::Json => refusal.into(),
    })
}

fn print(words: &Words, format: Format) -> Result<Vec<u8>, Refusal> {
    let backend = words.backend(&help())?;
    if let Some(unexpected) = words.rest.first() {
        return Err(misused(
            &format!("there is nothing to do with {}", unexpected.to_string_lossy()),
            &help(),
        ));
    }
    let is_shell = format == Format::Shell;
    let here = environment(&entries());
    // A shell may be switched already; the other formats are for an environment that begins elsewhere, of which what this
    // shell has set is no part.
    let now = if is_shell { without_switch(&here) } else { Environment::new() };
    let Switched { variables: then, notice } = words.switched(backend, false, &folder(), &now)?;
    if let Some(notice) = notice {
        complain(&notice);
    }
    let is_new = |(name, value): &(&Vec<u8>, &Vec<u8>)| {
        now.get(*name) != Some(value) || is_shell && here.get(*name) != Some(value)
    };
    let changed: Vec<_> = then.iter().filter(is_new).collect();
    if format == Format::Json {
        return Ok(json(&changed));
    }
    let set = changed.into_iter().map(|(name, value)| line(format, name, value));
    let gone = here.keys().filter(|name| is_shell && !then.contains_key(*name));
    Ok(set.chain(gone.map(|name| [b"unset ", &name[..], b"\n"].concat())).collect::<Vec<_>>().concat())
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
