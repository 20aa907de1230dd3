//! The Node-API bindings: each function hands its arguments to a crate below and shapes what comes back for
//! `src/binding.ts`, which has the same declarations in TypeScript. What an allocator of JavaScript's keeps of its
//! buffers is here too (`account`, `heap`, `local`, `slots`, `quarantine`): it follows when V8 lets go of them.

mod account;
mod allocator;
mod backend;
#[cfg(target_os = "linux")]
mod backing_store;
mod external;
mod functions;
mod heap;
#[cfg(all(feature = "jemalloc", not(windows)))]
mod jemalloc;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod launch;
mod local;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod memory;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod process;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod python;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod python_value;
mod quarantine;
mod region;
mod slots;
