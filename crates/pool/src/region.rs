//! A heap within one range of address space, so that a block in it is an offset.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use malloc_backend::arena::{Arena, Range};
use malloc_backend::{MIN_ALIGNMENT, MemoryAllocatorBackend};

use crate::{Account, Cache, Refusal};

pub use malloc_backend::arena::NoArena;

/// How many bytes of freed blocks are kept for the next requests at most.
const CACHE_BYTES: usize = 16 << 20;

/// A heap of one thread that lies in one range, all of it.
pub struct Region {
    arena: Arena,
    /// Its blocks need not be freed: they go with the arena, or its next reset.
    cache: Option<Cache>,
    start: *mut c_void,
    size: usize,
    memory: Arc<Memory>,
}

/// A region's range, and what of it is charged. It may outlive the region, and go to another thread.
pub struct Memory {
    range: Arc<Range>,
    account: Arc<Account>,
    /// Bytes in live blocks, as they were asked for. Only the region's thread adds any.
    live: AtomicUsize,
}

impl Memory {
    /// Where it begins.
    pub fn start(&self) -> *mut c_void {
        self.range.start()
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.range.size()
    }

    /// Bytes in live blocks.
    #[inline]
    pub fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    #[inline]
    fn set_live(&self, bytes: usize) {
        self.live.store(bytes, Relaxed);
    }

    /// Gives all of the memory back to the system, and charges none of it any more. The address space stays. On the
    /// region's thread, once the region has gone.
    ///
    /// # Safety
    /// Nobody needs what is in it.
    pub unsafe fn clear(&self) {
        self.account.uncharge(self.live.swap(0, Relaxed));
        // SAFETY: the caller's obligation.
        unsafe { self.range.clear() };
    }

    /// Charges none of the memory any more: its last owner has let go of it, on any thread.
    pub fn finalize(&self) {
        self.account.uncharge_remote(self.live.swap(0, Relaxed));
    }
}

impl Region {
    /// Reserves a range of at least `size` bytes and makes a heap in it. Its live bytes are charged to the account.
    ///
    /// # Errors
    /// Where the backend cannot, or the system does not give the address space.
    pub fn new(backend: MemoryAllocatorBackend, size: usize, account: Arc<Account>) -> Result<Self, NoArena> {
        let arena = Arena::of(backend, size)?;
        let range = arena.range();
        let (start, size) = (range.start(), range.size());
        let sizes = backend.functions().ok().and_then(|functions| (functions.uncached)());
        let cache = sizes.map(|sizes| Cache::new(CACHE_BYTES, sizes));
        let memory = Arc::new(Memory { range, account, live: AtomicUsize::new(0) });
        Ok(Self { arena, cache, start, size, memory })
    }

    /// What others may have of it.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// A block, as its offset in the range, which is counted.
    ///
    /// # Errors
    /// Where a limit is reached, or the region has no room for it.
    #[inline]
    pub fn allocate(&self, size: usize, alignment: usize) -> Result<usize, Refusal> {
        if !self.memory.account.has_room(size) {
            return Err(Refusal::Limit);
        }
        let offset = self.request(size, alignment).addr().wrapping_sub(self.start.addr());
        // Null is outside too.
        if offset >= self.size || size > self.size - offset {
            return Err(Refusal::OutOfMemory);
        }
        self.memory.account.charge(size);
        self.memory.set_live(self.memory.live() + size);
        Ok(offset)
    }

    /// A block, or null.
    #[inline]
    fn request(&self, size: usize, alignment: usize) -> *mut c_void {
        let Some(cache) = &self.cache else { return self.arena.allocate(size, alignment) };
        // Even a large block is aligned no better than was asked for: jemalloc spreads them over the cache's lines.
        if cache.keeps(size)
            && alignment <= MIN_ALIGNMENT
            && let Some(block) = cache.take(size)
        {
            return block;
        }
        let block = self.arena.allocate(size, alignment);
        if !block.is_null() || cache.is_empty() {
            return block;
        }
        // What is kept may be what is missing.
        // SAFETY: blocks that were freed, and are forgotten with this.
        cache.clear(|block| unsafe { self.arena.free(block) });
        self.arena.allocate(size, alignment)
    }

    /// Frees a block.
    ///
    /// # Safety
    /// The offset and the size are those of a live block of this region, which is not used after.
    #[inline]
    pub unsafe fn free(&self, offset: usize, size: usize) {
        self.memory.account.uncharge(size);
        self.memory.set_live(self.memory.live().saturating_sub(size));
        // SAFETY: the caller's obligation; the block is one of the arena's.
        unsafe {
            let block = self.start.byte_add(offset);
            let Some(cache) = &self.cache else { return self.arena.free(block) };
            let usable = self.arena.usable_size(block);
            if cache.keeps(usable) {
                cache.put(block, usable, |block| self.arena.free(block));
            } else {
                self.arena.free(block);
            }
        }
    }

    /// Frees all blocks at once. False where the heap could not be made anew, and the region is of no use any more.
    ///
    /// # Safety
    /// No block is used after.
    #[must_use]
    pub unsafe fn reset(&mut self) -> bool {
        self.memory.account.uncharge(self.memory.live());
        self.memory.set_live(0);
        self.cache.iter().for_each(|cache| cache.clear(|_| {}));
        // SAFETY: the caller's obligation.
        unsafe { self.arena.reset() }
    }
}
