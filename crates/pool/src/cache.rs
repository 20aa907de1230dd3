//! Keeps the larger blocks that were freed last, for the next requests. Larger blocks have sizes for which the backend has
//! no thread cache ([`Uncached`]).
//!
//! If the next requests have other sizes, a cached block is useless. It also separates free pages that could otherwise form
//! one large run. An LRU cache of 512 MiB took 10 MiB more with a cache of 2 MiB, and 35 MiB more with a cache of 16 MiB.
//! So the room of the cache shrinks unless one block in five serves a request.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

use malloc_backend::Uncached;

/// Maximum number of cached blocks.
const BLOCKS: usize = 32;

/// An unused block shrinks the room by its size divided by this number. A used block enlarges the room by its size.
const UNUSED: usize = 4;

/// Freed blocks of one heap and one thread, oldest first. A drop forgets the blocks and does not free them.
///
/// Threads cannot share a cache, so it needs no atomics and no loom test:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<malloc_backend_pool::Cache>();
/// ```
pub struct Cache {
    blocks: [Cell<(*mut c_void, usize)>; BLOCKS],
    count: Cell<usize>,
    bytes: Cell<usize>,
    /// The current maximum of cached bytes. The block that was freed last is always cached.
    room: Cell<usize>,
    /// The highest possible `room`.
    capacity: Cell<usize>,
    sizes: Uncached,
}

impl Cache {
    /// Makes an empty cache of at most `capacity` bytes.
    pub fn new(capacity: usize, sizes: Uncached) -> Self {
        Self {
            blocks: [const { Cell::new((ptr::null_mut(), 0)) }; BLOCKS],
            count: Cell::new(0),
            bytes: Cell::new(0),
            room: Cell::new(capacity),
            capacity: Cell::new(capacity),
            sizes,
        }
    }

    /// Whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.count.get() == 0
    }

    /// Whether blocks of this size are cached. A block of more than half of the capacity would displace too many others.
    #[inline(always)]
    pub fn keeps(&self, size: usize) -> bool {
        size > self.sizes.above && size <= self.capacity.get() / 2
    }

    /// Takes out a block of the size that the backend would return for `size` bytes.
    #[inline(always)]
    pub fn take(&self, size: usize) -> Option<*mut c_void> {
        let fits = size..size + self.sizes.page;
        let at = (0..self.count.get()).rev().find(|&at| fits.contains(&self.blocks[at].get().1))?;
        let (block, usable) = self.blocks[at].get();
        self.remove(at, usable);
        self.room.set(self.capacity.get().min(self.room.get() + usable));
        Some(block)
    }

    /// Caches a freed block of `usable` bytes. If there is no room, passes the oldest blocks to `free`.
    #[inline(always)]
    pub fn put(&self, block: *mut c_void, usable: usize, free: impl Fn(*mut c_void)) {
        if usable > self.capacity.get() {
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

    /// Passes all blocks to `free`.
    pub fn clear(&self, free: impl Fn(*mut c_void)) {
        self.bytes.set(0);
        self.blocks.iter().take(self.count.take()).for_each(|block| free(block.get().0));
    }

    /// Passes all blocks to `free`, and caches no block from now on.
    pub fn close(&self, free: impl Fn(*mut c_void)) {
        self.capacity.set(0);
        self.room.set(0);
        self.clear(free);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const KIB: usize = 1 << 10;

    fn cache() -> Cache {
        Cache::new(1024 * KIB, Uncached { above: 32 * KIB, page: 4 * KIB })
    }

    /// Returns the numbers of the blocks that were freed.
    fn put(cache: &Cache, number: usize, usable: usize) -> Vec<usize> {
        let freed = RefCell::new(Vec::new());
        cache.put(ptr::without_provenance_mut(number), usable, |block| freed.borrow_mut().push(block.addr()));
        freed.into_inner()
    }

    fn take(cache: &Cache, size: usize) -> Option<usize> {
        cache.take(size).map(<*mut c_void>::addr)
    }

    #[test]
    fn the_last_that_fits_is_taken() {
        let cache = cache();
        for (number, kib) in [(1, 64), (2, 68), (3, 64), (4, 76), (5, 128)] {
            assert_eq!(put(&cache, number, kib * KIB), []);
        }
        assert_eq!(take(&cache, 64 * KIB), Some(3));
        assert_eq!(take(&cache, 60 * KIB + 1), Some(1));
        assert_eq!(take(&cache, 64 * KIB), None);
        assert_eq!(take(&cache, 68 * KIB), Some(2));
        assert_eq!((take(&cache, 74 * KIB), take(&cache, 128 * KIB)), (Some(4), Some(5)));
        assert!(cache.is_empty());
    }

    #[test]
    fn the_oldest_goes_where_there_is_no_room() {
        let cache = cache();
        for number in 1..=16 {
            assert_eq!(put(&cache, number, 64 * KIB), []);
        }
        assert_eq!(put(&cache, 17, 96 * KIB), [1, 2]);
        assert_eq!(put(&cache, 18, 1025 * KIB), [18]);
        cache.clear(|_| {});
        assert!(cache.is_empty());
        for number in 1..=BLOCKS {
            assert_eq!(put(&cache, number, 20 * KIB), []);
        }
        assert_eq!(put(&cache, 33, 0), [1]);
        let freed = Cell::new(0);
        cache.clear(|_| freed.set(freed.get() + 1));
        assert_eq!((freed.get(), cache.is_empty()), (BLOCKS, true));
        assert!(cache.keeps(32 * KIB + 1) && cache.keeps(512 * KIB));
        assert!(!cache.keeps(32 * KIB) && !cache.keeps(512 * KIB + 1));
    }

    #[test]
    fn what_goes_unused_makes_the_room_smaller_and_what_is_used_larger() {
        let cache = cache();
        for number in 1..=100 {
            put(&cache, number, 64 * KIB);
        }
        // The last block stays.
        assert_eq!((cache.count.get(), cache.room.get()), (1, 0));
        assert_eq!(put(&cache, 101, 128 * KIB), [100]);
        // Enough blocks of one size enlarge the room.
        for number in 102..=109 {
            assert_eq!(take(&cache, 128 * KIB), Some(number - 1));
            assert_eq!(put(&cache, number, 128 * KIB), []);
        }
        assert_eq!(cache.room.get(), 1024 * KIB);
        // If half of the freed blocks serve a request, nothing changes.
        for number in 0..100 {
            put(&cache, 2 * number, 512 * KIB);
            put(&cache, 2 * number + 1, 600 * KIB);
            assert_eq!(take(&cache, 600 * KIB), Some(2 * number + 1));
        }
        assert_eq!(cache.room.get(), 1024 * KIB);
    }
}
