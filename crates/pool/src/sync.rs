//! Atomics and `Arc`: from the standard library, or in loom tests from loom, which tries all orders of the threads.

#[cfg(all(test, loom))]
pub use loom::sync::{
    Arc,
    atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(all(test, loom)))]
pub use std::sync::{
    Arc,
    atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
