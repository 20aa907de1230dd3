//! How a program is started on a backend: which program it is ([`prepare_launch`]), with which environment
//! ([`switched_environment`]), which options the allocator gets ([`presets`]). The command that stands on this
//! without Node is `crates/cli`.
//!
//! Linux only, but for the presets. This crate knows no Node, and opens none of the libraries that it has preloaded.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod config;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod entries;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod environment;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod launch;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod library;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod look;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod options;
pub mod presets;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub mod python;
mod refusal;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod report;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub use config::ConfigFile;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub use entries::{Environment, changed_entries, entries, environment, strings};
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub use environment::{
    Children, Preloaded, Switch, Switched, is_musl, preloaded, switched_environment, why_not_process,
    with_options, without_switch,
};
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub use launch::{
    Context, Launch, absolute, find_program, is_under_npx, prepare_launch, too_small_for_snmalloc,
};
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub use library::{BINARY_DIR, is_for_musl, shim_file, why_not_preloadable, why_not_usable};
pub use malloc_backend::variables;
pub use presets::Preset;
pub use refusal::{Code, Refusal};
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub use report::{Report, ReportPipe};
