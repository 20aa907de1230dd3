//! Compares sequences of operations on nested heaps with a model of each heap. The backend records its blocks.

use std::collections::VecDeque;
use std::ptr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::recorder::{RECORDER, fail, is_live, live};
use crate::slots::Slot;
use crate::{Block, Heap, POISON, Pool, Refusal, Stats};

/// The heaps, beginning at the root. Each heap is the parent of the next heap.
const LEVELS: usize = 3;

#[derive(Clone, Debug)]
enum Operation {
    Allocate {
        size: usize,
        alignment: usize,
        zero: bool,
    },
    Reallocate {
        buffer: usize,
        size: usize,
        zero: bool,
    },
    Free {
        buffer: usize,
    },
    /// The garbage collector collects a buffer that was not freed.
    Collect {
        buffer: usize,
    },
    /// The finaliser of a freed buffer runs.
    Finalize {
        slot: usize,
    },
    /// Something writes to a block in the quarantine.
    Damage {
        block: usize,
    },
    OutOfMemory(bool),
    Flush,
}

fn operation() -> impl Strategy<Value = Operation> {
    let (index, zero) = (0..1000_usize, any::<bool>());
    let size = prop_oneof![
        4 => 0..300_usize,
        // Sizes that the cache keeps.
        3 => (33..40_usize).prop_map(|kib| kib << 10),
        1 => 0..200_000_usize,
    ];
    let alignment = prop_oneof![4 => Just(1_usize), 1 => (0..13_u32).prop_map(|power| 1 << power)];
    prop_oneof![
        12 => (size.clone(), alignment, zero)
            .prop_map(|(size, alignment, zero)| Operation::Allocate { size, alignment, zero }),
        4 => (index.clone(), size, zero)
            .prop_map(|(buffer, size, zero)| Operation::Reallocate { buffer, size, zero }),
        8 => index.clone().prop_map(|buffer| Operation::Free { buffer }),
        2 => index.clone().prop_map(|buffer| Operation::Collect { buffer }),
        4 => index.clone().prop_map(|slot| Operation::Finalize { slot }),
        2 => index.prop_map(|block| Operation::Damage { block }),
        1 => any::<bool>().prop_map(Operation::OutOfMemory),
        1 => Just(Operation::Flush),
    ]
}

struct Buffer {
    level: usize,
    slot: *const Slot,
    block: Block,
    /// The value of its bytes.
    fill: u8,
}

/// # Safety
/// The block is live.
unsafe fn bytes<'block>(block: Block) -> &'block mut [u8] {
    // SAFETY: the caller's obligation; nobody else has the block.
    unsafe { std::slice::from_raw_parts_mut(block.start.cast(), block.size) }
}

/// The quarantine of a heap.
#[derive(Default)]
struct Held {
    blocks: VecDeque<(Block, bool)>,
    damaged: u64,
}

impl Held {
    fn bytes(&self) -> usize {
        self.blocks.iter().map(|(block, _)| block.size).sum()
    }

    fn keep(&mut self, bytes: usize) {
        while self.bytes() > bytes {
            let (_, damaged) = self.blocks.pop_front().unwrap();
            self.damaged += u64::from(damaged);
        }
    }
}

