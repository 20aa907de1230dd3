//! Freed blocks that are kept back, so that a job which still reads one finds poison, not another buffer's data.

use std::collections::VecDeque;

use crate::sync::Arc;
use crate::{Block, Pool};

/// What a freed block is filled with.
const POISON: u8 = 0xdb;

/// The blocks freed last, oldest first, within so many bytes.
pub struct Quarantine {
    pool: Arc<Pool>,
    capacity: usize,
    held: usize,
    blocks: VecDeque<Block>,
    damaged: u64,
}

impl Quarantine {
    /// Up to `capacity` bytes; 0 for no quarantine.
    pub fn new(pool: Arc<Pool>, capacity: usize) -> Self {
        Self { pool, capacity, held: 0, blocks: VecDeque::new(), damaged: 0 }
    }

    /// Whether freed blocks are to go here.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.capacity > 0
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many blocks were written to after they were freed, as far as it has shown.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Takes a freed block in, and lets the oldest go.
    ///
    /// # Safety
    /// The block is a live one of the pool, counted no more, and the caller gives it up.
    pub unsafe fn take_in(&mut self, block: Block) {
        // SAFETY: the block is live and has that many bytes.
        unsafe { block.start.cast::<u8>().write_bytes(POISON, block.size) };
        self.held += block.size;
        self.blocks.push_back(block);
        self.keep(self.capacity);
    }

    /// Lets all blocks go, and takes no more in.
    pub fn close(&mut self) {
        self.capacity = 0;
        self.keep(0);
    }

    /// Lets the oldest blocks go until no more than `bytes` are held.
    pub fn keep(&mut self, bytes: usize) {
        while self.held > bytes || (bytes == 0 && !self.blocks.is_empty()) {
            let Some(block) = self.blocks.pop_front() else { return };
            self.held -= block.size;
            // SAFETY: the block is live until it is released below. A job that still writes to it races with this
            // look at it, which is what it looks for: volatile, so that no value is taken for constant.
            let damaged = unsafe {
                let start = block.start.cast::<u8>();
                (0..block.size).any(|offset| start.add(offset).read_volatile() != POISON)
            };
            self.damaged += u64::from(damaged);
            // SAFETY: it was given up to the quarantine, which gives it up here.
            unsafe { self.pool.release(block) };
        }
    }
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        self.keep(0);
    }
}
