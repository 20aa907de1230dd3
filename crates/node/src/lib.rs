//! The Node-API bindings. Each function hands its arguments to a crate below and shapes the result. The build makes
//! `src/native/binding.d.ts` of these items and their comments. It does so on Linux, which has them all: the namespace
//! `linux` is absent elsewhere.

mod allocator;
mod backend;
#[cfg(target_os = "linux")]
mod backing_store;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod diagnose;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod errors;
mod external;
mod function_objects;
#[cfg(all(feature = "jemalloc", not(windows)))]
mod jemalloc;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod launch;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod memory;
mod nearest;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod process;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod profile;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod python;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod python_launch;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod python_value;
mod refused;
mod region;
