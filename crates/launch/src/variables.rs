//! The variables of `crates/malloc-shim/src/startup.rs`, where each is explained, and the map that they stand in.

use std::collections::BTreeMap;

/// Variables by their names. Bytes, as the system has them.
pub type Environment = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the dynamic loader preloads.
pub const PRELOAD: &str = "LD_PRELOAD";
/// The descriptor that the proof is written to.
pub const REPORT: &str = "MALLOC_BACKEND_REPORT";
/// The program does not begin where the switch had no effect.
pub const REQUIRE: &str = "MALLOC_BACKEND_REQUIRE";
/// `none`: what the program starts is not switched.
pub const CHILDREN: &str = "MALLOC_BACKEND_CHILDREN";
/// What was set of the allocator's options, to be undone.
pub const RESTORE: &str = "MALLOC_BACKEND_RESTORE";

pub(crate) const ALL: [&str; 5] = [PRELOAD, REPORT, REQUIRE, CHILDREN, RESTORE];
