//! The command, as a program of its own: `run` and `env`, which are to cost a program's start next to nothing, and `doctor`.
//! They want no Node. For what else the command can do it starts Node.
//!
//! There is no runtime of Rust's own around `main`: that would ignore SIGPIPE, and the program inherits what is ignored.

#![cfg_attr(all(target_os = "linux", target_pointer_width = "64"), no_main)]

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod command;

/// Nothing to switch, and so nothing to build.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn main() {}
