//! What a program needs to be switched to another `malloc`, whose `malloc` a process runs on, and what its memory is.
//!
//! Linux only: elsewhere every function says so by giving nothing. This crate knows no Node.

#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod about;
mod allocator;
mod cgroup;
mod elf;
mod exec;
mod glibc_heap;
mod host;
mod huge_pages;
mod ignored;
mod loader;
mod mapping;
mod memory;
mod musl_stack;
mod owner;
mod parts;
mod peer;
mod program;
mod source;
mod stacks;

pub use about::{Barrier, Child, barrier, descendants, environment_of, host_of, node_version, program_of};
pub use allocator::Allocator;
pub use cgroup::{CgroupUnreadable, CgroupUsage, memory_cgroups, nearest_limit};
pub use exec::{execute, replace_process};
pub use glibc_heap::{GlibcHeap, Limits, MappedBlocks, glibc_heap};
pub use host::{Host, host};
pub use huge_pages::{HugePages, huge_pages};
pub use ignored::{IgnoredPreload, ignored_preloads};
pub use loader::{Loader, is_musl_libc};
pub use memory::{MemoryMap, Survey, memory_map, resident, survey};
pub use owner::{Owner, OwnerKind, owner_here, owner_of};
pub use parts::{Parts, Told, V8};
pub use peer::peer_user;
pub use program::{Caller, Executable, Library, Privilege, inspect, inspect_for, inspect_library};
