//! Blocks of a backend, with their account and their slots, for all threads.

use std::ffi::c_void;
use std::sync;

use malloc_backend::{Functions, MIN_ALIGNMENT};

use crate::slots::{Slot, Slots};
use crate::sync::{Arc, AtomicPtr, Ordering};
use crate::{Account, Block};

/// Where a heap's blocks come from and return to. It lives until the last of them has gone, which may be long after the
/// heap.
pub struct Pool {
    /// The backend's.
    pub functions: Functions,
    /// What counts the blocks.
    pub account: sync::Arc<Account>,
    /// The blocks that were lent.
    pub slots: Slots,
    /// A small block that stays, so that a backend which has nothing else on this thread does not give up, and set up
    /// anew, what a single large buffer lies in: mimalloc's segments cost it more than the buffer. May be null.
    keeper: AtomicPtr<c_void>,
}

/// Why there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It would pass the limit of the heap, or one above it.
    Limit,
    /// The backend has none.
    OutOfMemory,
}

impl Pool {
    /// A pool without blocks.
    pub fn new(functions: Functions, account: sync::Arc<Account>) -> Arc<Self> {
        let keeper = AtomicPtr::new((functions.malloc)(MIN_ALIGNMENT));
        Arc::new(Self { functions, account, slots: Slots::new(), keeper })
    }

    /// A new block, which is not counted yet.
    #[inline]
    pub(crate) fn request(&self, size: usize, alignment: usize, zero: bool) -> Option<Block> {
        let start = match (alignment <= MIN_ALIGNMENT, zero) {
            (true, false) => (self.functions.malloc)(size),
            (true, true) => (self.functions.calloc)(1, size),
            (false, _) => (self.functions.aligned_alloc)(alignment, size),
        };
        if start.is_null() {
            return None;
        }
        if zero && alignment > MIN_ALIGNMENT {
            // SAFETY: a block of `size` bytes, just allocated.
            unsafe { start.cast::<u8>().write_bytes(0, size) };
        }
        Some(Block { start, size, alignment })
    }

    /// Frees a block that is not counted any more.
    ///
    /// # Safety
    /// The block is a live one of this pool, and nothing uses it after.
    #[inline]
    pub(crate) unsafe fn release(&self, block: Block) {
        if !block.is_borrowed() {
            // SAFETY: the caller's obligation.
            unsafe { (self.functions.free)(block.start) }
        }
    }

    /// Frees a block whose buffer did not come to be: it was no allocation.
    ///
    /// # Safety
    /// As [`release`](Self::release); on the heap's thread, for a block that is counted.
    pub unsafe fn cancel(&self, block: Block) {
        // SAFETY: the caller's obligation.
        unsafe { self.release(block) };
        self.account.cancel(block.size);
    }

    /// Ties a live block to a slot, with a count of the pool for the finaliser: see [`Slot::finalize`]. `None` where
    /// there are 2^30. On the heap's thread.
    #[inline]
    pub fn lend(pool: &Arc<Self>, block: Block) -> Option<&Slot> {
        let slot = pool.slots.acquire()?;
        slot.pool.store(Arc::into_raw(pool.clone()).cast_mut().cast(), Ordering::Release);
        slot.put(block);
        Some(slot)
    }

    /// Undoes [`lend`](Self::lend). The block is out of the slot and the caller's again. `None` where the finaliser was
    /// called after all.
    ///
    /// # Safety
    /// The slot is one of [`lend`](Self::lend) of this pool, and no finaliser will be called for it.
    pub unsafe fn take_back(pool: &Arc<Self>, slot: &Slot) -> Option<Block> {
        let block = slot.take()?;
        pool.slots.release(slot);
        // SAFETY: the count that `lend` left in the slot; `pool` holds another one.
        unsafe { Arc::decrement_strong_count(Arc::as_ptr(pool)) };
        Some(block)
    }
}

impl Slot {
    /// Gives up the slot, and frees the block if it was not freed by hand: nobody has it any more. On any thread.
    ///
    /// # Safety
    /// The slot is one of [`Pool::lend`], and this is called once for it.
    #[inline]
    pub unsafe fn finalize(slot: *const Self) {
        // SAFETY: slots do not move, and the pool's count that the slot holds is given up last.
        unsafe {
            let slot = &*slot;
            let pool = Arc::from_raw(slot.pool.load(Ordering::Acquire).cast_const().cast::<Pool>());
            if let Some(block) = slot.take() {
                pool.release(block);
                pool.account.close_remote(block.size);
            }
            pool.slots.release(slot);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: the block is the backend's, or null, and nobody else has it.
        unsafe { (self.functions.free)(self.keeper.load(Ordering::Relaxed)) }
    }
}
