//! A heap within one range of address space. So an offset identifies a block.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use malloc_backend::arena::{Arena, Range};
use malloc_backend::{MIN_ALIGNMENT, MemoryAllocatorBackend};

use crate::{Account, Block, Cache, Damage, Quarantine, Refusal};

pub use malloc_backend::arena::NoArena;

/// Maximum number of bytes in the cache.
const CACHE_BYTES: usize = 16 << 20;

/// The quarantine has at most the size of the region, divided by this number.
const QUARANTINED: usize = 8;

/// A write to a block after the block was freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The offset of the block in the region.
    pub offset: usize,
    /// The size of the block in bytes.
    pub size: usize,
    /// The first damaged byte of the block.
    pub byte: usize,
}

/// Why an allocation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBlock {
    /// A limit is reached, or the region is full.
    Refused(Refusal),
    /// The quarantine freed blocks to make room, and found this damage.
    Damaged(Damaged),
}

/// A heap of one thread. All its blocks lie in one range.
pub struct Region {
    arena: Arena,
    /// A drop need not free the cached blocks: the end or the next reset of the arena frees them.
    cache: Option<Cache>,
    quarantine: RefCell<Quarantine>,
    start: *mut c_void,
    size: usize,
    memory: Arc<Memory>,
}

/// The range of a region and its charged bytes. It may live longer than the region, and may go to another thread.
pub struct Memory {
    range: Arc<Range>,
    account: Arc<Account>,
    /// Requested bytes of all live blocks. Only the region's thread adds bytes.
    live: AtomicUsize,
}

impl Memory {
    /// The start of the range.
    pub fn start(&self) -> *mut c_void {
        self.range.start()
    }

    /// The size of the range in bytes.
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

    /// Returns all memory to the system and uncharges it. The address space stays reserved. Only the region's thread may
    /// call this, after the end of the region.
    ///
    /// # Safety
    /// Nobody needs the contents of the range.
    pub unsafe fn clear(&self) {
        self.account.uncharge(self.live.swap(0, Relaxed));
        // SAFETY: the caller's obligation.
        unsafe { self.range.clear() };
    }

    /// Uncharges the memory. The last owner calls this, on any thread.
    pub fn finalize(&self) {
        self.account.uncharge_remote(self.live.swap(0, Relaxed));
    }
}

impl Region {
    /// Reserves a range of at least `size` bytes and makes a heap in the range. Its live bytes are charged to the account.
    /// With `debug`, the region holds freed blocks back and finds writes to them. Held-back blocks stay charged.
    ///
    /// # Errors
    /// If the backend has no regions, or the system does not provide the address space.
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

    /// The memory of the region, which may live longer than the region.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Allocates a block, counts it, and returns its offset in the range. If there is no room, the region first frees the
    /// blocks in the quarantine.
    ///
    /// # Errors
    /// If a limit is reached, the region has no room, or the quarantine found damage.
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
        // A null block is also outside the range.
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

    /// Requests a block from the cache or the arena. Returns null without a block.
    #[inline]
    fn request(&self, size: usize, alignment: usize) -> *mut c_void {
        let Some(cache) = &self.cache else { return self.arena.allocate(size, alignment) };
        // A cached block has only the minimum alignment, even if it is large: jemalloc spreads blocks over the cache lines.
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
        // The cached blocks may occupy the missing memory, so free them.
        // SAFETY: blocks that the program has freed. The cache forgets them.
        cache.clear(|block| unsafe { self.arena.free(block) });
        self.arena.allocate(size, alignment)
    }

    /// Frees a block. In debug mode, holds the block back and frees the oldest held-back blocks instead.
    ///
    /// # Errors
    /// The first damage among the oldest blocks. The block counts as freed also after an error.
    ///
    /// # Safety
    /// Offset and size belong to a live block of this region. Nothing uses the block afterwards.
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

    /// Frees the oldest held-back blocks until at most `bytes` bytes are held back, or until a damaged block is found.
    fn keep(&self, bytes: usize) -> Result<(), Damaged> {
        let mut quarantine = self.quarantine.borrow_mut();
        while let Some((block, damage)) = quarantine.pop(bytes) {
            // SAFETY: only the quarantine owned the block, and it has just removed the block.
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

    /// Checks all held-back blocks for damage. Each damage is found once.
    ///
    /// # Errors
    /// The damage of the oldest damaged block.
    pub fn check(&self) -> Result<(), Damaged> {
        let damage = self.quarantine.borrow_mut().check();
        damage.map_or(Ok(()), |damage| Err(self.damaged(damage)))
    }

    /// # Safety
    /// The block is live. Nothing uses it afterwards.
    #[inline]
    unsafe fn release(&self, Block { start: block, size, .. }: Block) {
        self.memory.account.uncharge(size);
        self.memory.set_live(self.memory.live().saturating_sub(size));
        // SAFETY: the caller's obligation; the block is a block of the arena.
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

    /// Frees all blocks at once. Returns false if no new heap could be made. Then the region is unusable.
    ///
    /// # Safety
    /// Nothing uses a block afterwards.
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
