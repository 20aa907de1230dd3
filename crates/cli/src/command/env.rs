use std::ffi::OsString;

use malloc_backend_launch::{Code, Environment, Refusal, Switched, entries, environment, without_switch};

use super::system::folder;
use super::words::{OPTIONS, Words, asks_for_help, misused};
use super::{Answer, Failure, complain};

fn help() -> String {
    format!(
        "Print what to set where no wrapper is wanted. It costs the program nothing, and proves nothing: see doctor --pid.

Usage: malloc-backend env <backend> [options]

Backend: default (the C library's), jemalloc, mimalloc or snmalloc

Options:
  --format <format>    {formats}
{OPTIONS}

Examples:
  set=\"$(malloc-backend env jemalloc)\" && eval \"$set\" && exec node server.js
  malloc-backend env mimalloc --format docker          # lines of a Dockerfile
  malloc-backend env jemalloc --format systemd         # lines of a [Service] section
  malloc-backend env jemalloc --format k8s             # of a container in a pod's spec",
        formats = ABOUT_FORMATS
    )
}

const ABOUT_FORMATS: &str =
    "shell (the default); docker: ENV of a Dockerfile; systemd: Environment= of a unit;
                       systemd-file: for EnvironmentFile=; dotenv: for dotenv, node --env-file or env_file of
                       Compose; compose: environment of a service; k8s: env of a container; json";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Shell,
    Docker,
    Systemd,
    SystemdFile,
    Dotenv,
    Compose,
    Kubernetes,
    Json,
}

const FORMATS: [(&str, Format); 8] = [
    ("shell", Format::Shell),
    ("docker", Format::Docker),
    ("systemd", Format::Systemd),
    ("systemd-file", Format::SystemdFile),
    ("dotenv", Format::Dotenv),
    ("compose", Format::Compose),
    ("k8s", Format::Kubernetes),
    ("json", Format::Json),
];

/// Prints the variables that differ from those of now without a switch, and ends that one.
pub fn main(words: &[OsString]) -> Answer {
    let own = words.split(|word| word == "--").next().unwrap_or_default();
    if own.iter().any(asks_for_help) {
        return Ok(format!("{}\n", help()).into_bytes());
    }
    // `eval "$(…)" && …` does not see this command's status; it sees that of what is printed.
    let failure = |refusal| Failure { printed: b"false\n".to_vec(), ..Failure::from(refusal) };
    let words = Words::parse(words, &["preset", "set", "children", "format"], &["if-supported"])
        .map_err(|problem| failure(misused(&problem, &help())))?;
    let format = parse_format(words.value("format").unwrap_or("shell")).map_err(failure)?;
    print(&words, format).map_err(|refusal| match format {
        Format::Shell => failure(refusal),
        _ => refusal.into(),
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
    let gone = here.keys().filter(|name| is_shell && !then.contains_key(*name));
    let lines =
        |line: fn(&[u8], &[u8]) -> Vec<u8>| changed.iter().map(|(name, value)| line(name, value)).collect();
    let printed: Vec<Vec<u8>> = match format {
        Format::Shell => {
            let set: Vec<Vec<u8>> = lines(shell);
            set.into_iter().chain(gone.map(|name| [b"unset ", &name[..], b"\n"].concat())).collect()
        }
        Format::Docker => lines(docker),
        Format::Systemd => lines(systemd),
        Format::SystemdFile => lines(systemd_file),
        Format::Dotenv => {
            changed.iter().map(|(name, value)| dotenv(name, value)).collect::<Result<_, _>>()?
        }
        Format::Compose => vec![compose(&texts(&changed)?)],
        Format::Kubernetes => vec![kubernetes(&texts(&changed)?)],
        Format::Json => vec![json(&texts(&changed)?)],
    };
    Ok(printed.concat())
}

fn parse_format(name: &str) -> Result<Format, Refusal> {
    FORMATS.into_iter().find(|(known, _)| *known == name).map(|(_, format)| format).ok_or_else(|| {
        let known = FORMATS.map(|(name, _)| name).join(", ");
        Refusal::new(Code::InvalidArgument, format!("unknown format {name:?}; it must be one of: {known}"))
    })
}

/// A shell takes everything in single quotes as it stands.
fn shell(name: &[u8], value: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = value.split(|byte| *byte == b'\'').collect();
    [b"export ", name, b"='", &parts.join(&br"'\''"[..]), b"'\n"].concat()
}

/// A Dockerfile's ENV expands $.
fn docker(name: &[u8], value: &[u8]) -> Vec<u8> {
    [b"ENV ", name, b"=", &quoted(value, b"\\\"$"), b"\n"].concat()
}

/// A unit file's Environment= expands specifiers, which begin with %.
fn systemd(name: &[u8], value: &[u8]) -> Vec<u8> {
    let pair = quoted(&[name, b"=", value].concat(), b"\\\"");
    [b"Environment=", &escaped(&pair, b"%", b'%')[..], b"\n"].concat()
}

/// An EnvironmentFile= is read as a shell would, but for expansions (systemd.exec(5)).
fn systemd_file(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b"=", &quoted(value, b"\\\"`$"), b"\n"].concat()
}

fn quoted(text: &[u8], special: &[u8]) -> Vec<u8> {
    [b"\"", &escaped(text, special, b'\\')[..], b"\""].concat()
}

/// The text with that byte before each that is special.
fn escaped(text: &[u8], special: &[u8], before: u8) -> Vec<u8> {
    text.iter()
        .flat_map(|&byte| special.contains(&byte).then_some(before).into_iter().chain([byte]))
        .collect()
}

/// Those who read such files, a shell among them, agree on what is plain and on what stands in single quotes, if none of them
/// is to put variables in. On anything else they differ.
fn dotenv(name: &[u8], value: &[u8]) -> Result<Vec<u8>, Refusal> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:,%+@=-".contains(byte);
    let is_quotable = |byte: &u8| byte.is_ascii_graphic() && !b"'\\$".contains(byte);
    let value = match value {
        plain if plain.iter().all(is_plain) => plain.to_vec(),
        quotable if quotable.iter().all(is_quotable) => [b"'", quotable, b"'"].concat(),
        _ => {
            return Err(Refusal::new(
                Code::InvalidArgument,
                format!(
                    "dotenv has no way to write {} as {:?} that all its readers understand; use another format, json \
                     for example",
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(value)
                ),
            ));
        }
    };
    Ok([name, b"=", &value, b"\n"].concat())
}

