//! Sequences of operations on a region, against the list of its live blocks.

use std::sync::Arc;

use malloc_backend::MemoryAllocatorBackend::{Default, Jemalloc};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::region::{NoArena, Region};
use crate::{Account, Refusal};

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
        // Those that the cache keeps.
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
    // An arena of jemalloc's is kept for the next one, with its memory.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn blocks_are_aligned_and_do_not_overlap(
        limit in 4 * MIB..40 * MIB,
        operations in vec(operation(), 1..300),
    ) {
        let account = account(limit);
        let mut region = Region::new(Jemalloc, 32 * MIB, account.clone()).unwrap();
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
                    Err(Refusal::Limit) => prop_assert!(live + size > limit),
                    Err(Refusal::OutOfMemory) => prop_assert!(live + size > 8 * MIB, "{live} + {size}"),
                },
                Operation::Free { block } if !blocks.is_empty() => {
                    let Live { offset, size, fill } = blocks.swap_remove(block % blocks.len());
                    prop_assert!(bytes[offset..offset + size].iter().all(|&byte| byte == fill));
                    // SAFETY: a live block.
                    unsafe { region.free(offset, size) };
                }
                Operation::Free { .. } => {}
                Operation::Reset => {
                    blocks.clear();
                    // SAFETY: no block is used after.
                    prop_assert!(unsafe { region.reset() });
                }
            }
            let live: usize = blocks.iter().map(|block| block.size).sum();
            prop_assert_eq!((memory.live(), account.stats().bytes), (live, live as u64));
        }
        // What was written last is there, so no block lay in another.
        for Live { offset, size, fill } in &blocks {
            prop_assert!(bytes[*offset..offset + size].iter().all(|byte| byte == fill));
        }
        drop(region);
        // The memory is there as long as somebody has it, and counts until its owner lets go.
        for Live { offset, size, fill } in &blocks {
            prop_assert!(bytes[*offset..offset + size].iter().all(|byte| byte == fill));
        }
        memory.finalize();
        prop_assert_eq!((memory.live(), account.stats().bytes), (0, 0));
    }
}

#[test]
fn the_other_backends_have_no_regions_and_the_system_has_no_such_address_space() {
    let error = Region::new(Default, MIB, account(MIB)).err();
    assert_eq!(error, Some(NoArena::Unsupported(Default)));
    assert_eq!(Region::new(Jemalloc, 1 << 60, account(MIB)).err(), Some(NoArena::OutOfMemory));
}

#[test]
fn a_region_is_full_when_it_is_full_and_goes_on() {
    let region = Region::new(Jemalloc, 8 * MIB, account(usize::MAX >> 1)).unwrap();
    let blocks: Vec<_> = std::iter::from_fn(|| region.allocate(100_000, 1).ok()).collect();
    assert!(blocks.len() > 40, "{}", blocks.len());
    assert_eq!(region.allocate(100_000, 1), Err(Refusal::OutOfMemory));
    // SAFETY: live blocks.
    unsafe { blocks.iter().for_each(|offset| region.free(*offset, 100_000)) };
    // Of another size: what the cache keeps is given up for it.
    let again: Vec<_> = std::iter::from_fn(|| region.allocate(700_000, 1).ok()).collect();
    assert!(again.len() > 5, "{}", again.len());
}

#[test]
fn memory_that_is_cleared_reads_as_zeros_and_is_not_charged() {
    let account = account(MIB);
    let region = Region::new(Jemalloc, MIB, account.clone()).unwrap();
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
