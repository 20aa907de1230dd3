//! A heap profile of a process's `malloc`: which code asked for the memory that is in use, with native, JavaScript and Python
//! frames in one stack.
//!
//! [`start`] puts hooks into the slots through which the modules call `malloc` and `free` (`got`, `hooks`). A hook samples a few
//! of the blocks (`sampler`). For a sample, the thread's stack is walked (`walk`, `stacks`), V8's and CPython's frames are read (`v8`, `python`), and the stack
//! is kept once (`intern`). A table has the sampled blocks that are in use (`live`). [`snapshot`] and [`stop`] copy the tables
//! (`gather`), look up the native functions (`symbols`), and make a file in the format of pprof (`pprof`).
//!
//! The path of an allocation takes no lock. It allocates nothing, apart from a thread's own state at its first sample. It
//! cannot enter itself, and no panic leaves it. What may not be memory is read by the kernel (`memory`).
//!
//! Linux on x64 only: elsewhere [`start`] says so.

#![cfg(target_os = "linux")]

mod options;
mod refusal;

#[cfg(not(target_arch = "x86_64"))]
mod elsewhere;
#[cfg(target_arch = "x86_64")]
mod frame;
#[cfg(target_arch = "x86_64")]
mod gather;
#[cfg(target_arch = "x86_64")]
mod got;
#[cfg(target_arch = "x86_64")]
mod hooks;
#[cfg(target_arch = "x86_64")]
mod intern;
#[cfg(target_arch = "x86_64")]
mod live;
#[cfg(target_arch = "x86_64")]
mod lock;
#[cfg(target_arch = "x86_64")]
mod memo;
#[cfg(target_arch = "x86_64")]
mod memory;
#[cfg(target_arch = "x86_64")]
mod modules;
#[cfg(target_arch = "x86_64")]
mod pprof;
#[cfg(target_arch = "x86_64")]
mod profile;
#[cfg(target_arch = "x86_64")]
pub mod python;
#[cfg(target_arch = "x86_64")]
mod queued;
#[cfg(target_arch = "x86_64")]
mod region;
#[cfg(target_arch = "x86_64")]
mod rules;
#[cfg(target_arch = "x86_64")]
mod sampler;
#[cfg(target_arch = "x86_64")]
mod session;
#[cfg(target_arch = "x86_64")]
mod stack;
#[cfg(target_arch = "x86_64")]
mod stacks;
#[cfg(target_arch = "x86_64")]
mod symbols;
#[cfg(target_arch = "x86_64")]
mod tables;
#[cfg(target_arch = "x86_64")]
mod thread;
#[cfg(target_arch = "x86_64")]
mod v8;
#[cfg(target_arch = "x86_64")]
mod walk;

pub use options::{MOST_SAMPLES, Options, Probe, State};
pub use refusal::Refusal;

#[cfg(not(target_arch = "x86_64"))]
pub use elsewhere::{
    Gathered, Mark, attach_python, attach_python_soon, hooked_slots, isolate_ends, mark, snapshot,
    snapshot_since, start, state, stop,
};
#[cfg(target_arch = "x86_64")]
pub use {
    gather::{Gathered, Mark},
    profile::{
        hooked_slots, isolate_ends, mark, snapshot, snapshot_since, start, state, stop, stop_sampling,
    },
    python::{attach as attach_python, attach_soon as attach_python_soon},
};
