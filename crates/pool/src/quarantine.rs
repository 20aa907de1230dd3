//! Holds freed blocks back. A job that still reads such a block reads poison, and not the data of another buffer. A job that
//! writes to such a block is detected.

use std::collections::VecDeque;

use crate::Block;

/// The byte that fills a freed block.
pub const POISON: u8 = 0xdb;

/// The blocks of one thread that were freed last, oldest first, up to a number of bytes. A drop forgets the blocks and does
/// not free them.
pub struct Quarantine {
    capacity: usize,
    held: usize,
    blocks: VecDeque<Block>,
    damaged: u64,
}

/// A write to a block after the block was freed.
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
        // SAFETY: the caller's obligation. A job that still writes to the block races with this read. To find such a job
        // is the purpose, so the read is volatile: the compiler must not assume a value.
        let byte = (0..block.size).find(|&byte| unsafe { start.add(byte).read_volatile() } != POISON)?;
        Some(Self { block, byte })
    }
}

impl Quarantine {
    /// Makes a quarantine of up to `capacity` bytes. 0 means no quarantine.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, held: 0, blocks: VecDeque::new(), damaged: 0 }
    }

    /// Whether a freed block of this size goes into the quarantine. Empty blocks do not: no write to them is possible, and
    /// their number would have no limit.
    #[inline]
    pub fn takes(&self, size: usize) -> bool {
        self.capacity > 0 && size > 0
    }

    /// The maximum number of bytes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The current number of bytes.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Number of blocks with a write after they were freed.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Adds a freed block and poisons it. The caller must then [`pop`](Self::pop) the oldest blocks, down to the capacity.
    ///
    /// # Safety
    /// The block is live. The caller does not use it until it is popped.
    pub unsafe fn push(&mut self, block: Block) {
        // SAFETY: the block is live and has that many bytes.
        unsafe { block.start.cast::<u8>().write_bytes(POISON, block.size) };
        self.held += block.size;
        self.blocks.push_back(block);
    }

    /// Removes the oldest block if the quarantine has more than `bytes` bytes (for 0: if it has any block). Returns the
    /// block, which the caller must free, and its damage.
    pub fn pop(&mut self, bytes: usize) -> Option<(Block, Option<Damage>)> {
        if self.held <= bytes && bytes > 0 {
            return None;
        }
        let block = self.blocks.pop_front()?;
        self.held -= block.size;
        // SAFETY: the quarantine owns the block and poisoned it. The block is not freed yet.
        let damage = unsafe { Damage::find(block) };
        self.damaged += u64::from(damage.is_some());
        Some((block, damage))
    }

    /// Finds the oldest damage in the quarantine. Each damage is found once, because the block is poisoned again.
    pub fn check(&mut self) -> Option<Damage> {
        // SAFETY: as in `pop`.
        let damage = self.blocks.iter().find_map(|&block| unsafe { Damage::find(block) })?;
        // SAFETY: as in `push`.
        unsafe { damage.block.start.cast::<u8>().write_bytes(POISON, damage.block.size) };
        self.damaged += 1;
        Some(damage)
    }

    /// Forgets all blocks. They are freed elsewhere.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.held = 0;
    }

    /// Accepts no more blocks. The caller must pop the remaining blocks.
    pub fn close(&mut self) {
        self.capacity = 0;
    }
}
