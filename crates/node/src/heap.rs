//! Blocks of a backend, entered in an account: an allocator without its JavaScript.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicPtr;

use malloc_backend::{Functions, MIN_ALIGNMENT};

use crate::account::Account;
use crate::slots::{Block, Slots};

/// What one allocator allocates with, and what it must remember. It lives until the last of its buffers has gone,
/// which may be long after the allocator.
pub struct Heap {
    pub functions: Functions,
    pub account: Arc<Account>,
    pub slots: Slots,
    /// A small block that stays, so that a backend which has nothing else on this thread does not give up, and set up
    /// anew, what a single large buffer lies in: mimalloc's segments cost it more than the buffer. May be null.
    keeper: AtomicPtr<c_void>,
}

/// Why there is no block.
pub enum Refusal {
    Limit,
    OutOfMemory,
}

impl Heap {
    pub fn new(functions: Functions, account: Arc<Account>) -> Arc<Self> {
        let keeper = AtomicPtr::new((functions.malloc)(MIN_ALIGNMENT));
        Arc::new(Self { functions, account, slots: Slots::new(), keeper })
    }

    /// A new block, which is not in the books yet.
    pub fn request(&self, size: usize, alignment: usize, zero: bool) -> Option<Block> {
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

    /// The block with another size, its contents kept, what is new zeroed where that was asked for. On failure the
    /// old block stays as it was. With `keep_old` the old block stays in any case, and is the caller's to free.
    ///
    /// # Safety
    /// The block is a live one of the backend. Once this succeeded without `keep_old` it is live no more.
    pub unsafe fn reallocate(
        &self,
        old: Block,
        size: usize,
        zero: bool,
        keep_old: bool,
    ) -> Result<Block, Refusal> {
        if !self.account.has_room(size.saturating_sub(old.size)) {
            return Err(Refusal::Limit);
        }
        let alignment = old.alignment;
        // A `realloc` need not keep an alignment.
        let moves = keep_old || alignment > MIN_ALIGNMENT;
        let start = if moves {
            self.request(size, alignment, false).map_or(ptr::null_mut(), |block| block.start)
        } else {
            // SAFETY: the caller's obligation.
            unsafe { (self.functions.realloc)(old.start, size) }
        };
        if start.is_null() {
            return Err(Refusal::OutOfMemory);
        }
        self.account.resize(old.size, size);
        // SAFETY: both blocks are live where they are copied, and have as many bytes as are copied, or zeroed.
        unsafe {
            if moves {
                start.cast::<u8>().copy_from_nonoverlapping(old.start.cast(), old.size.min(size));
                if !keep_old {
                    self.release(old);
                }
            }
            if zero && size > old.size {
                start.cast::<u8>().add(old.size).write_bytes(0, size - old.size);
            }
        }
        Ok(Block { start, size, alignment })
    }

    /// Frees a block of a buffer that did not come to be.
    ///
    /// # Safety
    /// As [`release`](Self::release); on the allocator's thread.
    pub unsafe fn cancel(&self, block: Block) {
        // SAFETY: the caller's obligation.
        unsafe { self.release(block) };
        self.account.cancel(block.size);
    }

    /// Frees a block that V8 has let go of, on any thread, and strikes it out of the books.
    ///
    /// # Safety
    /// As [`release`](Self::release).
    pub unsafe fn let_go(&self, block: Block) {
        // SAFETY: the caller's obligation.
        unsafe { self.release(block) };
        self.account.close_elsewhere(block.size);
    }

    /// Frees a block that is no longer in the books.
    ///
    /// # Safety
    /// The block is a live one of this heap, and nothing uses it after.
    pub unsafe fn release(&self, block: Block) {
        if !block.is_v8s() {
            // SAFETY: the caller's obligation.
            unsafe { (self.functions.free)(block.start) }
        }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: the block is the backend's, or null, and nobody else has it.
        unsafe { (self.functions.free)(*self.keeper.get_mut()) }
    }
}
