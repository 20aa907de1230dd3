//! The measuring launcher: it starts a program on a backend, with proof, and measures the program with everything that the
//! program starts. [`measure`] is the whole of it.
//!
//! Two processes stand between the caller and the program. The outer one ([`guard`]) ends everything that the inner one leaves
//! behind, also if the inner one is killed. The inner one ([`run`]) starts the program, samples it and waits for it. Both are
//! small: the peak RSS of a program begins with the RSS of the process that started it.
//!
//! Linux only: elsewhere the crate is empty.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod clock;
mod counters;
mod event;
mod family;
mod guard;
mod pace;
mod proof;
mod reporter;
mod run;
mod signals;
mod start;
mod tree;
mod usage;

pub use event::Event;
pub use guard::{Measured, measure};
pub use reporter::Reporter;
pub use run::{Options, Program};
