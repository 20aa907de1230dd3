//! The stacks that a thread has seen lately, by their frames as they are on the stack.
//!
//! Most samples have a stack that was sampled before. To read its JavaScript functions again would take most of a sample's time.

use crate::walk::{Raw, RawKind};

const STACKS: usize = 512;

/// The stacks of a thread.
pub struct Memo {
    /// The key of a stack, and its index in the table of stacks.
    seen: Box<[(u64, u32); STACKS]>,
}

impl Default for Memo {
    fn default() -> Self {
        Self { seen: Box::new([(0, 0); STACKS]) }
    }
}

/// What a stack's entry in the table depends on: the frames, and `rest`. Two stacks have the same key with a probability of
/// 2⁻⁶⁴.
pub fn key(raw: &[Raw], rest: [u32; 4]) -> u64 {
    const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
    const SECOND: u64 = 0xd1b5_4a32_d192_ed03;
    let mix = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product >> 64) as u64 ^ product as u64
    };
    let [a, b, c, d] = rest.map(u64::from);
    let start = mix((a << 32 | b) ^ FIRST, (c << 32 | d) ^ SECOND);
    let all = raw.iter().fold(start, |key, frame| {
        let kind = match frame.kind {
            RawKind::Native => 0,
            RawKind::JavaScript => 1,
            RawKind::Gap => 2,
        };
        mix(key ^ frame.pc as u64 ^ FIRST, frame.function as u64 ^ kind << 62 ^ SECOND)
    });
    mix(all ^ raw.len() as u64, FIRST)
}

impl Memo {
    /// The index of the stack with that key; `None` if the thread has not seen it lately.
    pub fn get(&self, key: u64) -> Option<u32> {
        let (seen, index) = self.seen[key as usize % STACKS];
        (seen == key && index != 0).then_some(index)
    }

    /// Keeps the index.
    pub fn set(&mut self, key: u64, index: u32) {
        self.seen[key as usize % STACKS] = (key, index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn frame(pc: usize, function: usize, kind: RawKind) -> Raw {
        Raw { pc, function, kind, ..Raw::default() }
    }

    #[test]
    fn a_stack_is_known_until_another_has_its_place() {
        let mut memo = Memo::default();
        assert_eq!(memo.get(0), None);
        memo.set(7, 70);
        assert_eq!(memo.get(7), Some(70));
        assert_eq!(memo.get(7 + STACKS as u64), None);
        memo.set(7 + STACKS as u64, 71);
        assert_eq!((memo.get(7), memo.get(7 + STACKS as u64)), (None, Some(71)));
    }

    #[test]
    fn whatever_differs_makes_another_key() {
        let mut keys = HashSet::new();
        let frames = |count: usize| {
            (0..count).map(|at| frame(0x40_0000 + at * 16, 0, RawKind::Native)).collect::<Vec<_>>()
        };
        for count in 0..100 {
            assert!(keys.insert(key(&frames(count), [1, 2, 3, 4])));
        }
        for at in 0..4 {
            let mut rest = [1, 2, 3, 4];
            rest[at] += 1;
            assert!(keys.insert(key(&frames(10), rest)));
        }
        for at in 0..10 {
            for changed in [
                frame(0x40_0001 + at * 16, 0, RawKind::Native),
                frame(0x40_0000 + at * 16, 8, RawKind::Native),
                frame(0x40_0000 + at * 16, 0, RawKind::JavaScript),
                frame(0x40_0000 + at * 16, 0, RawKind::Gap),
            ] {
                let mut stack = frames(10);
                stack[at] = changed;
                assert!(keys.insert(key(&stack, [1, 2, 3, 4])));
            }
            let mut turned = frames(10);
            turned.rotate_left(at);
            assert!(at == 0 || keys.insert(key(&turned, [1, 2, 3, 4])));
        }
        // The frame pointer is another one at each call.
        let mut moved = frames(10);
        moved[3].fp = 5;
        assert!(keys.contains(&key(&moved, [1, 2, 3, 4])));
    }
}
