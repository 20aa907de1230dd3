//! Tests the parts of a pool that threads share, in every order of the threads, up to some preemptions.
//!
//!   RUSTFLAGS="--cfg loom" cargo test --release -p malloc-backend-pool --lib --target-dir target/loom

use std::ffi::c_void;
use std::ptr;

use ::loom::model::Builder;
use ::loom::thread;

use super::recorder::{RECORDER, live};
use crate::slots::{Slot, Slots};
use crate::sync::{Arc, AtomicU32, Ordering};
use crate::{Account, Block, Pool};

/// Runs a model and checks that no block is left.
fn model(threads: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        threads();
        assert_eq!(live(), 0);
    });
}

fn pool() -> Arc<Pool> {
    Pool::new(RECORDER, Account::new(RECORDER.backend, u64::MAX, None))
}

fn block(pool: &Pool, size: usize) -> Block {
    let block = pool.request(size, 1, false).unwrap();
    pool.account.open(size);
    block
}

/// The pointer to a slot that a garbage collector has. It can go to another thread.
#[derive(Clone, Copy)]
struct Hint(*const Slot);

// SAFETY: a slot is the pool's, which the slot keeps.
unsafe impl Send for Hint {}

impl Hint {
    fn lend(pool: &Arc<Pool>, block: Block) -> Self {
        Self(ptr::from_ref(Pool::lend(pool, block).unwrap()))
    }

    fn finalize(self) {
        // SAFETY: each model calls this once for a slot.
        unsafe { Slot::finalize(self.0) }
    }
}

/// The heap's thread takes slots while two other threads return slots. No slot is lost, and no slot is taken twice.
#[test]
fn slots_that_are_released_on_other_threads_are_taken_again() {
    model(|| {
        let pool = pool();
        let lend = || Hint::lend(&pool, block(&pool, 10));
        let threads = [lend(), lend()].map(|hint| thread::spawn(move || hint.finalize()));
        let mut lent = vec![lend(), lend()];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        lent.extend([lend(), lend()]);
        let mut indices: Vec<_> = pool.slots.live().map(|(index, _)| index).collect();
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), 4, "a slot is taken twice: {indices:?}");
        assert_eq!(indices[..2], [0, 1], "a slot is lost: {indices:?}");
        lent.into_iter().for_each(Hint::finalize);
    });
}

/// The heap's thread frees a block while its finaliser runs. Exactly one of them frees the block.
#[test]
fn a_block_is_freed_once() {
    model(|| {
        let pool = pool();
        let hint = Hint::lend(&pool, block(&pool, 10));
        let slot = pool.slots.get(0).unwrap();
        let finaliser = thread::spawn(move || hint.finalize());
        if let Some(block) = slot.take() {
            assert_eq!((block.size, block.alignment), (10, 1));
            pool.account.close(block.size);
            // SAFETY: it was taken out of its slot, here.
            unsafe { pool.release(block) };
        }
        finaliser.join().unwrap();
        let stats = pool.account.stats();
        assert_eq!((stats.bytes, stats.buffers, stats.peak), (0, 0, 10));
    });
}

/// A reused slot works like a new slot, whichever thread freed its previous block.
#[test]
fn a_slot_serves_the_next_block() {
    model(|| {
        let pool = pool();
        let first = Hint::lend(&pool, block(&pool, 10));
        let finaliser = thread::spawn(move || first.finalize());
        let second = Hint::lend(&pool, block(&pool, 20));
        let lent: Vec<_> = pool.slots.live().filter(|(_, block)| block.size == 20).collect();
        assert_eq!(lent.len(), 1);
        finaliser.join().unwrap();
        assert_eq!(pool.slots.live().count(), 1);
        second.finalize();
        assert_eq!((pool.slots.live().count(), pool.account.stats().bytes), (0, 0));
    });
}

/// The heap is dropped while finalisers run on two threads. The last finaliser drops the pool.
#[test]
fn the_last_block_takes_the_pool_with_it() {
    model(|| {
        let pool = pool();
        let hints = [10, 20].map(|size| Hint::lend(&pool, block(&pool, size)));
        let threads = hints.map(|hint| thread::spawn(move || hint.finalize()));
        drop(pool);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Two threads free a child's blocks while the child's thread allocates. The child and its parent count every block, and
/// no limit is exceeded.
#[test]
fn remote_frees_are_all_counted() {
    model(|| {
        let parent = Account::new(RECORDER.backend, 35, None);
        let child = Account::new(RECORDER.backend, u64::MAX, Some(parent.clone()));
        [10, 20].into_iter().for_each(|bytes| child.open(bytes));
        let threads = [10, 20].map(|bytes| {
            let child = child.clone();
            thread::spawn(move || child.close_remote(bytes))
        });
        let has_room = child.has_room(30);
        if has_room {
            child.open(30);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for account in [&parent, &child] {
            let stats = account.stats();
            assert_eq!(stats.bytes, if has_room { 30 } else { 0 });
            assert_eq!(stats.buffers, u64::from(has_room));
            assert!(stats.peak <= 35, "{stats:?}");
        }
    });
}

/// A third thread reads the counters. It never reads more than the limit.
#[test]
fn other_threads_see_no_more_than_the_limit() {
    model(|| {
        let account = Account::new(RECORDER.backend, 10, None);
        account.open(10);
        let remote = {
            let account = account.clone();
            thread::spawn(move || account.close_remote(10))
        };
        let reader = {
            let account = account.clone();
            thread::spawn(move || account.stats())
        };
        if account.has_room(10) {
            account.open(10);
        }
        let stats = reader.join().unwrap();
        assert!(stats.bytes <= 10 && stats.buffers <= 1, "{stats:?}");
        remote.join().unwrap();
    });
}

/// Another thread reaches a slot only through its index, as a thread does that walks the slots.
#[test]
fn a_block_is_published_with_its_measures() {
    model(|| {
        let slots = Arc::new(Slots::new());
        let slot = slots.acquire().unwrap();
        let done = Arc::new(AtomicU32::new(0));
        let reader = {
            let (slots, done) = (slots.clone(), done.clone());
            thread::spawn(move || {
                if let Some(block) = slots.get(0).unwrap().take() {
                    assert_eq!((block.size, block.alignment), (10, 16));
                    done.store(1, Ordering::Relaxed);
                }
            })
        };
        slot.put(Block { start: ptr::without_provenance_mut::<c_void>(64), size: 10, alignment: 16 });
        reader.join().unwrap();
        assert_eq!(slot.take().is_none(), done.load(Ordering::Relaxed) == 1);
    });
}
