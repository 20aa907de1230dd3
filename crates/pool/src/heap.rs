//! The heap of one thread: a pool with a quarantine and a cache.

use std::cell::RefCell;
use std::iter;
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync;

use malloc_backend::{Functions, MIN_ALIGNMENT};

use crate::sync::Arc;
use crate::{Account, Block, Cache, Pool, Quarantine, Refusal};

/// Maximum number of bytes in the cache.
const CACHE_BYTES: usize = 2 << 20;

/// A heap of one thread. Other threads cannot use its cache and its quarantine, but they share the pool:
///
/// ```compile_fail,E0277
/// fn sent<T: Send>() {}
/// sent::<malloc_backend_pool::Heap>();
/// ```
///
/// ```
/// fn shared<T: Send + Sync>() {}
/// shared::<malloc_backend_pool::Pool>();
/// ```
pub struct Heap {
    /// The part that other threads may use.
    pub pool: Arc<Pool>,
    quarantine: Rc<HeapQuarantine>,
    /// For this heap, and then for each of its parents: the quarantines that end when the heap ends.
    ends: Vec<Rc<Quarantines>>,
    /// Exists if a larger block costs the backend more than a small block. A child shares the cache of its parent.
    cache: Option<Rc<HeapCache>>,
}

/// The quarantines of a heap and of all its children. If each request has a child, most of them are gone already.
type Quarantines = RefCell<Vec<Weak<HeapQuarantine>>>;

/// A quarantine of the pool's blocks. A drop frees the blocks.
struct HeapQuarantine {
    quarantine: RefCell<Quarantine>,
    pool: Arc<Pool>,
}

impl HeapQuarantine {
    #[inline]
    fn takes(&self, size: usize) -> bool {
        self.quarantine.borrow().takes(size)
    }

    /// Holds a freed block back, and frees the oldest blocks.
    ///
    /// # Safety
    /// The block is a live block of the pool and is not counted any more. The caller does not use it afterwards.
    unsafe fn put(&self, block: Block) {
        // SAFETY: the caller's obligation.
        unsafe { self.quarantine.borrow_mut().push(block) };
        let capacity = self.quarantine.borrow().capacity();
        self.keep(capacity);
    }

    /// Frees the oldest blocks until no more than `bytes` are held.
    fn keep(&self, bytes: usize) {
        let mut quarantine = self.quarantine.borrow_mut();
        while let Some((block, _)) = quarantine.pop(bytes) {
            // SAFETY: only the quarantine owned the block, and it has just removed the block.
            unsafe { self.pool.release(block) };
        }
    }

    fn close(&self) {
        self.quarantine.borrow_mut().close();
        self.keep(0);
    }
}

impl Drop for HeapQuarantine {
    fn drop(&mut self) {
        self.keep(0);
    }
}

/// A cache of the backend's blocks. A drop frees the blocks.
struct HeapCache {
    cache: Cache,
    functions: Functions,
}

impl HeapCache {
    fn new(functions: Functions) -> Option<Self> {
        let sizes = (functions.uncached)()?;
        Some(Self { cache: Cache::new(CACHE_BYTES, sizes), functions })
    }

    #[inline]
    fn keeps(&self, size: usize, alignment: usize) -> bool {
        self.cache.keeps(size) && alignment <= MIN_ALIGNMENT
    }

    #[inline]
    fn take(&self, size: usize, alignment: usize, zero: bool) -> Option<Block> {
        if !self.keeps(size, alignment) {
            return None;
        }
        let start = self.cache.take(size)?;
        if zero {
            // SAFETY: a block that nobody else uses, with at least `size` bytes.
            unsafe { start.cast::<u8>().write_bytes(0, size) };
        }
        Some(Block { start, size, alignment })
    }

    /// # Safety
    /// The block is a live block of the backend. The caller does not use it afterwards.
    unsafe fn put(&self, block: Block) {
        // SAFETY: the caller's obligation, for this block and for each block that was put before.
        unsafe {
            let usable = (self.functions.usable_size)(block.start);
            self.cache.put(block.start, usable, |block| (self.functions.free)(block));
        }
    }

    fn clear(&self) {
        // SAFETY: live blocks of the backend that nobody uses. The cache forgets them.
        self.cache.clear(|block| unsafe { (self.functions.free)(block) });
    }

    fn close(&self) {
        // SAFETY: as in `clear`.
        self.cache.close(|block| unsafe { (self.functions.free)(block) });
    }
}

impl Drop for HeapCache {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Heap {
    /// Makes a heap with a limit of live bytes. Its quarantine holds back up to `quarantine` bytes of freed blocks.
    pub fn new(functions: Functions, limit: u64, quarantine: usize) -> Self {
        let account = Account::new(functions.backend, limit, None);
        Self::with(functions, account, quarantine, HeapCache::new(functions).map(Rc::new), &[])
    }

    /// Makes a child. Its bytes are also charged to this heap, and it shares the cache.
    pub fn child(&self, limit: u64, quarantine: usize) -> Self {
        let functions = self.pool.functions;
        let account = Account::new(functions.backend, limit, Some(self.pool.account.clone()));
        Self::with(functions, account, quarantine, self.cache.clone(), &self.ends)
    }

