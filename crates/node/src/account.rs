//! What an allocator has handed out, against its limit and those above it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use malloc_backend::MemoryAllocatorBackend;

/// The books of one allocator. A child's bytes are in its parent's books too, so a limit holds for all below it.
///
/// Entries are made by the allocator's thread, which is that of its children; only what is collected is struck out by
/// any other. So nearly all figures have one writer, and need none of the locked instructions that would cost more than
/// the block. Each figure stands by itself and nothing is read through it: relaxed ordering is enough.
pub struct Account {
    parent: Option<Arc<Account>>,
    backend: MemoryAllocatorBackend,
    limit: u64,
    /// Live bytes, those of regions too, and buffers, without what was struck out elsewhere.
    live: Figure,
    opened: Figure,
    peak: Figure,
    /// Bytes and blocks ever allocated for buffers.
    total: Figure,
    allocations: Figure,
    /// What V8 let go of, on whichever thread, and with it whoever had got it.
    bytes_elsewhere: AtomicU64,
    closed_elsewhere: AtomicU64,
}

/// A number that one thread changes and any may read.
#[derive(Default)]
struct Figure(AtomicU64);

impl Figure {
    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn set(&self, number: u64) {
        self.0.store(number, Relaxed);
    }

    fn add(&self, number: u64) {
        self.set(self.get().wrapping_add(number));
    }

    fn subtract(&self, number: u64) {
        self.set(self.get().wrapping_sub(number));
    }
}

/// The figures of an [`Account`] at one time.
pub struct Figures {
    pub bytes: u64,
    pub peak: u64,
    pub total: u64,
    pub allocations: u64,
    pub buffers: u64,
}

/// The accounts that have no parent, of all threads.
static ROOTS: Mutex<Vec<Weak<Account>>> = Mutex::new(Vec::new());

/// A panic while they were locked would have left them as they are: they are one vector.
fn roots() -> MutexGuard<'static, Vec<Weak<Account>>> {
    ROOTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bytes and the buffers that are live on the backend in this process, whichever thread's they are.
pub fn everywhere(backend: MemoryAllocatorBackend) -> (u64, u64) {
    let roots: Vec<_> = roots().iter().filter_map(Weak::upgrade).collect();
    roots
        .iter()
        .filter(|root| root.backend == backend)
        .fold((0, 0), |(bytes, buffers), root| (bytes + root.bytes(), buffers + root.buffers()))
}

impl Account {
    /// An account with no more than `limit` bytes in it, entered in its parent's books too.
    pub fn new(backend: MemoryAllocatorBackend, limit: u64, parent: Option<Arc<Account>>) -> Arc<Self> {
        let account = Arc::new(Self {
            parent,
            backend,
            limit,
            live: Figure::default(),
            opened: Figure::default(),
            peak: Figure::default(),
            total: Figure::default(),
            allocations: Figure::default(),
            bytes_elsewhere: AtomicU64::new(0),
            closed_elsewhere: AtomicU64::new(0),
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
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |account| account.parent.as_deref())
    }

    /// Live bytes. Another thread than the account's sees what V8 lets go of meanwhile too early.
    fn bytes(&self) -> u64 {
        self.live.get().saturating_sub(self.bytes_elsewhere.load(Relaxed))
    }

    /// Live buffers, likewise.
    fn buffers(&self) -> u64 {
        self.opened.get().saturating_sub(self.closed_elsewhere.load(Relaxed))
    }

    /// Whether so many bytes more pass no limit. They do not until they are entered: only this thread enters any.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.chain().all(|account| {
            account.bytes().checked_add(bytes as u64).is_some_and(|after| after <= account.limit)
        })
    }

    /// Enters bytes that are no buffer's: a region's.
    pub fn take(&self, bytes: usize) {
        for account in self.chain() {
            account.live.add(bytes as u64);
            account.peak.set(account.peak.get().max(account.bytes()));
        }
    }

    /// Strikes out what [`take`](Self::take) entered.
    pub fn give_back(&self, bytes: usize) {
        self.chain().for_each(|account| account.live.subtract(bytes as u64));
    }

    /// [`give_back`](Self::give_back), on any thread.
    pub fn give_back_elsewhere(&self, bytes: usize) {
        for account in self.chain() {
            account.bytes_elsewhere.fetch_add(bytes as u64, Relaxed);
        }
    }

    /// Enters a buffer.
    pub fn open(&self, bytes: usize) {
        self.take(bytes);
        for account in self.chain() {
            account.total.add(bytes as u64);
            account.allocations.add(1);
            account.opened.add(1);
        }
    }

    /// Enters a buffer's new size.
    pub fn resize(&self, from: usize, to: usize) {
        let grown = to.saturating_sub(from);
        self.take(grown);
        self.give_back(from.saturating_sub(to));
        for account in self.chain() {
            account.total.add(grown as u64);
            account.allocations.add(1);
        }
    }

    /// Strikes a buffer out.
    pub fn close(&self, bytes: usize) {
        self.give_back(bytes);
        self.chain().for_each(|account| account.opened.subtract(1));
    }

    /// Strikes out a buffer that did not come to be: it was no allocation either.
    pub fn cancel(&self, bytes: usize) {
        self.close(bytes);
        for account in self.chain() {
            account.total.subtract(bytes as u64);
            account.allocations.subtract(1);
        }
    }

    /// [`close`](Self::close), on any thread.
    pub fn close_elsewhere(&self, bytes: usize) {
        self.give_back_elsewhere(bytes);
        for account in self.chain() {
            account.closed_elsewhere.fetch_add(1, Relaxed);
        }
    }

    pub fn figures(&self) -> Figures {
        Figures {
            bytes: self.bytes(),
            peak: self.peak.get(),
            total: self.total.get(),
            allocations: self.allocations.get(),
            buffers: self.buffers(),
        }
    }
}
