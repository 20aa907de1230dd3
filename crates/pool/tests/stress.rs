//! Some threads have heaps, other threads run the finalisers of their blocks, and another thread reads the counters. To run
//! this test under ThreadSanitizer:
//!
//!   RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std -p malloc-backend-pool --test stress \
//!     --target x86_64-unknown-linux-gnu --target-dir target/tsan

use std::ptr;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_pool::slots::Slot;
use malloc_backend_pool::{Block, Heap, Pool, everywhere};

const ROUNDS: usize = 20_000;
const HEAPS: usize = 3;
const FINALISERS: usize = 3;
const LIMIT: u64 = 64 << 20;

/// The pointer to a slot that a garbage collector has.
struct Hint(*const Slot);

// SAFETY: the slot stays until its finaliser was called.
unsafe impl Send for Hint {}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// # Safety
/// The block is live, and the caller's.
unsafe fn fill(block: Block, byte: u8) {
    // SAFETY: the caller's obligation.
    unsafe { block.start.cast::<u8>().write_bytes(byte, block.size) };
}

fn run(backend: MemoryAllocatorBackend, seed: usize, finalisers: &[Sender<Hint>]) {
    let mut random = Random(seed as u64);
    let functions = backend.functions().expect("it was asked for");
    let root = Heap::new(functions, LIMIT, 0);
    let child = root.child(LIMIT / 8, 1 << 20);
    for round in 0..ROUNDS {
        let heap = if round % 3 == 0 { &root } else { &child };
        let size = if random.below(20) == 0 { random.below(200_000) } else { random.below(2000) };
        let Ok(block) = heap.allocate(size, 1 << random.below(8), false) else {
            // The finalisers have not caught up yet.
            thread::yield_now();
            continue;
        };
        // SAFETY: a new block.
        unsafe { fill(block, round as u8) };
        let slot = Pool::lend(&heap.pool, block).expect("there are few");
        let send = || finalisers[round % FINALISERS].send(Hint(ptr::from_ref(slot))).expect("they wait");
        let free = || {
            if let Some(block) = slot.take() {
                // SAFETY: it was taken out of its slot, here. The slot serves no other block: this thread gives them out.
                unsafe { heap.free(block) };
            }
        };
        match random.below(3) {
            // Three cases: the block is collected; the block is freed and its finaliser runs later; the block is freed while
            // its finaliser may run.
            0 => send(),
            1 => {
                free();
                send();
            }
            _ => {
                send();
                free();
            }
        }
        if round % 64 == 0 {
            let stats = root.pool.account.stats();
            assert!(stats.bytes <= LIMIT && stats.peak <= LIMIT, "{stats:?}");
        }
    }
    assert_eq!(child.damaged(), 0);
    // The heaps are dropped before the finalisers of their blocks run.
}

fn stress(backend: MemoryAllocatorBackend) {
    thread::scope(|scope| {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..FINALISERS).map(|_| channel::<Hint>()).unzip();
        for hints in receivers {
            scope.spawn(move || {
                for Hint(slot) in hints {
                    // SAFETY: each slot is sent once.
                    unsafe { Slot::finalize(slot) };
                }
            });
        }
        let heaps: Vec<_> = (0..HEAPS)
            .map(|seed| {
                let senders = senders.clone();
                scope.spawn(move || run(backend, seed, &senders))
            })
            .collect();
        while !heaps.iter().all(thread::ScopedJoinHandle::is_finished) {
            let (bytes, _) = everywhere(backend);
            assert!(bytes <= HEAPS as u64 * LIMIT, "{bytes}");
            thread::yield_now();
        }
    });
    assert_eq!(everywhere(backend), (0, 0));
}

#[test]
fn threads_free_one_anothers_blocks_of_the_c_library() {
    stress(MemoryAllocatorBackend::Default);
}

#[test]
#[cfg(feature = "jemalloc")]
fn threads_free_one_anothers_blocks_of_jemalloc() {
    stress(MemoryAllocatorBackend::Jemalloc);
}
