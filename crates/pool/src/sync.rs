//! What threads share, from the standard library; or from loom, which tries the orders in which they may run.

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
