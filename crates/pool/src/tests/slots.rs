//! Tests slots on one thread. `loom.rs` tests them on several threads.

use std::collections::HashSet;
use std::ptr;

use crate::Block;
use crate::slots::Slots;

fn block(number: usize) -> Block {
    Block { start: ptr::without_provenance_mut(number), size: number * 2, alignment: 16 }
}

#[test]
fn slots_are_numbered_stay_where_they_are_and_are_used_again() {
    let slots = Slots::new();
    // Over several chunks.
    let first: Vec<_> = (0..1000).map(|_| slots.acquire().unwrap()).collect();
    for (index, slot) in first.iter().enumerate() {
        assert_eq!(slot.index() as usize, index);
        assert!(ptr::eq(*slot, slots.get(slot.index()).unwrap()));
    }
    let places: HashSet<_> = first.iter().map(|slot| ptr::from_ref(*slot)).collect();
    assert_eq!(places.len(), 1000);
    first.iter().for_each(|slot| slots.release(slot));
    let again: HashSet<_> = (0..1000).map(|_| ptr::from_ref(slots.acquire().unwrap())).collect();
    assert_eq!(places, again);
    assert_eq!(slots.acquire().unwrap().index(), 1000);
}

#[test]
fn an_index_that_was_never_used_is_no_slot() {
    let slots = Slots::new();
    assert!(slots.get(0).is_none() && slots.get(u32::MAX).is_none());
    slots.acquire();
    assert!(slots.get(0).is_some() && slots.get(1000).is_none() && slots.get(u32::MAX).is_none());
    assert_eq!(slots.live().count(), 0);
}

#[test]
fn a_slot_has_its_block_until_that_is_taken() {
    let slots = Slots::new();
    let (one, other) = (slots.acquire().unwrap(), slots.acquire().unwrap());
    assert_eq!((one.block(), one.take()), (None, None));
    one.put(block(1));
    other.put(block(2));
    assert_eq!(one.block(), Some(block(1)));
    assert_eq!(slots.live().collect::<Vec<_>>(), [(0, block(1)), (1, block(2))]);
    assert_eq!((one.take(), one.take(), one.block()), (Some(block(1)), None, None));
    assert_eq!(slots.live().collect::<Vec<_>>(), [(1, block(2))]);
}
