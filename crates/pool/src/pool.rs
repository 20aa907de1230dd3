//! The part of a heap that threads share: the backend's functions, the account and the slots.

use std::ffi::c_void;
use std::sync;

use malloc_backend::{Functions, MIN_ALIGNMENT};

use crate::slots::{Slot, Slots};
use crate::sync::{Arc, AtomicPtr, Ordering};
use crate::{Account, Block};

/// The source of a heap's blocks. The pool lives until its last block is freed, which may be long after the end of the
/// heap.
pub struct Pool {
    /// The functions of the backend.
    pub functions: Functions,
    /// Counts the blocks.
    pub account: sync::Arc<Account>,
    /// The slots of the lent blocks.
    pub slots: Slots,
    /// A small block that stays allocated. Otherwise a backend without other blocks on this thread would free and set up its
    /// data structures for each large buffer. For mimalloc, a segment costs more than the buffer. May be null.
    keeper: AtomicPtr<c_void>,
}

/// Why an allocation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The block would exceed the limit of the heap or of a parent.
    Limit,
    /// The backend has no memory.
    OutOfMemory,
}

impl Pool {
    /// Makes a pool without blocks.
    pub fn new(functions: Functions, account: sync::Arc<Account>) -> Arc<Self> {
        let keeper = AtomicPtr::new((functions.malloc)(MIN_ALIGNMENT));
        Arc::new(Self { functions, account, slots: Slots::new(), keeper })
    }

    /// Allocates a block that is not counted yet.
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
    /// The block is a live block of this pool. Nothing uses it afterwards.
    #[inline]
    pub(crate) unsafe fn release(&self, block: Block) {
        if !block.is_borrowed() {
            // SAFETY: the caller's obligation.
            unsafe { (self.functions.free)(block.start) }
        }
    }

    /// Frees a block if Node could not make its buffer. The allocation does not count.
    ///
    /// # Safety
    /// The conditions of [`release`](Self::release). The block is counted, and the caller is the heap's thread.
    pub unsafe fn cancel(&self, block: Block) {
        // SAFETY: the caller's obligation.
        unsafe { self.release(block) };
        self.account.cancel(block.size);
    }

    /// Puts a live block into a slot, with a reference count of the pool for the finaliser: see [`Slot::finalize`].
    /// Returns `None` if 2^30 slots are in use. Only the heap's thread may call this.
    #[inline]
    pub fn lend(pool: &Arc<Self>, block: Block) -> Option<&Slot> {
        let slot = pool.slots.acquire()?;
        slot.pool.store(Arc::into_raw(pool.clone()).cast_mut().cast(), Ordering::Release);
        slot.put(block);
        Some(slot)
    }

    /// Undoes [`lend`](Self::lend). The slot is free, and the caller owns the block again. Returns `None` if the finaliser
    /// was called nevertheless.
    ///
    /// # Safety
    /// The slot comes from [`lend`](Self::lend) of this pool, and no finaliser will be called for it.
    pub unsafe fn take_back(pool: &Arc<Self>, slot: &Slot) -> Option<Block> {
        let block = slot.take()?;
        pool.slots.release(slot);
        // SAFETY: the count that `lend` left in the slot; `pool` holds another one.
        unsafe { Arc::decrement_strong_count(Arc::as_ptr(pool)) };
        Some(block)
    }
}

impl Slot {
    /// Frees the slot, and frees the block if the program has not freed it. Any thread may call this.
    ///
    /// # Safety
    /// The slot comes from [`Pool::lend`], and this function is called once for it.
    #[inline]
    pub unsafe fn finalize(slot: *const Self) {
        // SAFETY: slots do not move, and the slot's reference count of the pool is dropped last.
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
        // SAFETY: the block is a block of the backend, or null, and nobody else uses it.
        unsafe { (self.functions.free)(self.keeper.load(Ordering::Relaxed)) }
    }
}
