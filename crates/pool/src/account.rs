//! Counts the bytes of a heap and compares them with its limit and the limits of its parents.

use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use malloc_backend::MemoryAllocatorBackend;

use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// The counters of one heap. A child's bytes are also charged to its parent, so a limit applies to all children.
///
/// Only the heap's thread charges. Its children have the same thread. Other threads only free. So nearly all counters have
/// one writer, and need no locked instruction. A locked instruction would cost more than the block.
///
/// The heap's thread charges after it has seen the remote frees that made room. Acquire and release ensure that another
/// thread that sees the charge also sees these frees. So no thread reads more live bytes than the limit. In the same way,
/// a heap that sees a remote free in its parent's account sees this free in its own account.
pub struct Account {
    parent: Option<Arc<Account>>,
    backend: MemoryAllocatorBackend,
    limit: u64,
    /// Live bytes (including regions) and live buffers. Remote frees are not subtracted yet.
    live: Counter,
    opened: Counter,
    peak: Counter,
    /// Bytes and blocks ever allocated for buffers.
    total: Counter,
    allocations: Counter,
    /// Remote frees: on another thread, or by a finaliser on this thread.
    remote_bytes: AtomicU64,
    remote_buffers: AtomicU64,
}

/// A number that one thread changes and every thread may read.
struct Counter(AtomicU64);

impl Counter {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    fn get(&self) -> u64 {
        self.0.load(Acquire)
    }

    #[inline]
    fn set(&self, number: u64) {
        self.0.store(number, Release);
    }

    #[inline]
    fn add(&self, number: u64) {
        self.set(self.0.load(Relaxed).wrapping_add(number));
    }

    #[inline]
    fn subtract(&self, number: u64) {
        self.set(self.0.load(Relaxed).wrapping_sub(number));
    }
}

/// The counters of an [`Account`] at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Live bytes, including regions.
    pub bytes: u64,
    /// The highest number of live bytes so far.
    pub peak: u64,
    /// Bytes ever allocated for buffers.
    pub total: u64,
    /// Allocations and reallocations ever.
    pub allocations: u64,
    /// Live buffers.
    pub buffers: u64,
}

/// The accounts without a parent, of all threads.
static ROOTS: Mutex<Vec<Weak<Account>>> = Mutex::new(Vec::new());

/// Ignores a poisoned lock: a panic cannot leave this vector half changed.
fn roots() -> MutexGuard<'static, Vec<Weak<Account>>> {
    ROOTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The live bytes and live buffers on the backend in this process, of all threads.
pub fn everywhere(backend: MemoryAllocatorBackend) -> (u64, u64) {
    let roots: Vec<_> = roots().iter().filter_map(Weak::upgrade).collect();
    roots
        .iter()
        .filter(|root| root.backend == backend)
        .fold((0, 0), |(bytes, buffers), root| (bytes + root.bytes(), buffers + root.buffers()))
}

impl Account {
    /// Makes an account with a limit in bytes. Its charges also count in its parent.
    pub fn new(backend: MemoryAllocatorBackend, limit: u64, parent: Option<Arc<Account>>) -> Arc<Self> {
        let account = Arc::new(Self {
            parent,
            backend,
            limit,
            live: Counter::new(),
            opened: Counter::new(),
            peak: Counter::new(),
            total: Counter::new(),
            allocations: Counter::new(),
            remote_bytes: AtomicU64::new(0),
            remote_buffers: AtomicU64::new(0),
        });
        if account.is_root() {
            let mut roots = roots();
            // Only when the vector is full, so that each of many accounts costs little.
            if roots.len() == roots.capacity() {
                roots.retain(|root| root.strong_count() > 0);
            }
            roots.push(Arc::downgrade(&account));
        }
        account
    }

    /// Whether this account has no parent.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// This account and all its parents.
    #[inline]
    fn chain(&self) -> impl Iterator<Item = &Self> {
        iter::successors(Some(self), |account| account.parent.as_deref())
    }

    /// Live bytes. Another thread may see a remote free before the charge of the same block, so the subtraction saturates.
    #[inline]
    fn bytes(&self) -> u64 {
        self.live.get().saturating_sub(self.remote_bytes.load(Acquire))
    }

    /// Live buffers. The subtraction saturates for the same reason.
    fn buffers(&self) -> u64 {
        self.opened.get().saturating_sub(self.remote_buffers.load(Relaxed))
    }

    /// Whether `bytes` more bytes exceed no limit. The answer stays true until this thread charges: no other thread charges.
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.chain().all(|account| {
            account.bytes().checked_add(bytes as u64).is_some_and(|after| after <= account.limit)
        })
    }

    /// Counts bytes of a region.
    #[inline]
    pub fn charge(&self, bytes: usize) {
        for account in self.chain() {
            account.live.add(bytes as u64);
            account.peak.set(account.peak.get().max(account.bytes()));
        }
    }

    /// Undoes [`charge`](Self::charge).
    #[inline]
    pub fn uncharge(&self, bytes: usize) {
        self.chain().for_each(|account| account.live.subtract(bytes as u64));
    }

    /// [`uncharge`](Self::uncharge), on any thread.
    #[inline]
    pub fn uncharge_remote(&self, bytes: usize) {
        for account in self.chain() {
            account.remote_bytes.fetch_add(bytes as u64, Release);
        }
    }

    /// Counts a new buffer.
    #[inline]
    pub fn open(&self, bytes: usize) {
        self.charge(bytes);
        for account in self.chain() {
            account.total.add(bytes as u64);
            account.allocations.add(1);
            account.opened.add(1);
        }
    }

    /// Counts a buffer's new size.
    pub fn resize(&self, from: usize, to: usize) {
        let grown = to.saturating_sub(from);
        self.charge(grown);
        self.uncharge(from.saturating_sub(to));
        for account in self.chain() {
            account.total.add(grown as u64);
            account.allocations.add(1);
        }
    }

    /// Counts a freed buffer.
    #[inline]
    pub fn close(&self, bytes: usize) {
        self.uncharge(bytes);
        self.chain().for_each(|account| account.opened.subtract(1));
    }

    /// [`close`](Self::close), on any thread.
    #[inline]
    pub fn close_remote(&self, bytes: usize) {
        // Before the bytes: a thread that sees the freed bytes also sees the freed buffer.
        for account in self.chain() {
            account.remote_buffers.fetch_add(1, Relaxed);
        }
        self.uncharge_remote(bytes);
    }

    /// Undoes [`open`](Self::open) if Node could not make the buffer. The allocation does not count.
    pub fn cancel(&self, bytes: usize) {
        self.close(bytes);
        for account in self.chain() {
            account.total.subtract(bytes as u64);
            account.allocations.subtract(1);
        }
    }

    /// The current counters.
    pub fn stats(&self) -> Stats {
        Stats {
            bytes: self.bytes(),
            peak: self.peak.get(),
            total: self.total.get(),
            allocations: self.allocations.get(),
            buffers: self.buffers(),
        }
    }
}
