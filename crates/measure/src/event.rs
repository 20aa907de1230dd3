//! The events that the launcher reports: one JSON object per line.

use malloc_backend_launch::{Refusal, Report};
use serde::Serialize;

/// A line of the report. Times are milliseconds of `CLOCK_MONOTONIC` (`at`) or seconds, memory is bytes.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The program runs on the backend. Its `main` has not begun yet.
    Start {
        /// When the program was started.
        at: f64,
        /// Its process id.
        pid: i32,
        /// The library's report.
        proof: Proof,
    },
    /// The memory and CPU time of the program and its descendants at a moment.
    Sample(Sample),
    /// The program and all its descendants have ended.
    End(Box<End>),
    /// The program was not started on the backend, or did not prove the backend.
    Error {
        /// The stable code.
        code: &'static str,
        /// The problem and the remedy.
        message: String,
    },
}

impl From<Refusal> for Event {
    fn from(Refusal { code, message }: Refusal) -> Self {
        Self::Error { code: code.as_str(), message }
    }
}

/// The proof, with the fields of the package's `Proof`.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    pid: u32,
    backend: String,
    version: String,
    library: String,
    owner: String,
}

impl From<Report> for Proof {
    fn from(Report { pid, backend, version, library, owner, .. }: Report) -> Self {
        Self { pid, backend, version, library, owner }
    }
}

/// A sample.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// The time of the sample.
    pub at: f64,
    /// RSS of the program itself.
    pub rss: u64,
    /// PSS of the program itself, in some of the samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pss: Option<u64>,
    /// How many processes there are.
    pub processes: usize,
    /// The sum of their RSS. A shared page counts once for each process.
    pub tree_rss: u64,
    /// The sum of their PSS, in some of the samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree_pss: Option<u64>,
    /// The CPU time of all processes so far.
    pub cpu: f64,
}

/// The end.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// The time at which the program ended. With `follow`: at which the last process ended.
    pub at: f64,
    /// From the start of the program to `at`.
    pub wall: f64,
    /// CPU time in the program's code, of all processes.
    pub user: f64,
    /// CPU time in the kernel, of all processes.
    pub system: f64,
    /// The highest RSS of the program itself.
    pub peak_rss: u64,
    /// The highest sum of RSS in a sample, and at least the peak RSS of the largest process.
    pub tree_peak_rss: u64,
    /// Page faults that needed no read from a disk, of all processes.
    pub minor_faults: u64,
    /// Page faults that needed a read from a disk, of all processes.
    pub major_faults: u64,
    /// Context switches because a process waited, of all processes.
    pub voluntary_switches: u64,
    /// Context switches in favour of another process, of all processes.
    pub involuntary_switches: u64,
    /// The exit status; null if a signal ended the program.
    pub code: Option<i32>,
    /// The signal that ended the program.
    pub signal: Option<String>,
    /// Events of the processor; null if the system does not count them.
    pub counters: Option<Counters>,
    /// The number of processes that still ran when the program ended. The launcher ended them.
    pub left_behind: usize,
}

/// Events of the processor in all processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<u64>,
    /// Cache misses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_misses: Option<u64>,
    /// Reads that missed the data TLB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtlb_misses: Option<u64>,
}
