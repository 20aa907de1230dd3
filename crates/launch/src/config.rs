//! The configuration file, `malloc-backend.json`: the backend and its options that a team decided on, and the measurement
//! behind the decision. `src/process/config.schema.json` is its JSON Schema.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroU64;
use std::path::Path;
use std::str::FromStr;
use std::{fs, io};

use malloc_backend::MemoryAllocatorBackend;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::environment::{Children, is_musl, why_not_process};
use crate::options::option_variables;
use crate::{Code, Environment, Preset, Refusal};

/// What a configuration file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// The backend, which this installation has.
    pub backend: MemoryAllocatorBackend,
    /// The preset, if the file names one.
    pub preset: Option<Preset>,
    /// Single options, over the preset.
    pub set: Vec<(String, String)>,
    /// Whether the programs that the program starts are switched too, if the file says so.
    pub children: Option<Children>,
}

impl ConfigFile {
    /// Reads a configuration file. `folder` is the folder of the preloadable libraries.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`], with the line: the file cannot be read, has an unknown key or a value of the wrong type, or names
    /// a backend or an option that is not there.
    pub fn read(file: &Path, folder: &Path) -> Result<Self, Refusal> {
        let refuse = |line: usize, why: &dyn Display| {
            Refusal::new(Code::ConfigInvalid, format!("{}:{line}: {why}", file.display()))
        };
        let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
        let read: File = serde_json::from_str(&text).map_err(|error| {
            let said = error.to_string();
            let position = format!(" at line {} column {}", error.line(), error.column());
            refuse(error.line(), &said.strip_suffix(&position).unwrap_or(&said))
        })?;
        let at = |key: &str, why: &dyn Display| refuse(line_of(&text, key), why);
        let File { backend, preset, set, children, .. } = read;
        let backend: MemoryAllocatorBackend = backend.parse().map_err(|why| at("backend", &why))?;
        if let Some(why) = why_not_process(backend, folder) {
            return Err(at("backend", &format_args!("{backend} is not there: {why}")));
        }
        let preset = named::<Preset>(preset.as_deref()).map_err(|why| at("preset", &why))?;
        let children = named(children.as_deref()).map_err(|why| at("children", &why))?;
        let check =
            |set: &[(String, String)]| option_variables(backend, preset, set, &Environment::new(), is_musl());
        check(&[]).map_err(|why| at("preset", &why))?;
        let mut checked = Vec::new();
        for (key, value) in set {
            let line = line_of(&text, &key);
            let one = [(key, scalar(value).map_err(|why| refuse(line, &why))?)];
            check(&one).map_err(|why| refuse(line, &why))?;
            checked.extend(one);
        }
        Ok(Self { backend, preset, set: checked, children })
    }
}

fn named<T: FromStr>(name: Option<&str>) -> Result<Option<T>, T::Err> {
    name.map(str::parse).transpose()
}

/// An option's value, as the text that an allocator reads.
fn scalar(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(format!("the value must be a string, a number or a boolean, not {other}")),
    }
}

fn unreadable(file: &Path, error: &io::Error) -> Refusal {
    let message = format!("cannot read the configuration {}: {error}", file.display());
    Refusal::new(Code::ConfigInvalid, message)
}

/// The line of a key, from 1. serde knows the line of JSON that it cannot read, and not that of a value which it has read.
fn line_of(text: &str, key: &str) -> usize {
    let quoted = format!("\"{key}\"");
    let is_key = |&(at, _): &(usize, &str)| text[at + quoted.len()..].trim_start().starts_with(':');
    let at = text.match_indices(&quoted).find(is_key).map_or(0, |(at, _)| at);
    1 + text[..at].matches('\n').count()
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "$schema", default, deserialize_with = "there")]
    _schema: Option<String>,
    backend: String,
    #[serde(default, deserialize_with = "there")]
    preset: Option<String>,
    #[serde(default)]
    set: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "there")]
    children: Option<String>,
    #[serde(rename = "measured", default, deserialize_with = "there")]
    _measured: Option<Measured>,
}

/// The value of a key that may be absent, but not null.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// The measurement behind the decision. `compare --check` repeats it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the types are checked here")]
struct Measured {
    at: String,
    tool: String,
    #[serde(deserialize_with = "not_empty")]
    command: Vec<String>,
    #[serde(deserialize_with = "scalars")]
    machine: BTreeMap<String, Value>,
    versions: BTreeMap<String, String>,
    baseline: String,
    runs: NonZeroU64,
    gain: BTreeMap<String, Gain>,
    options: BTreeMap<String, IgnoredAny>,
}

/// A metric of the backend divided by that of the baseline, with its 95 % interval.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the types are checked here")]
struct Gain {
    #[serde(deserialize_with = "positive")]
    ratio: f64,
    #[serde(deserialize_with = "positive")]
    low: f64,
    #[serde(deserialize_with = "positive")]
    high: f64,
}

fn not_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::deserialize(from)?;
    if words.is_empty() { Err(D::Error::custom("the command is empty")) } else { Ok(words) }
}

fn scalars<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Value>, D::Error> {
    let values = BTreeMap::deserialize(from)?;
    values
        .values()
        .try_for_each(|value: &Value| scalar(value.clone()).map(drop))
        .map_err(D::Error::custom)?;
    Ok(values)
}

fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(from)?;
    if number > 0.0 { Ok(number) } else { Err(D::Error::custom(format!("{number} is not above 0"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_key_is_not_that_of_a_value() {
        let text = "{\n  \"preset\": \"backend\",\n  \"backend\" :\n \"jemalloc\"\n}";
        assert_eq!([line_of(text, "preset"), line_of(text, "backend"), line_of(text, "set")], [2, 3, 1]);
    }
}
