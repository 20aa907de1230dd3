//! The options that several commands have.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command as ClapCommand, ValueHint};
use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{Children, ConfigFile, Preset, Refusal};

use super::answer::misused;

/// The backends that can serve a whole process.
pub const BACKENDS: OneOf = OneOf(&["default", "jemalloc", "mimalloc", "snmalloc"]);
/// The backends that can serve Python's domains.
pub const PYTHON_BACKENDS: OneOf = OneOf(&["jemalloc", "mimalloc", "snmalloc", "rust", "default"]);
pub const PRESETS: OneOf = OneOf(&["low-rss", "balanced", "throughput", "none"]);
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

// Which backend a program runs on, and how it is set up: by words, or by a file.
#[derive(Args)]
pub struct Choice {
    /// jemalloc, mimalloc, snmalloc, or default for the C library's malloc
    #[arg(
        value_name = "backend",
        value_parser = BACKENDS,
        hide_possible_values = true,
        required_unless_present = "config"
    )]
    pub backend: Option<String>,
    /// Take the backend and its options from this file; the options below win over the file
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// A [`Choice`], checked.
pub struct Chosen {
    pub backend: MemoryAllocatorBackend,
    pub preset: Option<Preset>,
    pub set: Vec<(String, String)>,
    pub children: Children,
}

impl Choice {
    /// The choice by words, where `named` is the backend, or else by the file.
    pub fn chosen(&self, named: Option<MemoryAllocatorBackend>, folder: &Path) -> Result<Chosen, Refusal> {
        let (preset, set, children) =
            (self.settings.preset()?, self.settings.options()?, self.settings.children()?);
        match (named, &self.config) {
            (Some(backend), Some(file)) => Err(misused(format!(
                "the backend is named twice: {backend}, and the one in {}; leave one of them out",
                file.display()
            ))),
            (Some(backend), None) => {
                Ok(Chosen { backend, preset, set, children: children.unwrap_or_default() })
            }
            (None, Some(file)) => {
                let config = ConfigFile::read(file, folder)?;
                Ok(Chosen {
                    backend: config.backend,
                    preset: preset.or(config.preset),
                    set: config.set.into_iter().chain(set).collect(),
                    children: children.or(config.children).unwrap_or_default(),
                })
            }
            (None, None) => Err(misused("the backend is missing; name one, or a file by --config")),
        }
    }
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
