//! The words behind `run` and `env`.

use std::ffi::OsString;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{Children, Code, Preset, Refusal};

/// The options that both have.
pub const OPTIONS: &str = "  --preset <name>      what the allocator is tuned for: low-rss, balanced (the default), throughput, or none
                       for the allocator's own defaults
  --set <key=value>    one option of the allocator, over the preset; may be given again
  --children <which>   whether the programs that it starts are switched too: inherit (the default) or none";

/// What was asked for.
pub struct Words {
    pub backend: MemoryAllocatorBackend,
    pub preset: Preset,
    pub set: Vec<(String, String)>,
    pub children: Children,
    /// The command's own option.
    pub own: Option<String>,
    /// What begins behind `--`, or at the second word that is no option.
    pub rest: Vec<OsString>,
}

impl Words {
    /// Takes them apart. `own` is an option that this command alone has.
    pub fn parse(words: &[OsString], own: Option<&str>, help: &str) -> Result<Self, Refusal> {
        let mut values: Vec<(String, String)> = Vec::new();
        let mut backend = None;
        let mut words = words.iter();
        let rest = loop {
            let Some(word) = words.next() else { break Vec::new() };
            let text = word.to_string_lossy();
            if text == "--" {
                break words.cloned().collect();
            } else if let Some(option) = text.strip_prefix('-') {
                let (name, inline) = match option.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (option, None),
                };
                let name = name.strip_prefix('-').unwrap_or_default();
                if !["preset", "set", "children"].contains(&name) && own != Some(name) {
                    return Err(misused(&format!("there is no option {text:?}"), help));
                }
                let value = inline.or_else(|| Some(words.next()?.to_string_lossy().into_owned()));
                let value = value.ok_or_else(|| misused(&format!("--{name} wants a value"), help))?;
                values.push((name.to_owned(), value));
            } else if backend.is_none() {
                backend = Some(text);
            } else {
                break [word].into_iter().chain(words).cloned().collect();
            }
        };
        let backend = backend.ok_or_else(|| misused("no backend was given", help))?;
        Ok(Self {
            backend: backend.parse()?,
            preset: last(&values, "preset").map_or(Ok(Preset::default()), str::parse)?,
            children: last(&values, "children").map_or(Ok(Children::default()), str::parse)?,
            own: own.and_then(|own| last(&values, own)).map(str::to_owned),
            set: values
                .iter()
                .filter(|(name, _)| name == "set")
                .map(|(_, value)| pair(value))
                .collect::<Result<_, _>>()?,
            rest,
        })
    }
}

/// Of what can be said once, the last counts.
fn last<'a>(values: &'a [(String, String)], name: &str) -> Option<&'a str> {
    values.iter().rfind(|(each, _)| each == name).map(|(_, value)| value.as_str())
}

fn pair(text: &str) -> Result<(String, String), Refusal> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Refusal::new(Code::InvalidArgument, format!("--set wants key=value, not {text:?}"))),
    }
}

/// Wrong usage, with the right one.
pub fn misused(problem: &str, help: &str) -> Refusal {
    Refusal::new(Code::InvalidArgument, format!("{problem}\n\n{help}"))
}

/// Whether the word asks for help.
pub fn asks_for_help(word: &OsString) -> bool {
    word == "--help" || word == "-h"
}
