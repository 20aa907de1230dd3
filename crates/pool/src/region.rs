//! A heap within one range of address space, so that a block in it is an offset.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use malloc_backend::arena::{Arena, Range};
use malloc_backend::{MIN_ALIGNMENT, MemoryAllocatorBackend};

use crate::{Account, Block, Cache, Damage, Quarantine, Refusal};

pub use malloc_backend::arena::NoArena;

/// How many bytes of freed blocks are kept for the next requests at most.
const CACHE_BYTES: usize = 16 << 20;

/// The part of a region that its quarantine holds at most.
const QUARANTINED: usize = 8;

/// A block that was written to after it was freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The block's, in the region.
    pub offset: usize,
    /// How many bytes it had.
    pub size: usize,
    /// The first of them that was written to.
    pub byte: usize,
}

/// Why there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBlock {
    /// A limit is reached, or the region is full.
    Refused(Refusal),
    /// The quarantine had to make room, and found this.
    Damaged(Damaged),
}

/// A heap of one thread that lies in one range, all of it.
pub struct Region {
    arena: Arena,
    /// Its blocks need not be freed: they go with the arena, or its next reset.
    cache: Option<Cache>,
    quarantine: RefCell<Quarantine>,
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
    /// Reserves a range of at least `size` bytes and makes a heap in it. Its live bytes are charged to the account. With
    /// `debug` it holds freed blocks back, which stay charged, and finds those that are written to.
    ///
    /// # Errors
    /// Where the backend cannot, or the system does not give the address space.
    pub fn new(
        backend: MemoryAllocatorBackend,
        size: usize,
        account: Arc<Account>,
        debug: bool,
    ) -> Result<Self, NoArena> {
        let arena = Arena::of(backend, size)?;
        let range = arena.range();
        let (start, size) = (range.start(), range.size());
        let sizes = backend.functions().ok().and_then(|functions| (functions.uncached)());
        let cache = sizes.map(|sizes| Cache::new(CACHE_BYTES, sizes));
        let memory = Arc::new(Memory { range, account, live: AtomicUsize::new(0) });
        let quarantine = RefCell::new(Quarantine::new(if debug { size / QUARANTINED } else { 0 }));
        Ok(Self { arena, cache, quarantine, start, size, memory })
    }

    /// What others may have of it.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// A block, as its offset in the range, which is counted. The quarantine gives up what it holds before the region
    /// refuses a block.
    ///
    /// # Errors
    /// Where a limit is reached, or the region has no room for it; or where the quarantine found damage.
    #[inline]
    pub fn allocate(&self, size: usize, alignment: usize) -> Result<usize, NoBlock> {
        self.allocate_once(size, alignment).or_else(|refusal| self.allocate_again(size, alignment, refusal))
    }

    #[inline]
    fn allocate_once(&self, size: usize, alignment: usize) -> Result<usize, Refusal> {
        if !self.memory.account.has_room(size) {
            return Err(Refusal::Limit);
        }
        let offset = self.offset(self.request(size, alignment));
        // Null is outside too.
        if offset >= self.size || size > self.size - offset {
            return Err(Refusal::OutOfMemory);
        }
        self.memory.account.charge(size);
        self.memory.set_live(self.memory.live() + size);
        Ok(offset)
    }

    #[cold]
    fn allocate_again(&self, size: usize, alignment: usize, refusal: Refusal) -> Result<usize, NoBlock> {
        if self.quarantine.borrow().held() == 0 {
            return Err(NoBlock::Refused(refusal));
        }
        self.keep(0).map_err(NoBlock::Damaged)?;
        self.allocate_once(size, alignment).map_err(|_| NoBlock::Refused(refusal))
    }

    #[inline]
    fn offset(&self, block: *mut c_void) -> usize {
        block.addr().wrapping_sub(self.start.addr())
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

    /// Frees a block, or holds it back and frees the oldest ones in its stead.
    ///
    /// # Errors
    /// The first damaged one among those. The block is freed in any case.
    ///
    /// # Safety
    /// The offset and the size are those of a live block of this region, which is not used after.
    #[inline]
    pub unsafe fn free(&self, offset: usize, size: usize) -> Result<(), Damaged> {
        // SAFETY: the caller's obligation.
        unsafe {
            let block = Block { start: self.start.byte_add(offset), size, alignment: 1 };
            let mut quarantine = self.quarantine.borrow_mut();
            if !quarantine.takes(size) {
                self.release(block);
                return Ok(());
            }
            quarantine.push(block);
            let capacity = quarantine.capacity();
            drop(quarantine);
            self.keep(capacity)
        }
    }

    /// Frees the oldest blocks that are held back until no more than `bytes` are, or one is damaged.
    fn keep(&self, bytes: usize) -> Result<(), Damaged> {
        let mut quarantine = self.quarantine.borrow_mut();
        while let Some((block, damage)) = quarantine.pop(bytes) {
            // SAFETY: it was given up to the quarantine, which gives it up here.
            unsafe { self.release(block) };
            if let Some(damage) = damage {
                return Err(self.damaged(damage));
            }
        }
        Ok(())
    }

    fn damaged(&self, Damage { block, byte }: Damage) -> Damaged {
        Damaged { offset: self.offset(block.start), size: block.size, byte }
    }

    /// Looks for damage among the blocks that are held back. Each is found once.
    ///
    /// # Errors
    /// The oldest damaged one.
    pub fn check(&self) -> Result<(), Damaged> {
        let damage = self.quarantine.borrow_mut().check();
        damage.map_or(Ok(()), |damage| Err(self.damaged(damage)))
    }

    /// # Safety
    /// The block is a live one, which is not used after.
    #[inline]
    unsafe fn release(&self, Block { start: block, size, .. }: Block) {
        self.memory.account.uncharge(size);
        self.memory.set_live(self.memory.live().saturating_sub(size));
        // SAFETY: the caller's obligation; the block is one of the arena's.
        unsafe {
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
        self.quarantine.borrow_mut().clear();
        self.cache.iter().for_each(|cache| cache.clear(|_| {}));
        // SAFETY: the caller's obligation.
        unsafe { self.arena.reset() }
    }
}