proptest! {
    #[test]
    fn heaps_keep_to_their_limits_and_lose_no_block(
        limits in [100_000..400_000_u64, 100_000..400_000_u64, 100_000..400_000_u64],
        capacities in [prop_oneof![Just(0), 1..100_000_usize], prop_oneof![Just(0), 1..100_000_usize],
            prop_oneof![Just(0), 1..100_000_usize]],
        operations in vec((0..LEVELS, operation()), 1..150),
    ) {
        fail(false);
        let mut heaps = vec![Heap::new(RECORDER, limits[0], capacities[0])];
        for level in 1..LEVELS {
            heaps.push(heaps[level - 1].child(limits[level], capacities[level]));
        }
        let mut buffers: Vec<Buffer> = Vec::new();
        let mut freed: Vec<*const Slot> = Vec::new();
        let mut held: [Held; LEVELS] = Default::default();
        let mut model = [Stats::default(); LEVELS];
        let (mut fails, mut fill) = (false, 0_u8);
        for (at, operation) in operations {
            let has_room = |level: usize, more: usize| {
                (0..=level).all(|level| model[level].bytes + more as u64 <= limits[level])
            };
            fill = fill.wrapping_add(1).max(1);
            match operation {
                Operation::Allocate { size, alignment, zero } => {
                    let block = match heaps[at].allocate(size, alignment, zero) {
                        Ok(block) => block,
                        Err(refusal) => {
                            let room = has_room(at, size);
                            prop_assert_eq!(refusal, if room { Refusal::OutOfMemory } else { Refusal::Limit });
                            prop_assert!(!room || fails);
                            continue;
                        }
                    };
                    prop_assert!(has_room(at, size));
                    prop_assert_eq!((block.size, block.start.addr() % alignment), (size, 0));
                    prop_assert!(is_live(block.start));
                    // SAFETY: a new block.
                    let contents = unsafe { bytes(block) };
                    prop_assert!(!zero || contents.iter().all(|&byte| byte == 0));
                    contents.fill(fill);
                    let slot = ptr::from_ref(Pool::lend(&heaps[at].pool, block).unwrap());
                    buffers.push(Buffer { level: at, slot, block, fill });
                    for stats in &mut model[..=at] {
                        stats.bytes += size as u64;
                        stats.total += size as u64;
                        stats.allocations += 1;
                        stats.buffers += 1;
                    }
                }
                Operation::Reallocate { buffer, size, zero } if !buffers.is_empty() => {
                    let index = buffer % buffers.len();
                    let Buffer { level, slot, block, fill: old } = buffers[index];
                    // SAFETY: the slot of a live buffer, and its block, which is out of it.
                    let (slot, result) = unsafe {
                        let taken = (*slot).take().unwrap();
                        assert_eq!(taken, block);
                        (&*slot, heaps[level].reallocate(block, size, zero))
                    };
                    let room = has_room(level, size.saturating_sub(block.size));
                    let new = match result {
                        Ok(new) => new,
                        Err(refusal) => {
                            prop_assert_eq!(refusal, if room { Refusal::OutOfMemory } else { Refusal::Limit });
                            prop_assert!(!room || fails);
                            slot.put(block);
                            continue;
                        }
                    };
                    prop_assert!(room);
                    prop_assert_eq!((new.size, new.start.addr() % block.alignment), (size, 0));
                    // SAFETY: a new block.
                    let contents = unsafe { bytes(new) };
                    let kept = size.min(block.size);
                    prop_assert!(contents[..kept].iter().all(|&byte| byte == old));
                    prop_assert!(!zero || contents[kept..].iter().all(|&byte| byte == 0));
                    contents.fill(old);
                    if capacities[level] > 0 && block.size > 0 {
                        held[level].blocks.push_back((block, false));
                        held[level].keep(capacities[level]);
                    }
                    freed.push(slot);
                    let slot = ptr::from_ref(Pool::lend(&heaps[level].pool, new).unwrap());
                    buffers[index] = Buffer { level, slot, block: new, fill: old };
                    for stats in &mut model[..=level] {
                        stats.bytes = stats.bytes + size as u64 - block.size as u64;
                        stats.total += size.saturating_sub(block.size) as u64;
                        stats.allocations += 1;
                    }
                }
                Operation::Free { buffer } | Operation::Collect { buffer } if !buffers.is_empty() => {
                    let Buffer { level, slot, block, fill } = buffers.swap_remove(buffer % buffers.len());
                    // SAFETY: a live buffer, which is one no more.
                    unsafe {
                        assert!(bytes(block).iter().all(|&byte| byte == fill));
                        if let Operation::Free { .. } = operation {
                            assert_eq!((*slot).take(), Some(block));
                            heaps[level].free(block);
                            freed.push(slot);
                            if capacities[level] > 0 && block.size > 0 {
                                held[level].blocks.push_back((block, false));
                                held[level].keep(capacities[level]);
                            }
                        } else {
                            Slot::finalize(slot);
                        }
                    }
                    for stats in &mut model[..=level] {
                        stats.bytes -= block.size as u64;
                        stats.buffers -= 1;
                    }
                }
                Operation::Finalize { slot } if !freed.is_empty() => {
                    let slot = freed.swap_remove(slot % freed.len());
                    // SAFETY: the slot of a buffer that has gone.
                    unsafe { Slot::finalize(slot) };
                }
                Operation::Damage { block } if !held[at].blocks.is_empty() => {
                    let index = block % held[at].blocks.len();
                    let (block, damaged) = &mut held[at].blocks[index];
                    // SAFETY: a block that is held back.
                    unsafe { bytes(*block)[0] = 0 };
                    *damaged = true;
                }
                Operation::OutOfMemory(now) => {
                    fails = now;
                    fail(now);
                }
                Operation::Flush => {
                    heaps[at].flush();
                    held[at].keep(0);
                }
                _ => {}
            }
            for (level, heap) in heaps.iter().enumerate() {
                let stats = &mut model[level];
                stats.peak = stats.peak.max(stats.bytes);
                prop_assert_eq!(heap.pool.account.stats(), *stats);
                prop_assert_eq!((heap.quarantined(), heap.damaged()), (held[level].bytes(), held[level].damaged));
                for (block, damaged) in &held[level].blocks {
                    // SAFETY: a block that is held back.
                    let contents = unsafe { bytes(*block) };
                    prop_assert!(is_live(block.start) && contents[usize::from(*damaged)..].iter().all(|&byte| byte == POISON));
                }
                let live: usize = heap.pool.slots.live().map(|(_, block)| block.size).sum();
                let own: usize = buffers.iter().filter(|each| each.level == level).map(|each| each.block.size).sum();
                prop_assert_eq!(live, own);
            }
        }
        fail(false);
        // Heaps may be dropped before their buffers.
        drop(heaps);
        for slot in buffers.iter().map(|buffer| buffer.slot).chain(freed) {
            // SAFETY: each slot's only finaliser.
            unsafe { Slot::finalize(slot) };
        }
        prop_assert_eq!(live(), 0);
    }
}

