//! Compares sequences of operations on a region with a list of its live blocks.

use std::sync::Arc;

use malloc_backend::MemoryAllocatorBackend::{Default, Jemalloc};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::region::{Damaged, NoArena, NoBlock, Region};
use crate::{Account, POISON, Refusal};

const MIB: usize = 1 << 20;

#[derive(Clone, Debug)]
enum Operation {
    Allocate { size: usize, alignment: usize },
    Free { block: usize },
    Reset,
}

fn operation() -> impl Strategy<Value = Operation> {
    let size = prop_oneof![
        6 => 0..5000_usize,
        // Sizes that the cache keeps.
        4 => 32_000..200_000_usize,
        1 => 0..MIB,
        1 => Just(64 * MIB),
    ];
    prop_oneof![
        20 => (size, 0..14_u32)
            .prop_map(|(size, power)| Operation::Allocate { size, alignment: 1 << power }),
        15 => any::<usize>().prop_map(|block| Operation::Free { block }),
        1 => Just(Operation::Reset),
    ]
}

struct Live {
    offset: usize,
    size: usize,
    fill: u8,
}

fn account(limit: usize) -> Arc<Account> {
    Account::new(Jemalloc, limit as u64, None)
}

proptest! {
    // The next region reuses the arena of jemalloc and its memory.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn blocks_are_aligned_and_do_not_overlap(
        limit in 4 * MIB..40 * MIB,
        operations in vec(operation(), 1..300),
    ) {
        let account = account(limit);
        let mut region = Region::new(Jemalloc, 32 * MIB, account.clone(), false).unwrap();
        let memory = region.memory().clone();
        prop_assert!(memory.size() >= 32 * MIB);
        // SAFETY: so many bytes, which are the region's blocks'.
        let bytes = unsafe { std::slice::from_raw_parts_mut(memory.start().cast::<u8>(), memory.size()) };
        let mut blocks: Vec<Live> = Vec::new();
        for (number, operation) in operations.into_iter().enumerate() {
            let live: usize = blocks.iter().map(|block| block.size).sum();
            match operation {
                Operation::Allocate { size, alignment } => match region.allocate(size, alignment) {
                    Ok(offset) => {
                        prop_assert!(live + size <= limit);
                        prop_assert_eq!((memory.start().addr() + offset) % alignment, 0);
                        prop_assert!(offset + size <= memory.size());
                        let fill = number as u8;
                        bytes[offset..offset + size].fill(fill);
                        blocks.push(Live { offset, size, fill });
                    }
                    Err(NoBlock::Refused(Refusal::Limit)) => prop_assert!(live + size > limit),
                    Err(NoBlock::Refused(Refusal::OutOfMemory)) => prop_assert!(live + size > 8 * MIB, "{live} + {size}"),
                    Err(NoBlock::Damaged(damaged)) => prop_assert!(false, "{damaged:?}"),
                },
                Operation::Free { block } if !blocks.is_empty() => {
                    let Live { offset, size, fill } = blocks.swap_remove(block % blocks.len());
                    prop_assert!(bytes[offset..offset + size].iter().all(|&byte| byte == fill));
                    // SAFETY: a live block.
                    let freed = unsafe { region.free(offset, size) };
                    prop_assert_eq!(freed, Ok(()));
                }
                Operation::Free { .. } => {}
                Operation::Reset => {
                    blocks.clear();
                    // SAFETY: no block is used after.
                    let usable = unsafe { region.reset() };
                    prop_assert!(usable);
                }
            }
            let live: usize = blocks.iter().map(|block| block.size).sum();
            prop_assert_eq!((memory.live(), account.stats().bytes), (live, live as u64));
        }
        // The last written bytes are unchanged, so no blocks overlapped.
        for Live { offset, size, fill } in &blocks {
            prop_assert!(bytes[*offset..offset + size].iter().all(|byte| byte == fill));
        }
        drop(region);
        // The memory stays valid as long as somebody owns it, and counts until its owner drops it.
        for Live { offset, size, fill } in &blocks {
            prop_assert!(bytes[*offset..offset + size].iter().all(|byte| byte == fill));
        }
        memory.finalize();
        prop_assert_eq!((memory.live(), account.stats().bytes), (0, 0));
    }
}

#[test]
fn the_other_backends_have_no_regions_and_the_system_has_no_such_address_space() {
    let error = Region::new(Default, MIB, account(MIB), false).err();
    assert_eq!(error, Some(NoArena::Unsupported(Default)));
    assert_eq!(Region::new(Jemalloc, 1 << 60, account(MIB), false).err(), Some(NoArena::OutOfMemory));
}

