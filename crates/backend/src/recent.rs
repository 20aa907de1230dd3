//! The larger blocks that were freed last. jemalloc's cache ends at 32 KiB (`TCACHE_MAXCLASS_LIMIT` in 5.3.1), and what
//! is beyond costs it about ten times as much.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

/// Of each size so many blocks at most.
const BLOCKS: usize = 8;

/// Sizes from beyond this one, four to each power of two, which are jemalloc's.
const ABOVE: usize = 32 << 10;
const SIZES: usize = 32;

/// Blocks of one heap of jemalloc's, by their size, for one thread.
pub struct Recent {
    stacks: [Stack; SIZES],
    bytes: Cell<usize>,
    capacity: usize,
}

struct Stack {
    count: Cell<usize>,
    blocks: [Cell<*mut c_void>; BLOCKS],
}

impl Recent {
    /// None yet, and never more than `capacity` bytes of them.
    pub const fn new(capacity: usize) -> Self {
        Self {
            stacks: [const {
                Stack { count: Cell::new(0), blocks: [const { Cell::new(ptr::null_mut()) }; BLOCKS] }
            }; SIZES],
            bytes: Cell::new(0),
            capacity,
        }
    }

    /// Whether no block is kept.
    pub fn is_empty(&self) -> bool {
        self.bytes.get() == 0
    }

    /// Whether blocks of that size are kept.
    #[inline(always)]
    pub fn keeps(size: usize) -> bool {
        size > ABOVE && Self::class(size) < SIZES
    }

    /// The number of a size that is kept: 0 for those up to 40 KiB, 3 for those up to 64 KiB.
    #[inline(always)]
    fn class(size: usize) -> usize {
        let power = (size - 1).ilog2() as usize;
        let quarter = ((size - 1) >> (power - 2)) & 3;
        (power - ABOVE.ilog2() as usize) * 4 + quarter
    }

    /// How large the blocks of a number are.
    #[inline(always)]
    fn size(class: usize) -> usize {
        let power = class / 4 + ABOVE.ilog2() as usize;
        (5 + class % 4) << (power - 2)
    }

    /// A block for `size` bytes, which is one of `keeps`.
    #[inline(always)]
    pub fn take(&self, size: usize) -> Option<*mut c_void> {
        let class = Self::class(size);
        let stack = &self.stacks[class];
        let count = stack.count.get().checked_sub(1)?;
        stack.count.set(count);
        self.bytes.set(self.bytes.get() - Self::size(class));
        Some(stack.blocks[count].get())
    }

    /// Keeps a freed block of one of the sizes, if there is room.
    #[inline(always)]
    pub fn put(&self, block: *mut c_void, usable: usize) -> bool {
        let class = Self::class(usable);
        let stack = &self.stacks[class];
        let count = stack.count.get();
        let bytes = self.bytes.get() + Self::size(class);
        // What is not quite of its size, by an allocator with other ones, would not fit the next request.
        if count == BLOCKS || bytes > self.capacity || usable != Self::size(class) {
            return false;
        }
        stack.blocks[count].set(block);
        stack.count.set(count + 1);
        self.bytes.set(bytes);
        true
    }

    /// Forgets all blocks, after each was given to `free`.
    pub fn clear(&self, free: impl Fn(*mut c_void)) {
        for stack in &self.stacks {
            stack.blocks.iter().take(stack.count.take()).for_each(|block| free(block.get()));
        }
        self.bytes.set(0);
    }
}

#[cfg(test)]
#[test]
fn sizes_are_jemalloc_s() {
    for (class, kib) in [40, 48, 56, 64, 80, 96, 112, 128, 160].into_iter().enumerate() {
        assert_eq!(Recent::size(class), kib << 10);
        assert_eq!(Recent::class(kib << 10), class);
        assert_eq!(Recent::class((kib << 10) + 1), class + 1);
    }
    assert!(!Recent::keeps(ABOVE) && Recent::keeps(ABOVE + 1));
    assert!(Recent::keeps(8 << 20) && !Recent::keeps((8 << 20) + 1));
}
