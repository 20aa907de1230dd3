//! A heap as its own thread has it: with the freed blocks that are kept, for the next request or back from it.

use std::cell::{Cell, RefCell};
use std::iter;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use malloc_backend::{Functions, MIN_ALIGNMENT, MemoryAllocatorBackend, Recent};

use crate::account::Account;
use crate::heap::{Heap, Refusal};
use crate::quarantine::Quarantine;
use crate::slots::Block;

pub struct LocalHeap {
    pub heap: Arc<Heap>,
    pub quarantine: Rc<RefCell<Quarantine>>,
    /// For this heap, then for each above it: the quarantines that end with it.
    ends: Vec<Rc<Quarantines>>,
    /// For jemalloc alone: to the others a larger block costs no more than a small one.
    at_hand: Option<Rc<AtHand>>,
}

/// Those of a heap and of all below it, of which most have gone again where each request has one.
type Quarantines = RefCell<Vec<Weak<RefCell<Quarantine>>>>;

/// Blocks that were freed by hand, for the next requests of an allocator and of its children.
struct AtHand {
    recent: Recent,
    functions: Functions,
    /// Whether there will be no more requests.
    ended: Cell<bool>,
}

impl AtHand {
    /// How many bytes are kept at most.
    const BYTES: usize = 2 << 20;

    fn new(functions: Functions) -> Self {
        Self { recent: Recent::new(Self::BYTES), functions, ended: Cell::new(false) }
    }

    fn keeps(&self, size: usize, alignment: usize) -> bool {
        !self.ended.get() && self.recent.keeps(size) && alignment <= MIN_ALIGNMENT
    }

    fn take(&self, size: usize, alignment: usize, zero: bool) -> Option<Block> {
        if !self.keeps(size, alignment) {
            return None;
        }
        let start = self.recent.take(size)?;
        if zero {
            // SAFETY: a block that nobody else has, with at least so many bytes.
            unsafe { start.cast::<u8>().write_bytes(0, size) };
        }
        Some(Block { start, size, alignment })
    }

    /// # Safety
    /// A live block of the backend's, which the caller gives up.
    unsafe fn put(&self, block: Block) {
        // SAFETY: the caller's obligation, now and when each block was put here.
        unsafe {
            let usable = (self.functions.usable_size)(block.start);
            self.recent.put(block.start, usable, |block| (self.functions.free)(block));
        }
    }

    fn clear(&self) {
        // SAFETY: live blocks of the backend's that were given up, and are forgotten with this.
        self.recent.clear(|block| unsafe { (self.functions.free)(block) });
    }
}

impl Drop for AtHand {
    fn drop(&mut self) {
        self.clear();
    }
}

impl LocalHeap {
    /// Up to `quarantine` bytes of freed blocks are held back.
    pub fn new(functions: Functions, limit: u64, quarantine: usize) -> Self {
        let account = Account::new(functions.backend, limit, None);
        let is_jemalloc = functions.backend == MemoryAllocatorBackend::Jemalloc;
        let at_hand = is_jemalloc.then(|| Rc::new(AtHand::new(functions)));
        Self::with(functions, account, quarantine, at_hand, &[])
    }

    /// One whose bytes count in this one's books too, and which has the same blocks at hand.
    pub fn child(&self, limit: u64, quarantine: usize) -> Self {
        let functions = self.heap.functions;
        let account = Account::new(functions.backend, limit, Some(self.heap.account.clone()));
        Self::with(functions, account, quarantine, self.at_hand.clone(), &self.ends)
    }

    fn with(
        functions: Functions,
        account: Arc<Account>,
        quarantine: usize,
        at_hand: Option<Rc<AtHand>>,
        above: &[Rc<Quarantines>],
    ) -> Self {
        let heap = Heap::new(functions, account);
        let quarantine = Rc::new(RefCell::new(Quarantine::new(heap.clone(), quarantine)));
        let ends: Vec<_> = iter::once(Rc::default()).chain(above.iter().cloned()).collect();
        if quarantine.borrow().is_on() {
            for quarantines in &ends {
                let mut quarantines = quarantines.borrow_mut();
                if quarantines.len() == quarantines.capacity() {
                    quarantines.retain(|each| each.strong_count() > 0);
                }
                quarantines.push(Rc::downgrade(&quarantine));
            }
        }
        Self { heap, quarantine, ends, at_hand }
    }

    /// A block that is in the books.
    pub fn allocate(&self, size: usize, alignment: usize, zero: bool) -> Result<Block, Refusal> {
        if !self.heap.account.has_room(size) {
            return Err(Refusal::Limit);
        }
        let kept = self.at_hand.as_ref().and_then(|at_hand| at_hand.take(size, alignment, zero));
        let block = match kept {
            Some(block) => block,
            None => self.heap.request(size, alignment, zero).ok_or(Refusal::OutOfMemory)?,
        };
        self.heap.account.open(size);
        Ok(block)
    }

    /// Frees a block that was freed by hand, or keeps it.
    ///
    /// # Safety
    /// The block is a live one of the heap, and the caller gives it up.
    pub unsafe fn free(&self, block: Block) {
        self.heap.account.close(block.size);
        let mut quarantine = self.quarantine.borrow_mut();
        // SAFETY: the caller's obligation.
        unsafe {
            if block.is_v8s() {
                self.heap.release(block);
            } else if quarantine.is_on() {
                quarantine.take_in(block);
            } else if let Some(at_hand) = &self.at_hand
                && at_hand.keeps(block.size, block.alignment)
            {
                at_hand.put(block);
            } else {
                self.heap.release(block);
            }
        }
    }

    /// Frees all that is kept.
    pub fn flush(&self) {
        self.quarantine.borrow_mut().keep(0);
        if let Some(at_hand) = &self.at_hand {
            at_hand.clear();
        }
    }

    /// [`flush`](Self::flush), for good: there will be no more requests, of children neither, and what is freed from now
    /// on is not kept back. What a child has at hand is its parent's.
    pub fn end(&self) {
        if let [own, ..] = &*self.ends {
            for quarantine in own.take().iter().filter_map(Weak::upgrade) {
                quarantine.borrow_mut().end();
            }
        }
        if let Some(at_hand) = self.at_hand.as_ref().filter(|_| self.heap.account.is_root()) {
            at_hand.ended.set(true);
            at_hand.clear();
        }
    }
}