    fn with(
        functions: Functions,
        account: sync::Arc<Account>,
        capacity: usize,
        cache: Option<Rc<HeapCache>>,
        above: &[Rc<Quarantines>],
    ) -> Self {
        let pool = Pool::new(functions, account);
        let quarantine = RefCell::new(Quarantine::new(capacity));
        let quarantine = Rc::new(HeapQuarantine { quarantine, pool: pool.clone() });
        let ends: Vec<_> = iter::once(Rc::default()).chain(above.iter().cloned()).collect();
        if capacity > 0 {
            for quarantines in &ends {
                let mut quarantines = quarantines.borrow_mut();
                if quarantines.len() == quarantines.capacity() {
                    quarantines.retain(|each| each.strong_count() > 0);
                }
                quarantines.push(Rc::downgrade(&quarantine));
            }
        }
        Self { pool, quarantine, ends, cache }
    }

    /// Allocates a block and counts it.
    ///
    /// # Errors
    /// If a limit is reached, or the backend has no memory.
    #[inline]
    pub fn allocate(&self, size: usize, alignment: usize, zero: bool) -> Result<Block, Refusal> {
        if !self.pool.account.has_room(size) {
            return Err(Refusal::Limit);
        }
        let kept = self.cache.as_ref().and_then(|cache| cache.take(size, alignment, zero));
        let block = match kept {
            Some(block) => block,
            None => self.pool.request(size, alignment, zero).ok_or(Refusal::OutOfMemory)?,
        };
        self.pool.account.open(size);
        Ok(block)
    }

    /// Changes the size of a block and keeps its contents. With `zero`, new bytes are zeroed.
    ///
    /// # Errors
    /// The errors of [`allocate`](Self::allocate). Then the old block is unchanged.
    ///
    /// # Safety
    /// The block is a live block of this heap, and not borrowed. After a success, the old block is freed.
    pub unsafe fn reallocate(&self, old: Block, size: usize, zero: bool) -> Result<Block, Refusal> {
        let Pool { functions, account, .. } = &*self.pool;
        if !account.has_room(size.saturating_sub(old.size)) {
            return Err(Refusal::Limit);
        }
        let alignment = old.alignment;
        // With a quarantine, the old block must be held back, because a job may still read it. `realloc` does not keep an
        // alignment above the minimum.
        let moves = self.quarantine.takes(old.size) || alignment > MIN_ALIGNMENT;
        let start = if moves {
            self.pool.request(size, alignment, false).map_or(ptr::null_mut(), |block| block.start)
        } else {
            // SAFETY: the caller's obligation.
            unsafe { (functions.realloc)(old.start, size) }
        };
        if start.is_null() {
            return Err(Refusal::OutOfMemory);
        }
        account.resize(old.size, size);
        // SAFETY: both blocks are live during the copy, and are large enough for the copied and zeroed bytes.
        unsafe {
            if moves {
                start.cast::<u8>().copy_from_nonoverlapping(old.start.cast(), old.size.min(size));
                if self.quarantine.takes(old.size) {
                    self.quarantine.put(old);
                } else {
                    self.pool.release(old);
                }
            }
            if zero && size > old.size {
                start.cast::<u8>().add(old.size).write_bytes(0, size - old.size);
            }
        }
        Ok(Block { start, size, alignment })
    }

    /// Frees a block, or puts it into the quarantine or the cache.
    ///
    /// # Safety
    /// The block is a live block of this heap. The caller does not use it afterwards.
    #[inline]
    pub unsafe fn free(&self, block: Block) {
        self.pool.account.close(block.size);
        // SAFETY: the caller's obligation.
        unsafe {
            if block.is_borrowed() {
                self.pool.release(block);
            } else if self.quarantine.takes(block.size) {
                self.quarantine.put(block);
            } else if let Some(cache) = &self.cache
                && cache.keeps(block.size, block.alignment)
            {
                cache.put(block);
            } else {
                self.pool.release(block);
            }
        }
    }

    /// Bytes in the quarantine.
    pub fn quarantined(&self) -> usize {
        self.quarantine.quarantine.borrow().held()
    }

    /// Number of blocks to which something wrote while they were in the quarantine.
    pub fn damaged(&self) -> u64 {
        self.quarantine.quarantine.borrow().damaged()
    }

    /// Frees all blocks in the quarantine and in the cache.
    pub fn flush(&self) {
        self.quarantine.keep(0);
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }

    /// Empties the quarantines of this heap and of its children. From now on, a freed block is freed at once. Closes the
    /// cache only if this heap is the root: a child's cache is its parent's. Nothing is allocated afterwards.
    pub fn close(&self) {
        if let [own, ..] = &*self.ends {
            for quarantine in own.take().iter().filter_map(Weak::upgrade) {
                quarantine.close();
            }
        }
        if let Some(cache) = self.cache.as_ref().filter(|_| self.pool.account.is_root()) {
            cache.close();
        }
    }
}
