//! What a profile is given, and what it says of itself.

use std::time::Duration;

/// How a profile is taken.
#[derive(Clone, Debug)]
pub struct Options {
    /// The mean distance of two samples, in bytes.
    pub interval: u64,
    /// The most samples of blocks in use that are kept.
    pub most_samples: usize,
    /// The name of the process's allocator.
    pub allocator: String,
}

/// What the caller knows of the JavaScript that calls.
#[derive(Clone, Debug)]
pub struct Probe {
    /// `process.versions.v8`.
    pub version: String,
    /// The name of the innermost JavaScript function on the stack.
    pub function: String,
    /// The name of the script that has this function.
    pub file: String,
}

/// What there is to say about the profile of this process.
#[derive(Clone, Debug)]
pub struct State {
    /// The mean distance of two samples, in bytes.
    pub interval: u64,
    /// Samples taken.
    pub samples: u64,
    /// Samples whose block is in use.
    pub live: u64,
    /// Samples that found no room in the table of blocks in use.
    pub dropped: u64,
    /// Samples that found no room for their stack.
    pub dropped_stacks: u64,
    /// The CPU time that the samples took, on all threads. An estimate.
    pub time: Duration,
    /// Why no JavaScript frames are read.
    pub why_no_javascript: Option<String>,
}

/// The most samples that a profile may keep.
pub const MOST_SAMPLES: usize = 1 << 20;
