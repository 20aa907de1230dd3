//! The larger blocks that were freed last, for the next requests. jemalloc's thread cache ends at 32 KiB at the latest
//! with pages of 4 KiB (`TCACHE_MAXCLASS_LIMIT` in 5.3.1): a block beyond that costs it several times as much.
//!
//! Where the next requests are of other sizes, what is kept is of no use, and it parts free pages that would make one
//! room: a full cache of 512 MiB took 10 MiB more with 2 MiB kept, and 35 with 16. So it is kept for as long as one block
//! in five serves a request.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

/// So many blocks at most.
const BLOCKS: usize = 32;

/// Smaller blocks are left to the thread cache.
const ABOVE: usize = 32 << 10;

/// A block that went unused makes the room smaller by this part of it; one that was used makes it larger by all of it.
const UNUSED: usize = 4;

/// Freed blocks of one heap of jemalloc's, for one thread, oldest first.
pub struct Recent {
    blocks: [Cell<(*mut c_void, usize)>; BLOCKS],
    count: Cell<usize>,
    bytes: Cell<usize>,
    /// How many bytes are kept now, at most; the block that was freed last is in any case.
    room: Cell<usize>,
    /// How many bytes are ever kept.
    capacity: usize,
    /// jemalloc's: its larger sizes are whole pages.
    page: usize,
}

impl Recent {
    /// None yet, and never more than `capacity` bytes of them.
    pub fn new(capacity: usize) -> Self {
        Self {
            blocks: [const { Cell::new((ptr::null_mut(), 0)) }; BLOCKS],
            count: Cell::new(0),
            bytes: Cell::new(0),
            room: Cell::new(capacity),
            capacity,
            page: page(),
        }
    }

    /// Whether no block is kept.
    pub fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// Whether blocks of that size are kept: none that would take the place of all others.
    #[inline(always)]
    pub fn keeps(&self, size: usize) -> bool {
        size > ABOVE && size <= self.capacity / 2
    }

    /// A block as jemalloc would have for `size` bytes.
    #[inline(always)]
    pub fn take(&self, size: usize) -> Option<*mut c_void> {
        let fits = size..size + self.page;
        let at = (0..self.count.get()).rev().find(|&at| fits.contains(&self.blocks[at].get().1))?;
        let (block, usable) = self.blocks[at].get();
        self.remove(at, usable);
        self.room.set(self.capacity.min(self.room.get() + usable));
        Some(block)
    }

    /// Keeps a freed block that has room for `usable` bytes, and gives the oldest ones to `free` where there is no room.
    #[inline(always)]
    pub fn put(&self, block: *mut c_void, usable: usize, free: impl Fn(*mut c_void)) {
        if usable > self.capacity {
            return free(block);
        }
        while self.count.get() == BLOCKS || (self.bytes.get() + usable > self.room.get() && !self.is_empty())
        {
            let (oldest, usable) = self.blocks[0].get();
            self.remove(0, usable);
            self.room.set(self.room.get().saturating_sub(usable / UNUSED));
            free(oldest);
        }
        let count = self.count.get();
        self.blocks[count].set((block, usable));
        self.count.set(count + 1);
        self.bytes.set(self.bytes.get() + usable);
    }

    /// Gives all blocks to `free`.
    pub fn clear(&self, free: impl Fn(*mut c_void)) {
        self.bytes.set(0);
        self.blocks.iter().take(self.count.take()).for_each(|block| free(block.get().0));
    }

    #[inline(always)]
    fn remove(&self, at: usize, usable: usize) {
        let last = self.count.get() - 1;
        for place in at..last {
            self.blocks[place].set(self.blocks[place + 1].get());
        }
        self.count.set(last);
        self.bytes.set(self.bytes.get() - usable);
    }
}

#[cfg(all(feature = "jemalloc", not(windows)))]
fn page() -> usize {
    // SAFETY: the key's value has that type.
    unsafe { tikv_jemalloc_ctl::raw::read(b"arenas.page\0") }.unwrap_or(4096)
}

#[cfg(not(all(feature = "jemalloc", not(windows))))]
fn page() -> usize {
    4096
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::cell::RefCell;

    const KIB: usize = 1 << 10;

    /// What was freed, by its number.
    fn put(recent: &Recent, number: usize, usable: usize) -> Vec<usize> {
        let freed = RefCell::new(Vec::new());
        recent
            .put(ptr::without_provenance_mut(number), usable, |block| freed.borrow_mut().push(block.addr()));
        freed.into_inner()
    }

    fn take(recent: &Recent, size: usize) -> Option<usize> {
        recent.take(size).map(<*mut c_void>::addr)
    }

    #[test]
    fn the_last_that_fits_is_taken() {
        let recent = Recent { page: 4 * KIB, ..Recent::new(1024 * KIB) };
        for (number, kib) in [(1, 64), (2, 68), (3, 64), (4, 76), (5, 128)] {
            assert_eq!(put(&recent, number, kib * KIB), []);
        }
        assert_eq!(take(&recent, 64 * KIB), Some(3));
        assert_eq!(take(&recent, 60 * KIB + 1), Some(1));
        assert_eq!(take(&recent, 64 * KIB), None);
        assert_eq!(take(&recent, 68 * KIB), Some(2));
        assert_eq!((take(&recent, 74 * KIB), take(&recent, 128 * KIB)), (Some(4), Some(5)));
        assert!(recent.is_empty());
    }

    #[test]
    fn the_oldest_goes_where_there_is_no_room() {
        let recent = Recent::new(1024 * KIB);
        for number in 1..=16 {
            assert_eq!(put(&recent, number, 64 * KIB), []);
        }
        assert_eq!(put(&recent, 17, 96 * KIB), [1, 2]);
        assert_eq!(put(&recent, 18, 1025 * KIB), [18]);
        recent.clear(|_| {});
        assert!(recent.is_empty());
        for number in 1..=BLOCKS {
            assert_eq!(put(&recent, number, 20 * KIB), []);
        }
        assert_eq!(put(&recent, 33, 0), [1]);
        let freed = Cell::new(0);
        recent.clear(|_| freed.set(freed.get() + 1));
        assert_eq!((freed.get(), recent.is_empty()), (BLOCKS, true));
        assert!(recent.keeps(32 * KIB + 1) && recent.keeps(512 * KIB));
        assert!(!recent.keeps(32 * KIB) && !recent.keeps(512 * KIB + 1));
    }

    #[test]
    fn what_goes_unused_makes_the_room_smaller_and_what_is_used_larger() {
        let recent = Recent { page: 4 * KIB, ..Recent::new(1024 * KIB) };
        for number in 1..=100 {
            put(&recent, number, 64 * KIB);
        }
        // The last one stays.
        assert_eq!((recent.count.get(), recent.room.get()), (1, 0));
        assert_eq!(put(&recent, 101, 128 * KIB), [100]);
        // Enough of one size for that.
        for number in 102..=109 {
            assert_eq!(take(&recent, 128 * KIB), Some(number - 1));
            assert_eq!(put(&recent, number, 128 * KIB), []);
        }
        assert_eq!(recent.room.get(), 1024 * KIB);
        // Half of what is freed serves a request: nothing changes.
        for number in 0..100 {
            put(&recent, 2 * number, 512 * KIB);
            put(&recent, 2 * number + 1, 600 * KIB);
            assert_eq!(take(&recent, 600 * KIB), Some(2 * number + 1));
        }
        assert_eq!(recent.room.get(), 1024 * KIB);
    }
}
