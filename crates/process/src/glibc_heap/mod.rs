//! How much of glibc's heaps in another process is free, read from outside while the process goes on.
//!
//! The main arena is in what `brk` moves the end of. Each other arena has heaps of up to 64 MiB at multiples of that
//! (malloc/arena.c, "heap_info"). Large blocks have a mapping each. The layouts are those of glibc 2.26 to 2.42 on
//! 64-bit systems. They differ in one word of `heap_info`, which came with 2.35.

mod arena;
mod chunks;
mod mapped;

use std::io;
use std::iter;
use std::ops::Range;

use crate::mapping::{Mapping, page_size};
use crate::memory::Survey;
use crate::source::{Memory, Source};
use arena::{MainArena, heaps_in};
use chunks::{Stretch, Tally, walk};
pub use mapped::MappedBlocks;

/// What glibc has of a process's memory, in bytes. "Free" is what no block is in. What threads (tcache) and fastbins keep
/// for the next request counts as used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GlibcHeap {
    /// Arenas, a number.
    pub arenas: u64,
    /// The heaps' address space.
    pub size: u64,
    /// The heaps' physical memory.
    pub resident: u64,
    /// Free in the heaps, as `mallinfo2` counts it without fastbins.
    pub free: u64,
    /// Free and in physical memory.
    pub free_resident: u64,
    /// Of that, whole pages: what `malloc_trim` can give back at the most.
    pub free_pages: u64,
    /// Large blocks.
    pub mapped: MappedBlocks,
    /// Which share of the heaps' physical memory could be read and understood, 0 to 1.
    pub read: f64,
    /// A part of the heaps was read, and the rest reckoned from it.
    pub sampled: bool,
}

/// How much is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of heaps with more physical memory than this a sample is read.
    pub bytes: u64,
    /// The size of a piece of the sample.
    pub piece: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 4 << 30, piece: 64 << 20 }
    }
}

/// Reads the heaps of a process whose `malloc` is glibc's, which has the mappings. `libc` is glibc's file, as the process
/// sees it.
///
/// # Errors
/// Where the process's memory may not be read.
pub fn glibc_heap(pid: u32, survey: &Survey, libc: &str, limits: Limits) -> io::Result<GlibcHeap> {
    let mappings = &survey.mappings[..];
    let page = page_size();
    // Probes and losing the way come on top.
    let mut source = Source::open(pid, page, limits.bytes.saturating_mul(2))?;
    let main = main_heaps(mappings);
    let others = mappings.iter().filter(|mapping| mapping.may_be_heap());
    let others: Vec<_> =
        others.flat_map(|mapping| heaps_in(&mut source, mapping.start..mapping.end)).collect();
    let mut heap = GlibcHeap {
        arenas: others.iter().filter(|heap| heap.is_first).count() as u64 + u64::from(!main.is_empty()),
        mapped: mapped::blocks(&mut source, mappings, &others),
        ..GlibcHeap::default()
    };
    let mut stretches: Vec<_> = main
        .iter()
        .map(|range| Stretch { begins: range.clone(), end: range.end, synchronised: true, main: true })
        .collect();
    stretches.extend(others.iter().map(|heap| heap.stretch.clone()));
    let resident: Vec<u64> =
        stretches.iter().map(|stretch| source.resident(stretch.begins.clone())).collect();
    heap.size = stretches.iter().map(|stretch| stretch.begins.end - stretch.begins.start).sum();
    heap.resident = resident.iter().sum();
    heap.sampled = heap.resident > limits.bytes;
    let count = match heap.sampled {
        false => Count::of(&mut source, &stretches, page),
        true => {
            let free = main.last().and_then(|heap| MainArena::find(&mut source, mappings, libc, heap));
            let free = free.map(|arena| arena.free).unwrap_or_default();
            sample(&mut source, stretches, &free, limits, page)
        }
    };
    let Tally { free, free_resident, free_pages, .. } = count.tally;
    heap.read = if heap.resident == 0 { 1.0 } else { count.read as f64 / heap.resident as f64 };
    Ok(GlibcHeap { free, free_resident, free_pages, ..heap })
}

/// The mappings that `brk` made, of which those side by side are one.
fn main_heaps(mappings: &[Mapping]) -> Vec<Range<u64>> {
    let mut heaps: Vec<Range<u64>> = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.name == "[heap]") {
        match heaps.last_mut().filter(|heap| heap.end == mapping.start) {
            Some(heap) => heap.end = mapping.end,
            None => heaps.push(mapping.start..mapping.end),
        }
    }
    heaps
}

/// What was counted, and of how much physical memory.
#[derive(Default)]
struct Count {
    tally: Tally,
    read: u64,
}

impl Count {
    fn of(source: &mut Source, stretches: &[Stretch], page: u64) -> Self {
        let mut count = Self::default();
        for stretch in stretches {
            count.read += source.resident(stretch.begins.clone());
            count.tally.add(&walk(source, stretch.clone(), page));
        }
        count.read = count.read.saturating_sub(count.tally.lost);
        count
    }
}

/// Counts pieces that are spread evenly, and reckons the rest from them. The large free chunks are known, and counted
/// as they are: a piece that begins within one would show the chunks that were there before.
fn sample(
    source: &mut Source,
    stretches: Vec<Stretch>,
    free: &[Range<u64>],
    limits: Limits,
    page: u64,
) -> Count {
    let mut exact = Count::default();
    for chunk in free {
        let resident = source.resident(chunk.clone());
        let free = chunk.end - chunk.start;
        exact.tally.add(&Tally {
            chunks: 1,
            free,
            free_resident: resident,
            free_pages: resident,
            ..Tally::default()
        });
        exact.read += resident;
    }
    let pieces: Vec<_> =
        stretches.into_iter().flat_map(|stretch| pieces_of(&stretch, free, limits.piece)).collect();
    let resident: Vec<u64> = pieces.iter().map(|piece| source.resident(piece.begins.clone())).collect();
    let all: u64 = resident.iter().sum();
    let step = all.div_ceil(limits.bytes.max(1)).max(1) as usize;
    let chosen = || (0..pieces.len()).step_by(step);
    let of_chosen: u64 = chosen().map(|index| resident[index]).sum();
    let chosen: Vec<_> = chosen().map(|index| pieces[index].clone()).collect();
    let Count { tally, read } = Count::of(source, &chosen, page);
    let scaled = |bytes: u64| (bytes as f64 * all as f64 / of_chosen.max(1) as f64) as u64;
    exact.read += read;
    exact.tally.add(&Tally {
        chunks: scaled(tally.chunks),
        free: scaled(tally.free),
        free_resident: scaled(tally.free_resident),
        free_pages: scaled(tally.free_pages),
        ..tally
    });
    exact
}

/// A stretch without the free chunks that are known already, in pieces. An arena's heap is a piece as it is.
fn pieces_of(stretch: &Stretch, free: &[Range<u64>], piece: u64) -> Vec<Stretch> {
    if !stretch.main {
        return vec![stretch.clone()];
    }
    let mut pieces = Vec::new();
    let mut at = stretch.begins.start;
    let mut synchronised = stretch.synchronised;
    let known = free.iter().filter(|chunk| stretch.begins.contains(&chunk.start));
    for chunk in known.cloned().chain(iter::once(stretch.end..stretch.end)) {
        while at < chunk.start {
            let end = (at + piece).min(chunk.start);
            pieces.push(Stretch { begins: at..end, synchronised, ..stretch.clone() });
            (at, synchronised) = (end, false);
        }
        // A chunk begins where that one ends.
        (at, synchronised) = (at.max(chunk.end), true);
    }
    pieces
}