/// Compose puts variables in for $.
fn compose(variables: &[(&str, &str)]) -> Vec<u8> {
    let doubled = |value: &str| string(&value.replace('$', "$$"));
    let line = |(name, value): &(&str, &str)| format!("  {name}: {}\n", doubled(value));
    yaml("environment", "{}", variables.iter().map(line).collect())
}

/// Kubernetes puts variables in for $(name), and $ for $$.
fn kubernetes(variables: &[(&str, &str)]) -> Vec<u8> {
    let doubled = |value: &str| string(&value.replace('$', "$$"));
    let item = |(name, value): &(&str, &str)| format!("  - name: {name}\n    value: {}\n", doubled(value));
    yaml("env", "[]", variables.iter().map(item).collect())
}

fn yaml(key: &str, empty: &str, lines: String) -> Vec<u8> {
    if lines.is_empty() { format!("{key}: {empty}\n") } else { format!("{key}:\n{lines}") }.into_bytes()
}

fn json(variables: &[(&str, &str)]) -> Vec<u8> {
    let line = |(name, value): &(&str, &str)| format!("\n  {}: {}", string(name), string(value));
    let members: Vec<String> = variables.iter().map(line).collect();
    let end = if members.is_empty() { "" } else { "\n" };
    format!("{{{}{end}}}\n", members.join(",")).into_bytes()
}

/// In JSON, and so in YAML, of which JSON's strings are a part.
fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// JSON and YAML are text.
fn texts<'a>(variables: &[(&'a Vec<u8>, &'a Vec<u8>)]) -> Result<Vec<(&'a str, &'a str)>, Refusal> {
    let text = |bytes: &'a [u8]| {
        str::from_utf8(bytes).map_err(|_| {
            let message = format!("{:?} is not UTF-8; use the format shell", String::from_utf8_lossy(bytes));
            Refusal::new(Code::InvalidArgument, message)
        })
    };
    variables.iter().map(|(name, value)| Ok((text(name)?, text(value)?))).collect()
}