fn allocate(heap: &Heap, size: usize) -> Block {
    heap.allocate(size, 1, false).unwrap()
}

/// # Safety
/// The block is a live one of the heap.
unsafe fn free(heap: &Heap, block: Block) {
    // SAFETY: the caller's obligation.
    unsafe { heap.free(block) };
}

#[test]
fn a_closed_heap_keeps_nothing_nor_do_those_below_it() {
    let root = Heap::new(RECORDER, u64::MAX, 1000);
    let child = root.child(u64::MAX, 1000);
    let grandchild = child.child(u64::MAX, 1000);
    let all = [&root, &child, &grandchild];
    // SAFETY: each block is freed once.
    unsafe { all.into_iter().for_each(|heap| free(heap, allocate(heap, 100))) };
    assert_eq!(all.map(Heap::quarantined), [100; 3]);
    child.close();
    assert_eq!(all.map(Heap::quarantined), [100, 0, 0]);
    // SAFETY: as above.
    unsafe { all.into_iter().for_each(|heap| free(heap, allocate(heap, 100))) };
    assert_eq!(all.map(Heap::quarantined), [200, 0, 0]);
    root.close();
    assert_eq!(all.map(Heap::quarantined), [0; 3]);
    // SAFETY: as above.
    unsafe { free(&root, allocate(&root, 100)) };
    assert_eq!(root.quarantined(), 0);
}

#[test]
fn a_large_block_that_was_freed_serves_the_next_request_of_the_family() {
    let root = Heap::new(RECORDER, u64::MAX, 0);
    let child = root.child(u64::MAX, 0);
    let before = live();
    let block = allocate(&root, 100 << 10);
    // SAFETY: each block is freed once.
    unsafe { free(&root, block) };
    assert!(is_live(block.start));
    assert_eq!(allocate(&child, 99 << 10).start, block.start);
    // SAFETY: as above.
    unsafe { free(&child, Block { size: 99 << 10, ..block }) };
    // The cache stays open when a child ends, and is closed when the root ends.
    child.close();
    assert!(is_live(block.start));
    root.flush();
    assert!(!is_live(block.start));
    let block = allocate(&child, 100 << 10);
    root.close();
    // SAFETY: as above.
    unsafe { free(&child, block) };
    assert_eq!(live(), before);
}

#[test]
fn a_borrowed_block_is_counted_and_not_freed() {
    let heap = Heap::new(RECORDER, u64::MAX, 1000);
    let mut memory = [1_u8; 10];
    let block = Block { start: memory.as_mut_ptr().cast(), size: 10, alignment: Block::BORROWED };
    heap.pool.account.open(10);
    // SAFETY: the heap does not look into a block that it does not own.
    unsafe { heap.free(block) };
    assert_eq!((memory, heap.quarantined(), heap.pool.account.stats().bytes), ([1; 10], 0, 0));
}

#[test]
fn a_block_whose_buffer_did_not_come_to_be_was_no_allocation() {
    let heap = Heap::new(RECORDER, u64::MAX, 0);
    let before = live();
    let block = allocate(&heap, 10);
    let slot = Pool::lend(&heap.pool, block).unwrap();
    // SAFETY: nobody has the slot.
    unsafe {
        assert_eq!(Pool::take_back(&heap.pool, slot), Some(block));
        heap.pool.cancel(block);
    }
    let stats = heap.pool.account.stats();
    assert_eq!((live(), stats), (before, Stats { peak: 10, ..Stats::default() }));
}
