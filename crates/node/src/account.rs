//! What an allocator has handed out, against its limit and those above it.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use malloc_backend::MemoryAllocatorBackend;

/// The books of one allocator. A child's bytes are in its parent's books too, so a limit holds for all below it.
///
/// Each figure stands by itself and nothing is read through it: relaxed ordering is enough.
pub struct Account {
    parent: Option<Arc<Account>>,
    backend: MemoryAllocatorBackend,
    limit: u64,
    bytes: AtomicU64,
    peak: AtomicU64,
    total: AtomicU64,
    allocations: AtomicU64,
    buffers: AtomicU64,
}

/// The figures of an [`Account`] at one time.
pub struct Figures {
    pub bytes: u64,
    pub peak: u64,
    pub total: u64,
    pub allocations: u64,
    pub buffers: u64,
}

/// Live bytes and buffers of every allocator of the process, all threads together.
struct Everywhere {
    bytes: AtomicU64,
    buffers: AtomicU64,
}

static EVERYWHERE: [Everywhere; MemoryAllocatorBackend::ALL.len()] =
    [const { Everywhere { bytes: AtomicU64::new(0), buffers: AtomicU64::new(0) } }; 5];

/// The bytes and the buffers that are live on the backend in this process, whichever thread's they are.
pub fn everywhere(backend: MemoryAllocatorBackend) -> (u64, u64) {
    let all = &EVERYWHERE[backend as usize];
    (all.bytes.load(Relaxed), all.buffers.load(Relaxed))
}

impl Account {
    pub fn new(backend: MemoryAllocatorBackend, limit: u64, parent: Option<Arc<Account>>) -> Arc<Self> {
        let zero = || AtomicU64::new(0);
        Arc::new(Self {
            parent,
            backend,
            limit,
            bytes: zero(),
            peak: zero(),
            total: zero(),
            allocations: zero(),
            buffers: zero(),
        })
    }

    /// This account and those above it.
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |account| account.parent.as_deref())
    }

    /// Sets bytes aside for a block that is to be allocated; nothing where that would pass a limit.
    pub fn reserve(&self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        for account in self.chain() {
            let before = account.bytes.fetch_add(bytes, Relaxed);
            if before.checked_add(bytes).is_none_or(|after| after > account.limit) {
                for entered in self.chain() {
                    entered.bytes.fetch_sub(bytes, Relaxed);
                    if ptr::eq(entered, account) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Undoes [`reserve`](Self::reserve): the block could not be had.
    pub fn unreserve(&self, bytes: usize) {
        self.chain().for_each(|account| _ = account.bytes.fetch_sub(bytes as u64, Relaxed));
    }

    /// Enters a buffer whose bytes are reserved.
    pub fn open(&self, bytes: usize) {
        self.count(bytes);
        self.chain().for_each(|account| _ = account.buffers.fetch_add(1, Relaxed));
        let everywhere = &EVERYWHERE[self.backend as usize];
        everywhere.bytes.fetch_add(bytes as u64, Relaxed);
        everywhere.buffers.fetch_add(1, Relaxed);
    }

    /// Enters a buffer's new size; what it grew by is reserved.
    pub fn resize(&self, from: usize, to: usize) {
        self.count(to.saturating_sub(from));
        let everywhere = &EVERYWHERE[self.backend as usize];
        match to.checked_sub(from) {
            Some(grown) => _ = everywhere.bytes.fetch_add(grown as u64, Relaxed),
            None => {
                self.unreserve(from - to);
                everywhere.bytes.fetch_sub((from - to) as u64, Relaxed);
            }
        }
    }

    /// Strikes a buffer out.
    pub fn close(&self, bytes: usize) {
        self.unreserve(bytes);
        self.chain().for_each(|account| _ = account.buffers.fetch_sub(1, Relaxed));
        let everywhere = &EVERYWHERE[self.backend as usize];
        everywhere.bytes.fetch_sub(bytes as u64, Relaxed);
        everywhere.buffers.fetch_sub(1, Relaxed);
    }

    /// Has the high-water marks follow what is reserved: for bytes that are no buffers, a region's.
    pub fn note_peak(&self) {
        for account in self.chain() {
            let now = account.bytes.load(Relaxed);
            if now > account.peak.load(Relaxed) {
                account.peak.fetch_max(now, Relaxed);
            }
        }
    }

    /// Counts an allocation of so many new bytes.
    fn count(&self, bytes: usize) {
        self.note_peak();
        for account in self.chain() {
            account.total.fetch_add(bytes as u64, Relaxed);
            account.allocations.fetch_add(1, Relaxed);
        }
    }

    pub fn figures(&self) -> Figures {
        Figures {
            bytes: self.bytes.load(Relaxed),
            peak: self.peak.load(Relaxed),
            total: self.total.load(Relaxed),
            allocations: self.allocations.load(Relaxed),
            buffers: self.buffers.load(Relaxed),
        }
    }
}
