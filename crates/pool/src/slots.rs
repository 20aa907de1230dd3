//! A slot stores the data of a block until the finaliser of the block was called.
//!
//! A slot lives longer than its block. If the program frees a block, the block is freed at once, but its finaliser may run
//! later. The finaliser then sees in the slot that nothing is left to do.

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

use crate::Block;
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// The slot of one block, from its allocation to its finaliser.
pub struct Slot {
    index: u32,
    /// The index of the next slot in the list of free slots.
    next: AtomicU32,
    /// Null after the block was freed. The thread that swaps the pointer out frees the block, so it is freed once.
    block: AtomicPtr<c_void>,
    size: AtomicUsize,
    alignment: AtomicUsize,
    /// A reference count of the pool for the finaliser, while the slot is lent: see [`lend`](crate::Pool::lend).
    pub(crate) pool: AtomicPtr<c_void>,
}

impl Slot {
    fn new(index: usize) -> Self {
        Self {
            index: index as u32,
            next: AtomicU32::new(NONE),
            block: AtomicPtr::new(ptr::null_mut()),
            size: AtomicUsize::new(0),
            alignment: AtomicUsize::new(0),
            pool: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Its index among the pool's slots.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The live block.
    #[inline]
    pub fn block(&self) -> Option<Block> {
        let start = self.block.load(Ordering::Acquire);
        (!start.is_null()).then(|| self.of(start))
    }

    fn of(&self, start: *mut c_void) -> Block {
        Block {
            start,
            size: self.size.load(Ordering::Relaxed),
            alignment: self.alignment.load(Ordering::Relaxed),
        }
    }

    /// Makes a block the slot's live one.
    #[inline]
    pub fn put(&self, block: Block) {
        self.size.store(block.size, Ordering::Relaxed);
        self.alignment.store(block.alignment, Ordering::Relaxed);
        self.block.store(block.start, Ordering::Release);
    }

    /// Takes the block out. Only one caller gets the block, and must free it.
    #[inline]
    pub fn take(&self) -> Option<Block> {
        // This is nearly always the case in a finaliser. The swap would cost more than the rest of this function.
        if self.block.load(Ordering::Acquire).is_null() {
            return None;
        }
        let start = self.block.swap(ptr::null_mut(), Ordering::AcqRel);
        (!start.is_null()).then(|| self.of(start))
    }
}

const NONE: u32 = u32::MAX;
/// Number of slots in the first chunk. Each further chunk has twice as many slots as the chunk before.
const FIRST: usize = if cfg!(all(test, loom)) { 2 } else { 64 };
const CHUNKS: usize = 24;

/// The slots of a pool. Slots never move, because finalisers point to them. So they are allocated in chunks.
///
/// Only the heap's thread takes slots. Every thread may return a slot. With a single taker, the list of free slots needs no
/// lock and has no ABA problem.
pub struct Slots {
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS],
    /// Number of slots that were ever used.
    used: AtomicU32,
    free: AtomicU32,
}

impl Slots {
    /// Makes an empty list.
    pub(crate) fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            used: AtomicU32::new(0),
            free: AtomicU32::new(NONE),
        }
    }

    /// The chunk of an index, and the place in this chunk.
    fn place(index: usize) -> (usize, usize) {
        let chunk = (index / FIRST + 1).ilog2() as usize;
        (chunk, index - FIRST * ((1 << chunk) - 1))
    }

    /// The slot with this index, if it exists.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&Slot> {
        let (chunk, offset) = Self::place(index as usize);
        self.chunks.get(chunk)?.get()?.get(offset)
    }

    /// Takes a free slot. Returns `None` if 2^30 slots are in use. Only the heap's thread may call this.
    #[inline]
    pub(crate) fn acquire(&self) -> Option<&Slot> {
        let mut head = self.free.load(Ordering::Acquire);
        while let Some(slot) = (head != NONE).then(|| self.get(head)).flatten() {
            let next = slot.next.load(Ordering::Relaxed);
            match self.free.compare_exchange_weak(head, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(slot),
                Err(other) => head = other,
            }
        }
        let index = self.used.load(Ordering::Relaxed);
        let (chunk, offset) = Self::place(index as usize);
        let begin = index as usize - offset;
        let slots = self.chunks.get(chunk)?.get_or_init(|| {
            // No other thread adds slots, so this thread may use its own count.
            (begin..begin + (FIRST << chunk)).map(Slot::new).collect()
        });
        self.used.store(index + 1, Ordering::Release);
        slots.get(offset)
    }

    /// Returns a slot to the list. Nothing points to the slot any more.
    #[inline]
    pub(crate) fn release(&self, slot: &Slot) {
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            slot.next.store(head, Ordering::Relaxed);
            match self.free.compare_exchange_weak(head, slot.index, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => head = other,
            }
        }
    }

    /// All slots with a live block.
    pub fn live(&self) -> impl Iterator<Item = (u32, Block)> {
        (0..self.used.load(Ordering::Acquire))
            .filter_map(|index| self.get(index)?.block().map(|block| (index, block)))
    }
}
