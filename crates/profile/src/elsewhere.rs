//! Platforms without a heap profile.

use crate::options::{Options, Probe, State};
use crate::refusal::{Refusal, refusal};

/// There is none.
pub enum Gathered {}

impl Gathered {
    /// The file.
    pub fn encode(self) -> Vec<u8> {
        match self {}
    }
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn start(_: Options, _: Option<&Probe>) -> Result<(), Refusal> {
    Err(refusal(
        "ERR_BACKEND_UNAVAILABLE",
        "a heap profile of native memory works on Linux on x64 only for now",
    ))
}

/// As for a process without a profile.
///
/// # Errors
/// Always.
pub fn snapshot() -> Result<Gathered, Refusal> {
    Err(refusal("ERR_NO_PROFILE", "no heap profile is running; start one first"))
}

/// There is none.
pub enum Mark {}

impl Mark {
    /// The number of the profile.
    pub fn session(&self) -> u32 {
        match *self {}
    }
}

/// As for a process without a profile.
///
/// # Errors
/// Always.
pub fn mark() -> Result<Mark, Refusal> {
    snapshot().map(|gathered| match gathered {})
}

/// There is no mark.
///
/// # Errors
/// Never.
pub fn snapshot_since(mark: &Mark) -> Result<Gathered, Refusal> {
    match *mark {}
}

/// As for a process without a profile.
///
/// # Errors
/// Always.
pub fn stop() -> Result<Gathered, Refusal> {
    snapshot()
}

/// None runs.
pub fn state() -> Option<State> {
    None
}

/// There is nothing to give up.
pub fn isolate_ends() {}

/// None.
pub fn hooked_slots() -> usize {
    0
}

/// Nothing sees it.
pub fn attach_python() {}

/// Nothing sees it.
pub fn attach_python_soon() {}