#[test]
fn a_region_is_full_when_it_is_full_and_goes_on() {
    let region = Region::new(Jemalloc, 8 * MIB, account(usize::MAX >> 1), false).unwrap();
    let blocks: Vec<_> = std::iter::from_fn(|| region.allocate(100_000, 1).ok()).collect();
    assert!(blocks.len() > 40, "{}", blocks.len());
    let full = Err(NoBlock::Refused(Refusal::OutOfMemory));
    assert_eq!(region.allocate(100_000, 1), full);
    // SAFETY: live blocks.
    unsafe { blocks.iter().for_each(|offset| region.free(*offset, 100_000).unwrap()) };
    // A request of another size. The cached blocks are freed for it.
    let again: Vec<_> = std::iter::from_fn(|| region.allocate(700_000, 1).ok()).collect();
    assert!(again.len() > 5, "{}", again.len());
    // SAFETY: a live block, which is free for a small one.
    unsafe { region.free(again[0], 700_000).unwrap() };
    assert!(region.allocate(100, 32).is_ok());
    assert_eq!(region.allocate(100, 48), full, "no power of two");
}

#[test]
fn memory_that_is_cleared_reads_as_zeros_and_is_not_charged() {
    let account = account(MIB);
    let region = Region::new(Jemalloc, MIB, account.clone(), false).unwrap();
    let memory = region.memory().clone();
    let offset = region.allocate(1000, 1).unwrap();
    // SAFETY: the block that was just allocated, and the memory that nobody needs any more.
    unsafe {
        let start = memory.start().cast::<u8>().add(offset);
        start.write_bytes(1, 1000);
        drop(region);
        assert_eq!((start.read(), account.stats().bytes), (1, 1000));
        memory.clear();
        assert_eq!((start.read(), account.stats().bytes), (0, 0));
    }
}

/// A region in debug mode, and its memory.
fn debugged(account: &Arc<Account>) -> (Region, &'static mut [u8]) {
    let region = Region::new(Jemalloc, 8 * MIB, account.clone(), true).unwrap();
    let memory = region.memory();
    // SAFETY: so many bytes, which are the region's blocks'. No test uses them once the region has gone.
    let bytes = unsafe { std::slice::from_raw_parts_mut(memory.start().cast::<u8>(), memory.size()) };
    (region, bytes)
}

#[test]
fn a_write_after_free_is_found_when_the_block_is_looked_at_or_let_go() {
    let account = account(100 * MIB);
    let (region, bytes) = debugged(&account);
    let [one, other] = [1000, 500].map(|size| region.allocate(size, 1).unwrap());
    // SAFETY: live blocks, each freed once, here as below.
    unsafe {
        region.free(one, 1000).unwrap();
        region.free(other, 500).unwrap();
    }
    assert!(bytes[one..one + 1000].iter().all(|&byte| byte == POISON));
    assert_eq!((region.check(), account.stats().bytes), (Ok(()), 1500));
    bytes[other + 7] = 1;
    bytes[other + 8] = 1;
    let damaged = Err(Damaged { offset: other, size: 500, byte: 7 });
    assert_eq!((region.check(), region.check()), (damaged, Ok(())));
    bytes[one + 999] = 1;
    // The region holds back an eighth of its size.
    let found: Vec<_> = (0..5)
        .filter_map(|_| {
            let block = region.allocate(MIB / 4, 1).unwrap();
            // SAFETY: as above.
            unsafe { region.free(block, MIB / 4) }.err()
        })
        .collect();
    assert_eq!(found, [Damaged { offset: one, size: 1000, byte: 999 }]);
    assert_eq!(account.stats().bytes, MIB as u64);
}

#[test]
fn a_region_gives_up_what_it_holds_back_before_it_refuses_a_block() {
    let account = account(1000);
    let (mut region, bytes) = debugged(&account);
    let free = |region: &Region| {
        let block = region.allocate(600, 1).unwrap();
        // SAFETY: a live block.
        unsafe { region.free(block, 600).unwrap() };
        block
    };
    free(&region);
    let block = region.allocate(401, 1).unwrap();
    assert_eq!(account.stats().bytes, 401);
    // SAFETY: a live block.
    unsafe { region.free(block, 401).unwrap() };
    bytes[block] = 1;
    let damaged = NoBlock::Damaged(Damaged { offset: block, size: 401, byte: 0 });
    assert_eq!(region.allocate(1000, 1), Err(damaged));
    assert_eq!(region.allocate(1001, 1), Err(NoBlock::Refused(Refusal::Limit)));
    let block = free(&region);
    bytes[block] = 1;
    // SAFETY: no block is used after.
    assert!(unsafe { region.reset() });
    assert_eq!((region.check(), account.stats().bytes), (Ok(()), 0));
}
