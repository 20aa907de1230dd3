//! Compares sequences of freed blocks, some of them damaged, with a queue.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Block, Damage, POISON, Quarantine};

const CAPACITY: usize = 4000;

#[derive(Clone, Debug)]
enum Operation {
    Push(usize),
    /// Writes to a byte of a held-back block.
    Damage(usize, usize),
    Check,
    Keep(usize),
    Clear,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (1..1500_usize).prop_map(Operation::Push),
        4 => (any::<usize>(), any::<usize>()).prop_map(|(block, byte)| Operation::Damage(block, byte)),
        2 => Just(Operation::Check),
        1 => (0..CAPACITY).prop_map(Operation::Keep),
        1 => Just(Operation::Keep(0)),
        1 => Just(Operation::Clear),
    ]
}

/// A block and its first damaged byte.
struct Held {
    bytes: Box<[u8]>,
    damage: Option<usize>,
}

proptest! {
    #[test]
    fn it_holds_the_blocks_freed_last_in_order_and_finds_each_damage_once(
        operations in vec(operation(), 1..200),
    ) {
        let mut quarantine = Quarantine::new(CAPACITY);
        let mut model: VecDeque<Held> = VecDeque::new();
        let mut damaged = 0;
        for operation in operations {
            let mut keep = CAPACITY;
            match operation {
                Operation::Push(size) => {
                    prop_assert!(quarantine.takes(size));
                    let mut bytes = vec![1; size].into_boxed_slice();
                    let block = Block { start: bytes.as_mut_ptr().cast(), size, alignment: 1 };
                    // SAFETY: the model keeps the block until it is popped.
                    unsafe { quarantine.push(block) };
                    prop_assert!(bytes.iter().all(|&byte| byte == POISON));
                    model.push_back(Held { bytes, damage: None });
                }
                Operation::Damage(index, byte) if !model.is_empty() => {
                    let index = index % model.len();
                    let held = &mut model[index];
                    let byte = byte % held.bytes.len();
                    held.bytes[byte] = 0;
                    held.damage = Some(held.damage.map_or(byte, |first| first.min(byte)));
                }
                Operation::Damage(..) => {}
                Operation::Check => {
                    let held = model.iter_mut().find(|held| held.damage.is_some());
                    let expected = held.map(|held| (held.bytes.as_ptr(), held.damage.take()));
                    let found = quarantine.check();
                    prop_assert_eq!(
                        found.map(|Damage { block, byte }| (block.start.cast_const().cast(), Some(byte))),
                        expected
                    );
                    damaged += u64::from(found.is_some());
                }
                Operation::Keep(bytes) => keep = bytes,
                Operation::Clear => {
                    quarantine.clear();
                    model.clear();
                }
            }
            while let Some((block, damage)) = quarantine.pop(keep) {
                let held = model.pop_front().unwrap();
                prop_assert_eq!(block.start.cast_const().cast(), held.bytes.as_ptr());
                prop_assert_eq!(block.size, held.bytes.len());
                prop_assert_eq!(damage, held.damage.map(|byte| Damage { block, byte }));
                damaged += u64::from(damage.is_some());
            }
            let held: usize = model.iter().map(|held| held.bytes.len()).sum();
            prop_assert_eq!((quarantine.held(), quarantine.damaged()), (held, damaged));
            prop_assert!(held <= keep && (keep > 0 || model.is_empty()));
        }
    }
}

#[test]
fn it_takes_no_blocks_without_bytes_and_none_once_it_is_closed() {
    let mut quarantine = Quarantine::new(1);
    assert!(quarantine.takes(1) && quarantine.takes(usize::MAX) && !quarantine.takes(0));
    quarantine.close();
    assert!(!quarantine.takes(1));
    assert!(!Quarantine::new(0).takes(1));
}
