//! The measuring launcher. [`measure`] starts a program on a backend, with proof, and measures the program and all its
//! descendants.
//!
//! Two processes stand between the caller and the program. The inner process ([`run`]) starts the program, samples it and waits
//! for it. The outer process ([`guard`]) kills the descendants that are left, also if the inner process is killed. Both processes
//! are small, because the kernel counts the RSS of the process that forks as the first RSS of the program.
//!
//! Linux only: on other systems the crate is empty.

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
mod sampling;
mod signals;
mod start;
mod tree;
mod usage;

pub use event::Event;
pub use guard::{Measured, measure};
pub use reporter::Reporter;
pub use run::{Options, Program};
pub use sampling::Intervals;
