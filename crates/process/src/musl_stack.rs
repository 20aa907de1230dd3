//! The stacks of threads of musl.
//!
//! musl asks for a stack without the mark that one is meant (MAP_STACK). Where other memory of the program lies above it,
//! the kernel makes one mapping of both. But musl writes down where a stack ends: in the thread's own structure, which is at
//! its top (`struct pthread`, src/internal/pthread_impl.h).

use std::path::Path;

use crate::loader::is_musl_libc;
use crate::mapping::{Mapping, page_size};
use crate::source::{Memory, Source};

/// What is read for one stack at the most. Only the part in physical memory is read, which ends soon: a mapping of hundreds
/// of megabytes behind a guard begins with a stack of a few.
const READ: u64 = 16 << 20;

/// Divides the mappings that begin with a stack of musl's, if the process runs on musl and its memory may be read.
pub fn divide(pid: u32, mappings: Vec<Mapping>) -> Vec<Mapping> {
    if !mappings.iter().any(|mapping| is_musl_libc(Path::new(&mapping.name))) {
        return mappings;
    }
    let Ok(mut source) = Source::open(pid, page_size(), u64::MAX) else { return mappings };
    let mut divided: Vec<Mapping> = Vec::with_capacity(mappings.len());
    for mapping in mappings {
        let guard = divided.last().filter(|below| below.is_guard() && below.end == mapping.start);
        let top =
            guard.filter(|_| mapping.may_be_block()).and_then(|guard| top(&mut source, guard, &mapping));
        match top {
            Some(top) => {
                let rss = source.resident(mapping.start..top).min(mapping.rss);
                let rest = Mapping { start: top, rss: mapping.rss - rss, ..mapping.clone() };
                divided.push(Mapping { end: top, rss, huge: 0, swap: 0, is_noted_stack: true, ..mapping });
                divided.extend(Some(rest).filter(|rest| rest.start < rest.end));
            }
            None => divided.push(mapping),
        }
    }
    divided
}

/// The bytes of `map_base`, `map_size`, `stack`, `stack_size` and `guard_size`, which follow one another.
const NOTE: usize = 5 * 8;

/// Where the stack above the guard ends, if the mapping begins with one.
fn top(source: &mut Source, guard: &Mapping, mapping: &Mapping) -> Option<u64> {
    let page = page_size();
    let mut at = mapping.start;
    // The last page of a stretch in physical memory, and the next: the note may lie in both.
    let mut bytes = Vec::new();
    while let Some(present) = source.next_present(at..mapping.end.min(mapping.start + READ)) {
        if present != at {
            bytes.clear();
        }
        bytes.drain(..bytes.len().saturating_sub(NOTE - 8));
        let kept = bytes.len();
        bytes.resize(kept + page as usize, 0);
        source.bytes(present, &mut bytes[kept..])?;
        let noted = |words: &[u8]| noted(words, guard.end - guard.start, mapping);
        let found = bytes.windows(NOTE).step_by(8).find_map(noted);
        if found.is_some() {
            return found;
        }
        at = present + page;
    }
    None
}

/// Where the stack ends, if that is what the words say.
fn noted(words: &[u8], guard: u64, mapping: &Mapping) -> Option<u64> {
    let (words, _) = words.as_chunks::<8>();
    let [base, size, stack, stack_size, guard_size] = words.first_chunk()?.map(u64::from_ne_bytes);
    let end = base.checked_add(size)?;
    let is_noted = guard_size == guard
        && base.checked_add(guard)? == mapping.start
        && (mapping.start..=end).contains(&stack)
        && stack.checked_sub(stack_size)? >= mapping.start
        && end <= mapping.end;
    is_noted.then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: u64 = 8192;
    const START: u64 = 0x7f00_0000_2000;

    fn found(words: [u64; 5]) -> Option<u64> {
        let mapping = Mapping { start: START, end: START + (64 << 20), ..Mapping::default() };
        noted(&words.map(u64::to_ne_bytes).concat(), GUARD, &mapping)
    }

    #[test]
    fn a_note_names_the_guard_and_lies_in_the_mapping() {
        let size = GUARD + (4 << 20);
        let good = [START - GUARD, size, START + (4 << 20) - 0x480, (4 << 20) - 0x480, GUARD];
        assert_eq!(found(good), Some(START + (4 << 20)));
        let others = [(0, START), (1, 65 << 20), (1, u64::MAX), (2, START - 8), (3, 5 << 20), (4, 4096)];
        for (index, word) in others {
            let mut words = good;
            words[index] = word;
            assert_eq!(found(words), None, "{words:x?}");
        }
    }
}
