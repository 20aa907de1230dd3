use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What went through one domain's table. Every figure only grows; what lives is the difference of two.
///
/// The layout is read from outside the process (`src/python/counters.ts`): six numbers of 64 bits.
#[repr(C)]
#[derive(Debug)]
pub struct Counters {
    /// Blocks handed out by `malloc` and `calloc`, and by `realloc` of null.
    pub allocations: AtomicU64,
    /// Blocks resized.
    pub reallocations: AtomicU64,
    /// Blocks taken back.
    pub frees: AtomicU64,
    /// Usable bytes handed out.
    pub bytes_allocated: AtomicU64,
    /// Usable bytes taken back.
    pub bytes_freed: AtomicU64,
    /// Blocks that came back and had not been handed out by the same domain. Only a tagged build can tell.
    pub foreign: AtomicU64,
}

/// The counters of the four domains, in the order of [`Domain::ALL`](crate::Domain::ALL).
pub type DomainCounters = [Counters; DOMAINS_COUNTED];

/// How many domains there are.
pub const DOMAINS_COUNTED: usize = 4;

impl Counters {
    /// All zero.
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

    /// Those of a table's context.
    ///
    /// # Safety
    /// `context` is that of a table that counts.
    pub(crate) unsafe fn of<'a>(context: *mut c_void) -> &'a Self {
        // SAFETY: such a table has nothing else for a context, and it is static.
        unsafe { &*context.cast() }
    }

    /// The figures, in the order above.
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
