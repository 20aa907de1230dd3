//! A heap over any backend, with limits, statistics, a quarantine and a cache, whose blocks are owned by somebody else: a
//! garbage collector that lets go of them on any thread.
//!
//! A [`Heap`] belongs to one thread. It allocates from a [`Pool`], which its blocks keep alive and any thread may return
//! them to. The [`Account`] counts both sides: the heap's thread writes its counters with plain stores, and remote frees
//! have counters of their own. A [`Slot`](slots::Slot) follows a block from its allocation to its finaliser. A
//! [`Region`](region::Region) is a heap within one range of address space.
//!
//! This crate knows no Node. Its cache and its quarantines are one thread's, and the compiler keeps them so; `account`,
//! `slots` and `pool` are shared, and loom tries them (`tests/loom.rs`).

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
