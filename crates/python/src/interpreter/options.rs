//! The options of an interpreter's start, and its errors.

use std::path::PathBuf;

use crate::{Config, Refusal};

/// The options of the interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The shared library.
    pub libpython: PathBuf,
    /// The interpreter's file. It determines `sys.executable` and the search path of the modules.
    pub executable: PathBuf,
    /// Whether to start as `python -I` does.
    pub isolated: bool,
    /// Whether to open libpython and the extension modules with `RTLD_DEEPBIND`.
    pub deep_bind: bool,
    /// The variables (`name=value`) that the caller has set for this start. They are only compared with another start's.
    pub env: Vec<String>,
    /// The configuration of the domains.
    pub config: Config,
}

/// Why a start failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// An interpreter with other options runs.
    Running,
    /// Other code has started an interpreter in this process.
    Foreign,
    /// libpython could not be loaded.
    Library(String),
    /// The domains cannot be set.
    Refused(Refusal),
    /// Python's own initialisation failed.
    Initialization(String),
}
