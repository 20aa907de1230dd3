//! What a heap has allocated, against its limit and those above it.

use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use malloc_backend::MemoryAllocatorBackend;

use crate::sync::AtomicU64;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// The counters of one heap. A child's bytes are charged to its parent too, so a limit holds for all below it.
///
/// Charges are made by the heap's thread, which is that of its children; other threads only free. So nearly all counters
/// have one writer, and need none of the locked instructions that would cost more than the block.
///
/// That thread charges after it has seen the remote frees that made room. Acquire and release let another thread that
/// sees the charge see those frees too, so it never reads more live bytes than the limit. Likewise a heap that sees a
/// remote free in its parent's account sees it in its own.
pub struct Account {
    parent: Option<Arc<Account>>,
    backend: MemoryAllocatorBackend,
    limit: u64,
    /// Live bytes, those of regions too, and live buffers, with those that were freed remotely.
    live: Counter,
    opened: Counter,
    peak: Counter,
    /// Bytes and blocks ever allocated for buffers.
    total: Counter,
    allocations: Counter,
    /// Freed on other threads, or by a finaliser on this one.
    remote_bytes: AtomicU64,
    remote_buffers: AtomicU64,
}

/// A number that one thread changes and any may read.
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
    /// Live bytes, those of regions too.
    pub bytes: u64,
    /// The most live bytes at any time.
    pub peak: u64,
    /// Bytes ever allocated for buffers.
    pub total: u64,
    /// Allocations and reallocations ever.
    pub allocations: u64,
    /// Live buffers.
    pub buffers: u64,
}

/// The accounts that have no parent, of all threads.
static ROOTS: Mutex<Vec<Weak<Account>>> = Mutex::new(Vec::new());

/// A panic while they were locked would have left them as they are: they are one vector.
fn roots() -> MutexGuard<'static, Vec<Weak<Account>>> {
    ROOTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes and the buffers that are live on the backend in this process, of all threads.
pub fn everywhere(backend: MemoryAllocatorBackend) -> (u64, u64) {
    let roots: Vec<_> = roots().iter().filter_map(Weak::upgrade).collect();
    roots
        .iter()
        .filter(|root| root.backend == backend)
        .fold((0, 0), |(bytes, buffers), root| (bytes + root.bytes(), buffers + root.buffers()))
}

impl Account {
    /// An account for no more than `limit` bytes, charged to its parent too.
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
            // Now and then, so that each of many costs little.
            if roots.len() == roots.capacity() {
                roots.retain(|root| root.strong_count() > 0);
            }
            roots.push(Arc::downgrade(&account));
        }
        account
    }

    /// Whether it has no parent.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// This account and those above it.
    #[inline]
    fn chain(&self) -> impl Iterator<Item = &Self> {
        iter::successors(Some(self), |account| account.parent.as_deref())
    }

    /// Live bytes. Another thread than the account's may see a remote free before the charge that it belongs to.
    #[inline]
    fn bytes(&self) -> u64 {
        self.live.get().saturating_sub(self.remote_bytes.load(Acquire))
    }

    /// Live buffers, likewise.
    fn buffers(&self) -> u64 {
        self.opened.get().saturating_sub(self.remote_buffers.load(Relaxed))
    }

    /// Whether so many bytes more pass no limit. They do not until they are charged: only this thread charges any.
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.chain().all(|account| {
            account.bytes().checked_add(bytes as u64).is_some_and(|after| after <= account.limit)
        })
    }

    /// Counts bytes that are no buffer's: a region's.
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

    /// Counts a buffer out.
    #[inline]
    pub fn close(&self, bytes: usize) {
        self.uncharge(bytes);
        self.chain().for_each(|account| account.opened.subtract(1));
    }

    /// [`close`](Self::close), on any thread.
    #[inline]
    pub fn close_remote(&self, bytes: usize) {
        // Before the bytes: who sees those sees these.
        for account in self.chain() {
            account.remote_buffers.fetch_add(1, Relaxed);
        }
        self.uncharge_remote(bytes);
    }

    /// Undoes [`open`](Self::open) for a buffer that did not come to be: it was no allocation either.
    pub fn cancel(&self, bytes: usize) {
        self.close(bytes);
        for account in self.chain() {
            account.total.subtract(bytes as u64);
            account.allocations.subtract(1);
        }
    }

    /// The counters now.
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
