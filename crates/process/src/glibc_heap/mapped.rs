//! The large blocks that glibc has mapped, each for itself.

use super::arena::ArenaHeap;
use super::chunks::{FLAGS, IS_MAPPED};
use crate::mapping::Mapping;
use crate::source::{Memory, Source};

/// Large blocks, each with a mapping of its own. All of them are live: a freed one is unmapped at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MappedBlocks {
    /// Their number.
    pub count: u64,
    /// Their physical memory, in bytes.
    pub resident: u64,
}

/// Pages that turn out to begin no block, in a row, before the rest of a mapping is somebody else's.
const MISSES: u64 = 1 << 12;
/// The same over all mappings.
const ALL_MISSES: u64 = 1 << 16;
/// A longer mapping that does not begin with a block is not looked through.
const LONGEST: u64 = 16 << 30;

/// Counts them. The kernel makes one mapping of blocks that lie side by side, and of a block and somebody else's memory.
pub fn blocks(source: &mut Source, mappings: &[Mapping], heaps: &[ArenaHeap]) -> MappedBlocks {
    let page = crate::mapping::page_size();
    let mut found = MappedBlocks::default();
    let mut misses_left = ALL_MISSES;
    let is_heap = |mapping: &Mapping| {
        heaps.iter().any(|heap| (mapping.start..mapping.end).contains(&heap.stretch.begins.start))
    };
    for mapping in mappings.iter().filter(|mapping| mapping.may_be_block() && !is_heap(mapping)) {
        let mut at = mapping.start;
        let mut misses = 0;
        while let Some(present) = source.next_present(at..mapping.end) {
            at = present;
            match source.words(at).and_then(|words| size(words, mapping.end - at, page)) {
                Some(size) => {
                    found.count += 1;
                    found.resident += source.resident(at..at + size);
                    at += size;
                    misses = 0;
                }
                None => {
                    at += page;
                    misses += 1;
                    misses_left = misses_left.saturating_sub(1);
                }
            }
            let is_long = mapping.end - mapping.start > LONGEST && misses > 0;
            if misses > MISSES || misses_left == 0 || is_long {
                break;
            }
        }
    }
    found
}

/// The size of the block with this header at the start of a page.
fn size([before, size]: [u64; 2], room: u64, page: u64) -> Option<u64> {
    let bytes = size & !FLAGS;
    let is_block = before == 0
        && size & FLAGS == IS_MAPPED
        && bytes.is_multiple_of(page)
        && (page..=room).contains(&bytes);
    is_block.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_whole_pages_and_its_flag() {
        const PAGE: u64 = 4096;
        assert_eq!(size([0, 0x21002], 0x21000, PAGE), Some(0x21000));
        for words in [[1, 0x21002], [0, 0x21003], [0, 0x21001], [0, 0x20012], [0, 2], [0, 0x22002], [0, 0]] {
            assert_eq!(size(words, 0x21000, PAGE), None, "{words:x?}");
        }
    }
}
