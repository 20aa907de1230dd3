//! Blocks of a backend, entered in an account: an allocator without its JavaScript.

use std::ffi::c_void;
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

    /// A block that is in the books.
    pub fn allocate(&self, size: usize, alignment: usize, zero: bool) -> Result<Block, Refusal> {
        if !self.account.has_room(size) {
            return Err(Refusal::Limit);
        }
        let start = self.request(size, alignment, zero);
        if start.is_null() {
            return Err(Refusal::OutOfMemory);
        }
        self.account.open(size);
        Ok(Block { start, size, alignment })
    }

    fn request(&self, size: usize, alignment: usize, zero: bool) -> *mut c_void {
        match (alignment <= MIN_ALIGNMENT, zero) {
            (true, false) => (self.functions.malloc)(size),
            (true, true) => (self.functions.calloc)(1, size),
            (false, _) => {
                let start = (self.functions.aligned_alloc)(alignment, size);
                if zero && !start.is_null() {
                    // SAFETY: a block of `size` bytes, just allocated.
                    unsafe { start.cast::<u8>().write_bytes(0, size) };
                }
                start
            }
        }
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
            self.request(size, alignment, false)
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

    /// Frees a block and strikes it out of the books, on the allocator's thread.
    ///
    /// # Safety
    /// The block is a live one of this heap, and nothing uses it after.
    pub unsafe fn free(&self, block: Block) {
        // SAFETY: the caller's obligation.
        unsafe { self.release(block) };
        self.account.close(block.size);
    }

    /// [`free`](Self::free), on any thread.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn free_elsewhere(&self, block: Block) {
        // SAFETY: the caller's obligation.
        unsafe { self.release(block) };
        self.account.close_elsewhere(block.size);
    }

    /// Frees a block that is no longer in the books.
    ///
    /// # Safety
    /// As [`free`](Self::free).
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
