//! Sets CPython's allocator domains to a backend. [`Config`] chooses the domains, [`Domains::install`] sets them, and
//! [`Domains::report`] reads the tables back.
//!
//! CPython has three domains (`raw`, `mem`, `obj`), and pymalloc has an arena allocator. Each of the four is a table of
//! functions that can be replaced ([c-api/memory](https://docs.python.org/3/c-api/memory.html)). The tables here have one
//! monomorphic function for each backend and slot, and need no lock. Threads use `raw` without the GIL, and since 3.12
//! every domain, so the functions are thread-safe.
//!
//! The feature `interpreter` adds [`interpreter`], which opens libpython in this process. This crate does not depend on
//! Node.
//!
//! Linux only: on other systems the crate is empty.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
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
