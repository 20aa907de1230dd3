//! Compares sequences of requests and frees with a list of the cached blocks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::recorder::SIZES;
use crate::Cache;

const KIB: usize = 1 << 10;
const CAPACITY: usize = 1024 * KIB;

#[derive(Clone, Debug)]
enum Operation {
    Put(usize),
    Take(usize),
    Clear,
    Close,
}

fn operation() -> impl Strategy<Value = Operation> {
    // Few sizes, so that some fit.
    let size = prop_oneof![
        (9..20_usize).prop_map(|pages| pages * SIZES.page),
        (9..260_usize).prop_map(|pages| pages * SIZES.page),
    ];
    prop_oneof![
        30 => size.clone().prop_map(Operation::Put),
        30 => (size, 0..SIZES.page).prop_map(|(size, less)| Operation::Take(size - less)),
        2 => Just(Operation::Clear),
        1 => Just(Operation::Close),
    ]
}

proptest! {
    #[test]
    fn it_hands_out_each_block_once_keeps_to_its_bound_and_gives_all_back(
        operations in vec(operation(), 1..300),
    ) {
        let cache = Cache::new(CAPACITY, SIZES);
        // Usable bytes, by number: higher ones were put later.
        let kept: RefCell<BTreeMap<usize, usize>> = RefCell::default();
        let freed = |block: *mut c_void| assert!(kept.borrow_mut().remove(&block.addr()).is_some());
        let (mut number, mut closed) = (0, false);
        for operation in operations {
            match operation {
                Operation::Put(usable) => {
                    number += 1;
                    kept.borrow_mut().insert(number, usable);
                    cache.put(ptr::without_provenance_mut(number), usable, freed);
                    let has = kept.borrow().contains_key(&number);
                    prop_assert_eq!(has, !closed && usable <= CAPACITY, "the block freed last stays");
                }
                Operation::Take(size) => {
                    let fits = |usable: usize| (size..size + SIZES.page).contains(&usable);
                    let expected = kept.borrow().iter().rev().find(|(_, usable)| fits(**usable)).map(|(block, _)| *block);
                    let taken = cache.take(size).map(<*mut c_void>::addr);
                    prop_assert_eq!(taken, expected);
                    taken.inspect(|block| freed(ptr::without_provenance_mut(*block)));
                }
                Operation::Clear => cache.clear(freed),
                Operation::Close => {
                    cache.close(freed);
                    closed = true;
                }
            }
            if matches!(operation, Operation::Clear | Operation::Close) {
                prop_assert!(kept.borrow().is_empty());
            }
            prop_assert_eq!(cache.is_empty(), kept.borrow().is_empty());
            prop_assert!(kept.borrow().values().sum::<usize>() <= CAPACITY);
            prop_assert!(kept.borrow().len() <= 32);
            prop_assert_eq!(cache.keeps(64 * KIB), !closed);
        }
        cache.clear(freed);
        prop_assert!(kept.borrow().is_empty());
    }
}
