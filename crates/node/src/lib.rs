//! The Node-API bindings, and nothing else: each function hands its arguments to a crate below and shapes what
//! comes back for `src/binding.ts`, which has the same declarations in TypeScript.

mod account;
mod allocator;
mod backend;
mod external;
mod functions;
mod heap;
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
