//! Where a pool keeps what it must know of each block until its finaliser was called.
//!
//! A slot outlives its block: a block that is freed by hand is freed at once, while its finaliser may come later, and
//! finds in the slot that nothing is left to do.

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

use crate::Block;
use crate::sync::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// One block, from its allocation to its finaliser.
pub struct Slot {
    index: u32,
    /// In the list of free slots: the next one's index.
    next: AtomicU32,
    /// Null once the block was freed. Whoever swaps it out frees it, so it is freed once.
    block: AtomicPtr<c_void>,
    size: AtomicUsize,
    alignment: AtomicUsize,
    /// One count of the pool while the slot is lent, for the finaliser: see [`lend`](crate::Pool::lend).
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

    /// Its place among the pool's slots.
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

    /// The block, for the one caller that is to free it.
    #[inline]
    pub fn take(&self) -> Option<Block> {
        // As nearly always for a finaliser: a swap costs more than all else here.
        if self.block.load(Ordering::Acquire).is_null() {
            return None;
        }
        let start = self.block.swap(ptr::null_mut(), Ordering::AcqRel);
        (!start.is_null()).then(|| self.of(start))
    }
}

const NONE: u32 = u32::MAX;
/// The first chunk holds so many slots, and each further one twice as many as the one before.
const FIRST: usize = if cfg!(all(test, loom)) { 2 } else { 64 };
const CHUNKS: usize = 24;

/// Slots that never move, since finalisers point to them. Memory for them is taken a chunk at a time.
///
/// One thread takes slots, that of the heap; any may give one back. With a single taker the list of free slots needs no
/// lock and has no ABA problem.
pub struct Slots {
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS],
    /// How many were ever used.
    used: AtomicU32,
    free: AtomicU32,
}

impl Slots {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            used: AtomicU32::new(0),
            free: AtomicU32::new(NONE),
        }
    }

    /// The chunk that an index lies in, and its place there.
    fn place(index: usize) -> (usize, usize) {
        let chunk = (index / FIRST + 1).ilog2() as usize;
        (chunk, index - FIRST * ((1 << chunk) - 1))
    }

    /// The slot with that index, if there is one.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&Slot> {
        let (chunk, offset) = Self::place(index as usize);
        self.chunks.get(chunk)?.get()?.get(offset)
    }

    /// A slot that nothing points to; `None` once there are 2^30. For the heap's thread alone.
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
            // The thread's own count: no other one adds slots.
            (begin..begin + (FIRST << chunk)).map(Slot::new).collect()
        });
        self.used.store(index + 1, Ordering::Release);
        slots.get(offset)
    }

    /// Gives back a slot that nothing points to any more.
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

    /// Those that hold a live block.
    pub fn live(&self) -> impl Iterator<Item = (u32, Block)> {
        (0..self.used.load(Ordering::Acquire))
            .filter_map(|index| self.get(index)?.block().map(|block| (index, block)))
    }
}
