//! The options that several commands have.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command as ClapCommand};
use malloc_backend_launch::{Children, Preset, Refusal};

use super::answer::misused;

/// The backends that can serve a whole process.
pub const BACKENDS: OneOf = OneOf(&["default", "jemalloc", "mimalloc", "snmalloc"]);
/// The backends that can serve Python's domains.
pub const PYTHON_BACKENDS: OneOf = OneOf(&["jemalloc", "mimalloc", "snmalloc", "rust", "default"]);
const PRESETS: OneOf = OneOf(&["low-rss", "balanced", "throughput", "none"]);
const CHILDREN: OneOf = OneOf(&["inherit", "none"]);

/// A word that is one of these, for help and completion. The crate below judges it: its errors have codes, and the package's
/// users get the same ones.
#[derive(Clone)]
pub struct OneOf(pub &'static [&'static str]);

impl TypedValueParser for OneOf {
    type Value = String;

    fn parse_ref(
        &self,
        command: &ClapCommand,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

// How an allocator is set up. (A comment for rustdoc would become the help of the commands that have these options.)
#[derive(Args)]
pub struct Settings {
    /// Tune the allocator: low-rss, balanced, throughput, or none for its own defaults
    #[arg(long, value_name = "name", value_parser = PRESETS, hide_possible_values = true)]
    preset: Option<String>,
    /// Set one option of the allocator, over the preset; repeat it to set more
    #[arg(long, value_name = "key=value")]
    set: Vec<String>,
    /// What the programs that the program starts get: inherit (the same) or none
    #[arg(long, value_name = "which", value_parser = CHILDREN, hide_possible_values = true)]
    children: Option<String>,
    /// On macOS and Windows, go on without a switch and say so; on Linux it changes nothing
    #[arg(long)]
    if_supported: bool,
}

impl Settings {
    pub fn preset(&self) -> Result<Option<Preset>, Refusal> {
        self.preset.as_deref().map(str::parse).transpose()
    }

    pub fn options(&self) -> Result<Vec<(String, String)>, Refusal> {
        self.set.iter().map(|text| pair(text)).collect()
    }

    pub fn children(&self) -> Result<Option<Children>, Refusal> {
        self.children.as_deref().map(str::parse).transpose()
    }
}

fn pair(text: &str) -> Result<(String, String), Refusal> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(misused(format!("--set needs key=value, not {text:?}"))),
    }
}
