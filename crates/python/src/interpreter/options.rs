//! How an interpreter is started.

use std::path::PathBuf;

use crate::{Config, Refusal};

/// How the interpreter is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The shared library.
    pub libpython: PathBuf,
    /// The interpreter's file: what `sys.executable` and the search for its modules start from.
    pub executable: PathBuf,
    /// As `python -I`.
    pub isolated: bool,
    /// `RTLD_DEEPBIND` for libpython and the extension modules.
    pub deep_bind: bool,
    /// The variables that the caller has set for it, `name=value`. They are compared, and not set.
    pub env: Vec<String>,
    /// Whose the domains are.
    pub config: Config,
}

/// Why there is no interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// One with other options runs.
    Running,
    /// An interpreter runs in this process that somebody else started.
    Foreign,
    /// libpython does not load.
    Library(String),
    /// The domains cannot be set.
    Refused(Refusal),
    /// Python's own initialisation failed.
    Initialization(String),
}
