//! CPython's allocator domains on a backend: [`Config`] says which, [`Domains::install`] sets them, and
//! [`Domains::report`] reads back what is set.
//!
//! CPython has three domains (`raw`, `mem`, `obj`) and an arena allocator under pymalloc, each a table of functions
//! that can be replaced ([c-api/memory](https://docs.python.org/3/c-api/memory.html)). The tables here have one
//! monomorphic function per backend and slot, and take no lock: threads use `raw` without the GIL, and since 3.12 any
//! domain.
//!
//! With the feature `interpreter` there is [`interpreter`] too: a libpython opened in this process. This crate knows no
//! Node.

#![cfg_attr(not(feature = "interpreter"), no_std)]

extern crate alloc;

mod arguments;
mod c_api;
mod config;
mod counters;
mod domains;
#[cfg(feature = "interpreter")]
pub mod interpreter;
mod symbols;
mod tables;
#[cfg(feature = "tagged")]
mod tagged;

pub use arguments::asks_for_dev_mode;
pub use config::{Config, Domain, ParseConfigError};
pub use counters::{Counters, DOMAINS_COUNTED};
pub use domains::{Domains, Refusal, Report, Served};
pub use symbols::{AllocatorSymbols, PythonVersion};
