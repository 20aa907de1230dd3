//! Freed blocks that are held back, so that a job which still reads one finds poison, not another buffer's data, and one
//! that writes to it is found.

use std::collections::VecDeque;

use crate::Block;

/// What a freed block is filled with.
pub const POISON: u8 = 0xdb;

/// The blocks of one thread that were freed last, oldest first, within so many bytes. It forgets them when it is dropped.
pub struct Quarantine {
    capacity: usize,
    held: usize,
    blocks: VecDeque<Block>,
    damaged: u64,
}

/// A block that was written to after it was freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The block.
    pub block: Block,
    /// The first byte in it that is not poison.
    pub byte: usize,
}

impl Damage {
    /// # Safety
    /// The block is live and was filled with poison.
    unsafe fn find(block: Block) -> Option<Self> {
        let start = block.start.cast::<u8>();
        // SAFETY: the caller's obligation. A job that still writes to the block races with this look at it, which is
        // what it looks for: volatile, so that no value is taken for constant.
        let byte = (0..block.size).find(|&byte| unsafe { start.add(byte).read_volatile() } != POISON)?;
        Some(Self { block, byte })
    }
}

impl Quarantine {
    /// Up to `capacity` bytes; 0 for no quarantine.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, held: 0, blocks: VecDeque::new(), damaged: 0 }
    }

    /// Whether a freed block of that size is to go here. In one of no bytes there is nothing to find, and any number of
    /// them would have room.
    #[inline]
    pub fn takes(&self, size: usize) -> bool {
        self.capacity > 0 && size > 0
    }

    /// How many bytes it holds at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How many blocks were found to have been written to after they were freed.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Takes a freed block in, and poisons it. Whoever does so [`pop`](Self::pop)s the oldest after it, down to the
    /// capacity.
    ///
    /// # Safety
    /// The block is a live one, which the caller gives up until it is popped.
    pub unsafe fn push(&mut self, block: Block) {
        // SAFETY: the block is live and has that many bytes.
        unsafe { block.start.cast::<u8>().write_bytes(POISON, block.size) };
        self.held += block.size;
        self.blocks.push_back(block);
    }

    /// The oldest block, if more than `bytes` are held, or any for 0: for the caller to free, with its damage.
    pub fn pop(&mut self, bytes: usize) -> Option<(Block, Option<Damage>)> {
        if self.held <= bytes && bytes > 0 {
            return None;
        }
        let block = self.blocks.pop_front()?;
        self.held -= block.size;
        // SAFETY: it was given up to the quarantine, poisoned, and is not freed yet.
        let damage = unsafe { Damage::find(block) };
        self.damaged += u64::from(damage.is_some());
        Some((block, damage))
    }

    /// The oldest damage among the blocks that are held. It is found once: the block is poisoned again.
    pub fn check(&mut self) -> Option<Damage> {
        // SAFETY: as in `pop`.
        let damage = self.blocks.iter().find_map(|&block| unsafe { Damage::find(block) })?;
        // SAFETY: as in `push`.
        unsafe { damage.block.start.cast::<u8>().write_bytes(POISON, damage.block.size) };
        self.damaged += 1;
        Some(damage)
    }

    /// Forgets all blocks: they are free.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.held = 0;
    }

    /// Takes no more blocks in from now on. Those that are held are the caller's to pop.
    pub fn close(&mut self) {
        self.capacity = 0;
    }
}
