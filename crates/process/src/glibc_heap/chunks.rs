//! What the bytes of a heap of glibc's say: a walk from chunk to chunk. The code here reads nothing by itself and
//! believes nothing: the heap may be changed while it is walked.
//!
//! A chunk begins with two words (malloc/malloc.c, "struct malloc_chunk"): the size of the chunk before it, which only
//! means something where that one is free, and its own size. The low three bits of the size say whether the chunk before
//! it is in use, whether it is mapped for itself, and whether it belongs to another arena than the main one. The next
//! chunk follows at once. So a chunk is free where the next one says that. What threads and fastbins keep for the next
//! request stays marked as in use.

use std::ops::Range;

use crate::source::{Access, Header, Memory};

const PREVIOUS_IN_USE: u64 = 1;
pub const IS_MAPPED: u64 = 2;
const IN_OTHER_ARENA: u64 = 4;
pub const FLAGS: u64 = 7;

/// What a chunk is aligned to, and the size of its header.
pub const UNIT: u64 = 16;
/// The smallest chunk.
const SMALLEST: u64 = 32;
/// What a free chunk begins with: header, and links to four other free chunks. `malloc_trim` keeps that.
const LINKS: u64 = 48;
/// As many headers in a row must fit together where the walk has lost its way.
const PROOF: usize = 8;

impl Header {
    fn bytes(self) -> u64 {
        self.size & !FLAGS
    }

    fn previous_is_free(self) -> bool {
        self.size & PREVIOUS_IN_USE == 0
    }
}

/// A stretch of a heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Chunks that begin here are counted.
    pub begins: Range<u64>,
    /// Where the heap ends. If the last chunk ends there it is the top, which is free.
    pub end: u64,
    /// A chunk begins at the start.
    pub synchronised: bool,
    /// It is of the main arena.
    pub main: bool,
}

/// What the chunks of a heap come to, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Chunks, a number.
    pub chunks: u64,
    /// In free chunks, the top included.
    pub free: u64,
    /// The same, in physical memory.
    pub free_resident: u64,
    /// Of that, whole pages: only these can go back to the system.
    pub free_pages: u64,
    /// In physical memory, and not understood.
    pub lost: u64,
    /// How often the walk lost its way, a number.
    pub losses: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self { chunks, free, free_resident, free_pages, lost, losses } = other;
        self.chunks += chunks;
        self.free += free;
        self.free_resident += free_resident;
        self.free_pages += free_pages;
        self.lost += lost;
        self.losses += losses;
    }
}

/// What a place in a heap is.
enum Seen {
    Chunk {
        /// Where the next one begins.
        next: u64,
    },
    /// A header without a chunk, with which a stretch that cannot grow any more ends.
    Fence,
    /// No header that there could be.
    Nothing,
}

pub struct Walk<'memory, Source> {
    memory: &'memory mut Source,
    stretch: Stretch,
    page: u64,
    tally: Tally,
}

/// Counts the chunks of a stretch.
pub fn walk(memory: &mut impl Memory, stretch: Stretch, page: u64) -> Tally {
    let mut walk = Walk { memory, stretch, page, tally: Tally::default() };
    walk.all();
    walk.tally
}

