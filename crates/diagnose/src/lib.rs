//! Where a process's memory is, whether its allocator is the reason, and what to do: [`diagnose`] gathers what can be seen
//! without preparing or stopping the process, and concludes.
//!
//! Linux only. This crate knows no Node.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod diagnosis;
mod gather;
mod notes;
mod sizes;
mod verdict;

pub use diagnosis::{Cgroup, Diagnosis, Heap, HugePages, Note, NoteCode};
pub use gather::{Own, diagnose};
pub use verdict::{Verdict, VerdictCode};
