//! Where the chunks of an arena begin, as glibc's own structures say.

use std::ops::Range;

use super::chunks::{FLAGS, Stretch, UNIT};
use crate::mapping::Mapping;
use crate::source::Source;

/// The most that a heap has, and what its start is a multiple of (`HEAP_MAX_SIZE`).
const HEAP: u64 = 64 << 20;
/// `sizeof (heap_info)` before 2.35 and since.
const HEAP_INFO: [u64; 2] = [32, 48];
/// `sizeof (struct malloc_state)`.
const MALLOC_STATE: u64 = 2200;
/// Where in it the top chunk is named.
const TOP: u64 = 96;
/// Where in it the bins are, of two words each.
const BINS: u64 = 112;
/// Where in it the next arena is named.
const NEXT: u64 = 2160;
/// The bin of the chunks that nobody has sorted yet.
const UNSORTED: u64 = 1;
/// The bin of the chunks of 768 KiB and more.
const LARGEST: u64 = 126;
/// Free chunks that are taken from the bins at the most.
const FREE_CHUNKS: usize = 1 << 14;
/// The C library's data has no more than that.
const DATA: u64 = 1 << 20;

/// A heap of an arena that is not the main one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArenaHeap {
    pub stretch: Stretch,
    /// It holds the arena's own structure: each arena has one of these.
    pub is_first: bool,
}

/// The heaps in a mapping. Some that lie side by side may be one mapping.
pub fn heaps_in(source: &mut Source, mapping: Range<u64>) -> Vec<ArenaHeap> {
    let first = mapping.start.next_multiple_of(HEAP);
    let starts = (0..).map(|number| first + number * HEAP).take_while(|start| *start < mapping.end);
    // (A reserve of terabytes holds none, and is not looked through.)
    let heaps = starts.take(1 << 16).filter_map(|start| heap(source.words(start)?, start, mapping.end));
    heaps.collect()
}

/// The heap with these first words, if it is one: its arena, the arena's heap before it, its size and how much of it has
/// ever been open.
fn heap([arena, previous, size, opened]: [u64; 4], start: u64, end: u64) -> Option<ArenaHeap> {
    const PAGE: u64 = 4096;
    let info = arena % HEAP;
    let is_heap = HEAP_INFO.contains(&info)
        && previous.is_multiple_of(HEAP)
        && size.is_multiple_of(PAGE)
        && (PAGE..=opened).contains(&size)
        && opened <= HEAP
        && start + size <= end;
    let is_first = arena - info == start;
    // The one in front of the first is none.
    if !is_heap || is_first != (previous == 0) {
        return None;
    }
    let own = if is_first { info + MALLOC_STATE } else { info };
    let begins = start + own.next_multiple_of(UNIT)..start + size;
    Some(ArenaHeap {
        stretch: Stretch { end: begins.end, begins, synchronised: true, main: false },
        is_first,
    })
}

/// The large free chunks of the main arena.
pub struct MainArena {
    /// In the order of their addresses. The top is the last.
    pub free: Vec<Range<u64>>,
}

impl MainArena {
    /// Looks for the arena in the C library's data: it names the chunk with which the heap ends.
    pub fn find(source: &mut Source, mappings: &[Mapping], libc: &str, heap: &Range<u64>) -> Option<Self> {
        let data = mappings.iter().find(|mapping| {
            mapping.name == libc && mapping.permissions == "rw-p" && mapping.end - mapping.start <= DATA
        })?;
        let mut bytes = vec![0; (data.end - data.start) as usize];
        source.bytes(data.start, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        let arena = words.iter().zip(0..).find_map(|(word, index)| {
            let top = u64::from_ne_bytes(*word);
            let arena = (data.start + index * 8).checked_sub(TOP)?;
            (is_chunk(source, top, heap)? == heap.end && is_arena(source, arena, heap)).then_some(arena)
        })?;
        let [top] = source.words(arena + TOP)?;
        let mut free = Vec::new();
        for bin in [UNSORTED, LARGEST] {
            free.extend(chunks_in(source, arena, bin, heap));
        }
        free.push(top..heap.end);
        free.sort_by_key(|chunk| chunk.start);
        Some(Self { free })
    }
}

/// The end of the chunk there, if that can be one of the heap.
fn is_chunk(source: &mut Source, at: u64, heap: &Range<u64>) -> Option<u64> {
    if !heap.contains(&at) || !at.is_multiple_of(UNIT) {
        return None;
    }
    let [_, size] = source.words(at)?;
    let end = at.checked_add(size & !FLAGS)?;
    (end > at && end <= heap.end).then_some(end)
}

/// An empty bin names itself, any other a chunk; and there is a next arena, if only the same.
fn is_arena(source: &mut Source, arena: u64, heap: &Range<u64>) -> bool {
    let itself = arena + BINS - UNIT;
    let words = source.words::<2>(arena + BINS);
    let next = source.words::<1>(arena + NEXT);
    words.is_some_and(|bin| bin.iter().all(|chunk| *chunk == itself || heap.contains(chunk)))
        && next.is_some_and(|[next]| next == arena || HEAP_INFO.contains(&(next % HEAP)))
}

/// The free chunks in a bin that are large.
fn chunks_in(source: &mut Source, arena: u64, bin: u64, heap: &Range<u64>) -> Vec<Range<u64>> {
    const LARGE: u64 = 768 << 10;
    let itself = arena + BINS + (bin - 1) * 16 - UNIT;
    let mut found = Vec::new();
    let mut at = itself;
    for _ in 0..FREE_CHUNKS {
        // The link to the next one is behind the header.
        let Some([next]) = source.words(at + UNIT) else { break };
        let Some(end) = is_chunk(source, next, heap) else { break };
        // The chunk behind it says that it is free, and how large.
        let behind = source.words::<2>(end);
        if behind.is_some_and(|[previous, size]| size & 1 == 0 && previous == end - next)
            && end - next >= LARGE
        {
            found.push(next..end);
        }
        at = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0x7f00_0400_0000;
    const OTHER: u64 = 0x7f00_0800_0000;

    #[test]
    fn the_first_chunk_is_behind_the_arena_in_each_layout() {
        // As glibc 2.31 and 2.36 have it.
        for (info, first) in [(32, 0x8c0), (48, 0x8d0)] {
            let found = heap([START + info, 0, 0x21000, 0x42000], START, START + HEAP).expect("a heap");
            assert_eq!((found.stretch.begins, found.is_first), (START + first..START + 0x21000, true));
            let second = heap([START + info, START, HEAP, HEAP], OTHER, OTHER + HEAP).expect("a heap");
            assert_eq!((second.stretch.begins, second.is_first), (OTHER + info..OTHER + HEAP, false));
        }
    }

    #[test]
    fn other_memory_at_a_multiple_of_64_mebibytes_is_no_heap() {
        let good = [START + 48, 0, 0x21000, 0x21000];
        assert!(heap(good, START, START + 0x21000).is_some());
        for (index, word) in
            [(0, START + 40), (0, 0), (0, OTHER + 48), (1, OTHER), (1, 8), (2, 0), (2, 0x21001)]
        {
            let mut words = good;
            words[index] = word;
            assert_eq!(heap(words, START, START + HEAP), None, "{words:x?}");
        }
        assert_eq!(heap(good, START, START + 0x20000), None, "longer than its mapping");
        assert_eq!(heap([START + 48, 0, 0x21000, 0x20000], START, START + HEAP), None, "more than was open");
    }
}
