//! The command, as a program that needs no Node: `run` is to cost a program's start next to nothing, and the platform's folder
//! alone, copied to wherever it is needed, can do all that the package's command can.
//!
//! There is no runtime of Rust's own around `main`: that would ignore SIGPIPE, and the program inherits what is ignored.

#![cfg_attr(all(target_os = "linux", target_pointer_width = "64"), no_main)]

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod command;

/// Nothing to switch, and so nothing to build.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn main() {}
