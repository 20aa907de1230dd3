use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters of one domain's table. A counter never decreases. The difference of two counters shows what is live.
///
/// The process that started Python reads this layout (`src/python/spawn.ts`): six numbers of 64 bits.
#[repr(C)]
#[derive(Debug)]
pub struct Counters {
    /// Blocks that `malloc`, `calloc` and `realloc` of null returned.
    pub allocations: AtomicU64,
    /// Reallocated blocks.
    pub reallocations: AtomicU64,
    /// Freed blocks.
    pub frees: AtomicU64,
    /// Usable bytes of all allocated blocks.
    pub bytes_allocated: AtomicU64,
    /// Usable bytes of all freed blocks.
    pub bytes_freed: AtomicU64,
    /// Freed blocks that this domain had not allocated. Only a tagged build can count them.
    pub foreign: AtomicU64,
}

/// The counters of the four domains, in the order of [`Domain::ALL`](crate::Domain::ALL).
pub type DomainCounters = [Counters; DOMAINS_COUNTED];

/// Number of domains.
pub const DOMAINS_COUNTED: usize = 4;

impl Counters {
    /// Makes counters with the value 0.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            allocations: AtomicU64::new(0),
            reallocations: AtomicU64::new(0),
            frees: AtomicU64::new(0),
            bytes_allocated: AtomicU64::new(0),
            bytes_freed: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
        }
    }

    /// The counters in the context of a table.
    ///
    /// # Safety
    /// `context` is the context of a counting table.
    pub(crate) unsafe fn of<'a>(context: *mut c_void) -> &'a Self {
        // SAFETY: the context of such a table points to static counters.
        unsafe { &*context.cast() }
    }

    /// The values in the order of the fields.
    pub fn values(&self) -> [u64; 6] {
        [
            &self.allocations,
            &self.reallocations,
            &self.frees,
            &self.bytes_allocated,
            &self.bytes_freed,
            &self.foreign,
        ]
        .map(|counter| counter.load(Relaxed))
    }

    pub(crate) fn allocated(&self, bytes: usize) {
        self.allocations.fetch_add(1, Relaxed);
        self.bytes_allocated.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn reallocated(&self, from: usize, to: usize) {
        self.reallocations.fetch_add(1, Relaxed);
        self.bytes_freed.fetch_add(from as u64, Relaxed);
        self.bytes_allocated.fetch_add(to as u64, Relaxed);
    }

    pub(crate) fn freed(&self, bytes: usize) {
        self.frees.fetch_add(1, Relaxed);
        self.bytes_freed.fetch_add(bytes as u64, Relaxed);
    }
}
