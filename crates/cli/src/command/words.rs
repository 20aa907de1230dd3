//! The words behind `run`, `env` and `doctor`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{Children, Code, Environment, Refusal, Switch, Switched, switched_environment};

/// The options that `run` and `env` have.
pub const OPTIONS: &str = "  --preset <name>      what the allocator is tuned for: low-rss, balanced (the default), throughput, or none
                       for the allocator's own defaults
  --set <key=value>    one option of the allocator, over the preset; may be given again
  --children <which>   whether the programs that it starts are switched too: inherit (the default) or none
  --if-supported       where there is no switch, on macOS and Windows, go on without one and say so; here it changes nothing";

/// What was asked for, taken apart and not yet judged.
#[derive(Default)]
pub struct Words {
    backend: Option<String>,
    /// Options and their values.
    values: Vec<(String, String)>,
    /// Options without one.
    flags: Vec<String>,
    /// What begins behind `--`, or at the second word that is no option.
    pub rest: Vec<OsString>,
}

impl Words {
    /// Takes them apart. `known` are the options that have a value, and `flags` those that have none.
    pub fn parse(words: &[OsString], known: &[&str], flags: &[&str]) -> Result<Self, String> {
        let mut all = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if all.backend.is_some() && !word.as_encoded_bytes().starts_with(b"-") {
                // Which may be anything but text.
                all.rest = [word].into_iter().chain(words).cloned().collect();
                break;
            }
            let text = utf8(word)?;
            if text == "--" {
                all.rest = words.cloned().collect();
                break;
            }
            let Some(option) = text.strip_prefix('-') else {
                all.backend = Some(text.to_owned());
                continue;
            };
            let (name, inline) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option, None),
            };
            let name = name.strip_prefix('-').filter(|name| known.contains(name) || flags.contains(name));
            let name = name.ok_or_else(|| format!("there is no option {text:?}"))?;
            if flags.contains(&name) {
                if inline.is_some() {
                    return Err(format!("--{name} takes no value"));
                }
                all.flags.push(name.to_owned());
                continue;
            }
            let value = match inline {
                Some(value) => value,
                None => utf8(words.next().ok_or_else(|| format!("--{name} wants a value"))?)?,
            };
            all.values.push((name.to_owned(), value.to_owned()));
        }
        Ok(all)
    }

    /// An option's value. Of what can be said once, the last counts.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().rfind(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }

    /// Whether there is an option that has no value.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|each| each == flag)
    }

    /// A word that is no option, where none is wanted.
    pub fn unexpected(&self) -> Option<&OsStr> {
        self.backend.as_deref().map(OsStr::new).or(self.rest.first().map(OsString::as_os_str))
    }

    /// The backend.
    pub fn backend(&self, help: &str) -> Result<MemoryAllocatorBackend, Refusal> {
        let name = self.backend.as_deref().ok_or_else(|| misused("no backend was given", help))?;
        Ok(name.parse()?)
    }

    /// The environment that they ask for.
    pub fn switched(
        &self,
        backend: MemoryAllocatorBackend,
        probe: bool,
        folder: &Path,
        given: &Environment,
    ) -> Result<Switched, Refusal> {
        let set = self.values.iter().filter(|(name, _)| name == "set").map(|(_, value)| pair(value));
        let switch = Switch {
            backend,
            preset: self.value("preset").map(str::parse).transpose()?,
            set: &set.collect::<Result<Vec<_>, _>>()?,
            children: self.value("children").map_or(Ok(Children::default()), str::parse)?,
            probe,
            folder,
        };
        switched_environment(&switch, given)
    }
}

/// Nothing of ours is anything but text: what is not would be changed in silence.
fn utf8(word: &OsString) -> Result<&str, String> {
    word.to_str().ok_or_else(|| format!("{word:?} is not UTF-8"))
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
