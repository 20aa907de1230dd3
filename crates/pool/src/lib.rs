//! A heap on any backend, with limits, statistics, a quarantine and a cache. A garbage collector owns the blocks and may
//! free them on any thread.
//!
//! A [`Heap`] belongs to one thread. It allocates from a [`Pool`]. The blocks keep the pool alive, and any thread may free
//! a block into the pool. The [`Account`] counts allocations and frees: the heap's thread writes its counters with plain
//! stores, and frees on other threads (_remote frees_) have their own counters. A [`Slot`](slots::Slot) follows a block
//! from its allocation to its finaliser. A [`Region`](region::Region) is a heap within one range of address space.
//!
//! This crate does not depend on Node. The cache and the quarantines belong to one thread, which the compiler checks.
//! Threads share `account`, `slots` and `pool`, and loom tests these modules (`tests/loom.rs`).

mod account;
mod block;
mod cache;
mod heap;
mod pool;
mod quarantine;
#[cfg(all(unix, feature = "jemalloc"))]
pub mod region;
pub mod slots;
mod sync;
#[cfg(test)]
mod tests;

pub use account::{Account, Stats, everywhere};
pub use block::Block;
pub use cache::Cache;
pub use heap::Heap;
pub use pool::{Pool, Refusal};
pub use quarantine::{Damage, POISON, Quarantine};
