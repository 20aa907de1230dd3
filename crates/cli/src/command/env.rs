use clap::Args;
use malloc_backend::nearest;
use malloc_backend_launch::{
    Code, Environment, Refusal, Switch, Switched, entries, environment, switched_environment, without_switch,
};

use super::answer::{Answer, Failure, complain, misused};
use super::arguments::{Choice, Chosen, OneOf};
use super::quoting::single_quoted;
use super::system::folder;

/// Print the variables that switch a program, where no wrapper is wanted
#[derive(Args)]
#[command(
    override_usage = "malloc-backend env <backend>|--config <file> [options]",
    after_help = "\
Formats:
  shell          export lines, for eval
  docker         ENV lines of a Dockerfile
  systemd        Environment= lines of a unit
  systemd-file   a file for EnvironmentFile=
  dotenv         a file for dotenv, node --env-file or env_file of Compose
  compose        environment of a service in Compose
  k8s            env of a container in Kubernetes
  json           an object

The variables cost the program nothing and prove nothing: check the program with `malloc-backend doctor --pid`.
Defaults: --preset balanced, --children inherit.

Exit status: 0 the variables are printed; 2 wrong usage, 126 no program can be switched so. Where the format is shell, a
failure prints false, for eval.

Examples:
  set=\"$(malloc-backend env jemalloc)\" && eval \"$set\" && exec node server.js
  malloc-backend env mimalloc --format docker
  malloc-backend env jemalloc --format systemd
  malloc-backend env jemalloc --format k8s
  malloc-backend env --config malloc-backend.json --format docker"
)]
pub struct Env {
    #[command(flatten)]
    choice: Choice,
    /// Choose who reads the variables: one of the formats below
    #[arg(
        long,
        value_name = "format",
        default_value = "shell",
        hide_possible_values = true,
        value_parser = OneOf(&["shell", "docker", "systemd", "systemd-file", "dotenv", "compose", "k8s", "json"])
    )]
    format: String,
}

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

/// `eval "$(…)" && …` does not see this command's status; it sees that of what is printed.
pub const FAILED: &[u8] = b"false\n";

/// Prints the variables that differ from those of now without a switch, and ends that one.
pub fn main(asked: &Env) -> Answer {
    let failure = |refusal| Failure { printed: FAILED.to_vec(), ..Failure::from(refusal) };
    let format = parse_format(&asked.format).map_err(failure)?;
    print(asked, format).map_err(|refusal| match format {
        Format::Shell => failure(refusal),
        _ => refusal.into(),
    })
}

fn print(Env { choice, .. }: &Env, format: Format) -> Result<Vec<u8>, Refusal> {
    let is_shell = format == Format::Shell;
    let here = environment(&entries());
    // A shell may be switched already; the other formats are for an environment that begins elsewhere, of which what this
    // shell has set is no part.
    let now = if is_shell { without_switch(&here) } else { Environment::new() };
    let folder = folder();
    let named = choice.backend.as_deref().map(str::parse).transpose()?;
    let Chosen { backend, preset, set, children } = choice.chosen(named, &folder)?;
    let switch = Switch { backend, preset, set: &set, children, probe: false, folder: &folder };
    let Switched { variables: then, notice } = switched_environment(&switch, &now)?;
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
        let known = FORMATS.map(|(name, _)| name);
        misused(match nearest(name, &known) {
            Some(meant) => format!("unknown format {name:?}. Did you mean {meant}?"),
            None => format!("unknown format {name:?}; it must be one of: {}", known.join(", ")),
        })
    })
}

fn shell(name: &[u8], value: &[u8]) -> Vec<u8> {
    [b"export ", name, b"=", &single_quoted(value), b"\n"].concat()
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
                    "dotenv has no form of {}={:?} that all its readers understand; use another format, for example json",
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
