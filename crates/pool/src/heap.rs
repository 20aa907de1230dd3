//! A pool as its own thread has it: with the freed blocks that are held back, or kept for the next request.

use std::cell::RefCell;
use std::iter;
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync;

use malloc_backend::{Functions, MIN_ALIGNMENT};

use crate::sync::Arc;
use crate::{Account, Block, Cache, Pool, Quarantine, Refusal};

/// How many bytes are kept for the next requests at most.
const CACHE_BYTES: usize = 2 << 20;

/// A heap of one thread, which has its cache and its quarantine to itself. Other threads have the pool:
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
    /// What other threads may have of it.
    pub pool: Arc<Pool>,
    quarantine: Rc<HeapQuarantine>,
    /// For this heap, then for each above it: the quarantines that end with it.
    ends: Vec<Rc<Quarantines>>,
    /// Where a larger block costs the backend more than a small one; a child has its parent's.
    cache: Option<Rc<HeapCache>>,
}

/// Those of a heap and of all below it, of which most have gone again where each request has one.
type Quarantines = RefCell<Vec<Weak<HeapQuarantine>>>;

/// A quarantine of the pool's blocks, which are freed with it.
struct HeapQuarantine {
    quarantine: RefCell<Quarantine>,
    pool: Arc<Pool>,
}

impl HeapQuarantine {
    #[inline]
    fn takes(&self, size: usize) -> bool {
        self.quarantine.borrow().takes(size)
    }

    /// Takes a freed block in, and frees the oldest.
    ///
    /// # Safety
    /// The block is a live one of the pool, counted no more, and the caller gives it up.
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
            // SAFETY: it was given up to the quarantine, which gives it up here.
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

/// A cache of the backend's blocks, which are freed with it.
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
            // SAFETY: a block that nobody else has, with at least so many bytes.
            unsafe { start.cast::<u8>().write_bytes(0, size) };
        }
        Some(Block { start, size, alignment })
    }

    /// # Safety
    /// A live block of the backend's, which the caller gives up.
    unsafe fn put(&self, block: Block) {
        // SAFETY: the caller's obligation, now and when each block was put here.
        unsafe {
            let usable = (self.functions.usable_size)(block.start);
            self.cache.put(block.start, usable, |block| (self.functions.free)(block));
        }
    }

    fn clear(&self) {
        // SAFETY: live blocks of the backend's that were given up, and are forgotten with this.
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
    /// A heap with up to `limit` live bytes. Up to `quarantine` bytes of freed blocks are held back.
    pub fn new(functions: Functions, limit: u64, quarantine: usize) -> Self {
        let account = Account::new(functions.backend, limit, None);
        Self::with(functions, account, quarantine, HeapCache::new(functions).map(Rc::new), &[])
    }

    /// A heap whose bytes are charged to this one too, and which has the same cache.
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

    /// A block, which is counted.
    ///
    /// # Errors
    /// Where a limit is reached, or the backend has no memory.
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

    /// The block with another size, its contents kept, what is new zeroed where that was asked for.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate). Then the old block is as it was.
    ///
    /// # Safety
    /// The block is a live one of this heap, and not borrowed. Once this succeeded it is live no more.
    pub unsafe fn reallocate(&self, old: Block, size: usize, zero: bool) -> Result<Block, Refusal> {
        let Pool { functions, account, .. } = &*self.pool;
        if !account.has_room(size.saturating_sub(old.size)) {
            return Err(Refusal::Limit);
        }
        let alignment = old.alignment;
        // A job that still reads the old block is what the quarantine is for. A `realloc` need not keep an alignment.
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
        // SAFETY: both blocks are live where they are copied, and have as many bytes as are copied, or zeroed.
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

    /// Frees a block, or keeps it in the quarantine or the cache.
    ///
    /// # Safety
    /// The block is a live one of this heap, and the caller gives it up.
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

    /// Bytes of freed blocks that the quarantine holds back.
    pub fn quarantined(&self) -> usize {
        self.quarantine.quarantine.borrow().held()
    }

    /// How many blocks were found to have been written to while they were in quarantine.
    pub fn damaged(&self) -> u64 {
        self.quarantine.quarantine.borrow().damaged()
    }

    /// Frees what the quarantine and the cache keep.
    pub fn flush(&self) {
        self.quarantine.keep(0);
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }

    /// [`flush`](Self::flush), for good: there will be no more requests, of children neither, and a block that is freed
    /// from now on is freed at once. A child's cache is its parent's, and goes on.
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
