//! A heap as its own thread has it: with the freed blocks that are kept, for the next request or back from it.

use std::cell::RefCell;
use std::sync::Arc;

use malloc_backend::{MIN_ALIGNMENT, MemoryAllocatorBackend, Recent};

use crate::heap::{Heap, Refusal};
use crate::quarantine::Quarantine;
use crate::slots::Block;

/// How many bytes of freed blocks are kept at hand at most.
const AT_HAND: usize = 1 << 20;

pub struct LocalHeap {
    pub heap: Arc<Heap>,
    pub quarantine: RefCell<Quarantine>,
    /// For jemalloc alone: to the others a larger block costs no more than a small one.
    recent: Option<Box<Recent>>,
}

impl LocalHeap {
    /// Up to `quarantine` bytes of freed blocks are held back.
    pub fn new(heap: Arc<Heap>, quarantine: usize) -> Self {
        let slow = heap.functions.backend == MemoryAllocatorBackend::Jemalloc;
        Self {
            quarantine: RefCell::new(Quarantine::new(heap.clone(), quarantine)),
            recent: slow.then(|| Box::new(Recent::new(AT_HAND))),
            heap,
        }
    }

    /// Blocks of that kind are kept here.
    fn recent(&self, size: usize, alignment: usize) -> Option<&Recent> {
        let kept = Recent::keeps(size) && alignment <= MIN_ALIGNMENT;
        self.recent.as_deref().filter(|_| kept)
    }

    /// A block that is in the books.
    pub fn allocate(&self, size: usize, alignment: usize, zero: bool) -> Result<Block, Refusal> {
        if let Some(recent) = self.recent(size, alignment)
            && !zero
            && self.heap.account.has_room(size)
            && let Some(start) = recent.take(size)
        {
            self.heap.account.open(size);
            return Ok(Block { start, size, alignment });
        }
        let block = self.heap.allocate(size, alignment, zero);
        if matches!(block, Err(Refusal::OutOfMemory)) && self.forget() {
            return self.heap.allocate(size, alignment, zero);
        }
        block
    }

    /// Frees a block that was freed by hand, or keeps it.
    ///
    /// # Safety
    /// The block is a live one of the heap, and the caller gives it up.
    pub unsafe fn free(&self, block: Block) {
        let mut quarantine = self.quarantine.borrow_mut();
        // SAFETY: the caller's obligation.
        unsafe {
            if block.is_v8s() {
                self.heap.free(block);
            } else if quarantine.is_on() {
                self.heap.account.close(block.size);
                quarantine.take_in(block);
            } else if self.keep(block) {
                self.heap.account.close(block.size);
            } else {
                self.heap.free(block);
            }
        }
    }

    /// Keeps a block at hand, which is to be out of the books then. False where it is not worth it.
    ///
    /// # Safety
    /// A live block of the backend's, which the caller gives up if this is true.
    unsafe fn keep(&self, block: Block) -> bool {
        self.recent(block.size, block.alignment).is_some_and(|recent| {
            // SAFETY: the caller's obligation.
            recent.put(block.start, unsafe { (self.heap.functions.usable_size)(block.start) })
        })
    }

    /// Frees all that is kept.
    pub fn flush(&self) {
        self.quarantine.borrow_mut().keep(0);
        self.forget();
    }

    /// Frees what is kept at hand. False where that is nothing.
    fn forget(&self) -> bool {
        let Some(recent) = self.recent.as_ref().filter(|recent| !recent.is_empty()) else { return false };
        // SAFETY: blocks of the backend's that were given up, and are forgotten with this.
        recent.clear(|block| unsafe { (self.heap.functions.free)(block) });
        true
    }
}

impl Drop for LocalHeap {
    fn drop(&mut self) {
        self.forget();
    }
}