impl<Source: Memory> Walk<'_, Source> {
    fn all(&mut self) {
        let Range { start, end } = self.stretch.begins;
        let mut at = match self.stretch.synchronised {
            true => Some(start),
            false => self.synchronise(start, start),
        };
        while let Some(chunk) = at.filter(|at| *at < end) {
            at = self.step(chunk);
        }
    }

    /// Counts the chunk there, and gives the place of the next one.
    fn step(&mut self, at: u64) -> Option<u64> {
        // What was read a moment ago may have been changed since. To read it again helps, if that is the reason.
        for is_again in [false, true] {
            if is_again {
                self.memory.forget(at);
            }
            let Some(header) = self.memory.header(at, Access::Walk) else { break };
            match self.seen(at, header) {
                Seen::Nothing => {}
                Seen::Fence => return self.behind_fence(at),
                Seen::Chunk { next } if next == self.stretch.end => {
                    self.count(at..next, true);
                    return None;
                }
                Seen::Chunk { next } => {
                    if is_again {
                        self.memory.forget(next);
                    }
                    let Some(behind) = self.memory.header(next, Access::Walk) else {
                        // Whether it is free does not show.
                        return self.lose(at, next);
                    };
                    if self.fits(next, behind, next - at) {
                        self.count(at..next, behind.previous_is_free());
                        return Some(next);
                    }
                }
            }
        }
        self.lose(at, at + UNIT)
    }

    fn seen(&self, at: u64, header: Header) -> Seen {
        let end = self.stretch.end;
        let bytes = header.bytes();
        let foreign = header.size & IS_MAPPED != 0 || self.stretch.main && header.size & IN_OTHER_ARENA != 0;
        if foreign || !bytes.is_multiple_of(UNIT) {
            return Seen::Nothing;
        }
        match bytes {
            // The last of a heap that is full; in the main arena, in front of what somebody else got from `brk`.
            0 if !self.stretch.main && at + UNIT == end => Seen::Fence,
            UNIT if self.stretch.main || at + 2 * UNIT == end => Seen::Fence,
            SMALLEST.. if bytes <= end.saturating_sub(at) => {
                let next = at + bytes;
                // (There is no room for a header behind it: then it must be the last.)
                if next == end || end - next >= UNIT { Seen::Chunk { next } } else { Seen::Nothing }
            }
            _ => Seen::Nothing,
        }
    }

    /// Whether a header can stand behind a chunk of that size.
    fn fits(&self, at: u64, header: Header, before: u64) -> bool {
        !matches!(self.seen(at, header), Seen::Nothing)
            && (!header.previous_is_free() || header.previous == before)
    }

    /// The main arena goes on where somebody else's part of the heap ends.
    fn behind_fence(&mut self, at: u64) -> Option<u64> {
        if !self.stretch.main {
            return None;
        }
        let next = at + UNIT;
        match self.memory.header(next, Access::Walk) {
            Some(header) if header.bytes() == UNIT => self.synchronise(next + UNIT, next + UNIT),
            _ => self.synchronise(next, next),
        }
    }

    /// From `at` on the chunks are unknown; the next may begin at `from`.
    fn lose(&mut self, at: u64, from: u64) -> Option<u64> {
        self.tally.losses += 1;
        self.synchronise(at, from)
    }

    /// Looks for a place from which the headers fit together, and counts what lies before it, from `at` on, as lost.
    fn synchronise(&mut self, at: u64, from: u64) -> Option<u64> {
        let end = self.stretch.begins.end;
        let mut place = from.next_multiple_of(UNIT);
        let found = loop {
            if place >= end {
                break None;
            }
            let Some(present) = self.memory.next_present(place..end) else { break None };
            place = present.next_multiple_of(UNIT);
            let Some(header) = self.memory.header(place, Access::Walk) else {
                // It went away since, or no more may be read.
                place = (place + 1).next_multiple_of(self.page);
                continue;
            };
            if matches!(self.seen(place, header), Seen::Chunk { .. }) && self.is_proven(place, header) {
                break Some(place);
            }
            place += UNIT;
        };
        let until = found.unwrap_or(end).max(at);
        self.tally.lost += self.memory.resident(at..until);
        found
    }

    /// Whether enough headers in a row fit together, or all to the end.
    fn is_proven(&mut self, place: u64, header: Header) -> bool {
        let (mut at, mut header) = (place, header);
        // An array of one number looks like chunks of that size.
        let mut is_array = true;
        for _ in 0..PROOF {
            is_array &= header.previous == header.size;
            let Seen::Chunk { next } = self.seen(at, header) else { return !is_array };
            if next == self.stretch.end {
                return !is_array;
            }
            let Some(behind) = self.memory.header(next, Access::Probe) else { return false };
            // Two free chunks beside each other would have become one.
            if !self.fits(next, behind, next - at) || behind.previous_is_free() && header.previous_is_free() {
                return false;
            }
            (at, header) = (next, behind);
        }
        !is_array
    }

    fn count(&mut self, chunk: Range<u64>, is_free: bool) {
        self.tally.chunks += 1;
        if is_free {
            let pages = (chunk.start + LINKS).next_multiple_of(self.page)..chunk.end / self.page * self.page;
            self.tally.free += chunk.end - chunk.start;
            self.tally.free_resident += self.memory.resident(chunk);
            if !pages.is_empty() {
                self.tally.free_pages += self.memory.resident(pages);
            }
        }
    }
}

#[cfg(test)]
#[path = "chunks_tests.rs"]
mod tests;
