use std::fmt;

use malloc_backend::ParseBackendError;

/// What was wrong, as `src/errors.ts` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// An argument of the wrong type or out of its range.
    InvalidArgument,
    /// A name that is none of the five backends.
    UnknownBackend,
    /// A name that is none of the presets.
    UnknownPreset,
    /// An allocator option that the backend does not have.
    UnknownOption,
    /// A configuration file that cannot be read, or says something that is not there.
    ConfigInvalid,
    /// The backend cannot serve a whole process.
    BackendUnavailable,
    /// The preloadable library is not there, cannot be loaded, or lies where the loader cannot be pointed at.
    ShimMissing,
    /// A choice of Python's domains that contradicts itself or does nothing.
    PythonConfig,
    /// An environment, or arguments, with which Python would discard the choice.
    PythonEnvironment,
    /// No such program.
    ProgramNotFound,
    /// A file that cannot be executed.
    ProgramNotExecutable,
    /// A program into which nothing can be preloaded.
    CannotSwitch,
    /// The system preloads another allocator, where libc's was asked for.
    ForeignPreload,
    /// A process that is on another backend than was expected.
    NotApplied,
    /// No such process.
    ProcessNotFound,
    /// A process that may not be looked into.
    ProcessAccess,
    /// The system refused to start the program.
    ExecFailed,
}

impl Code {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "ERR_INVALID_ARGUMENT",
            Self::UnknownBackend => "ERR_UNKNOWN_BACKEND",
            Self::UnknownPreset => "ERR_UNKNOWN_PRESET",
            Self::UnknownOption => "ERR_UNKNOWN_OPTION",
            Self::ConfigInvalid => "ERR_CONFIG_INVALID",
            Self::BackendUnavailable => "ERR_BACKEND_UNAVAILABLE",
            Self::ShimMissing => "ERR_SHIM_MISSING",
            Self::PythonConfig => "ERR_PYTHON_CONFIG",
            Self::PythonEnvironment => "ERR_PYTHON_ENVIRONMENT",
            Self::ProgramNotFound => "ERR_PROGRAM_NOT_FOUND",
            Self::ProgramNotExecutable => "ERR_PROGRAM_NOT_EXECUTABLE",
            Self::CannotSwitch => "ERR_CANNOT_SWITCH",
            Self::ForeignPreload => "ERR_FOREIGN_PRELOAD",
            Self::NotApplied => "ERR_NOT_APPLIED",
            Self::ProcessNotFound => "ERR_PROCESS_NOT_FOUND",
            Self::ProcessAccess => "ERR_PROCESS_ACCESS",
            Self::ExecFailed => "ERR_EXEC_FAILED",
        }
    }
}

/// Why a program is not started as asked: a code, and a message that says what was wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of reason.
    pub code: Code,
    /// One or a few lines.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<ParseBackendError> for Refusal {
    fn from(error: ParseBackendError) -> Self {
        Self::new(Code::UnknownBackend, error.to_string())
    }
}
