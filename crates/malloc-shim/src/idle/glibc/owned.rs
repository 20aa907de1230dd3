//! Free memory that the thread takes, to give its pages back to the system, and frees again.

use core::ffi::c_void;
use core::ops::Range;
use core::slice;
use core::sync::atomic::{AtomicUsize, Ordering};

use malloc_backend::RawAllocator;

use super::clock::{IDLE, now, spent_by_program};
use super::lists::{Arena, Chunk, HEADER, LEAST, allocate};
use crate::backend::Backend;
use crate::given_back::give_back as to_system;
use crate::idle::thread;
use crate::system_calls::system_call;

/// The system takes so many bytes at a time: who asks it for memory meanwhile waits for that.
const PIECE: usize = 1 << 20;
/// A block of this size is of no thread's cache, and so small that some free chunk has room for it.
const SMALL: usize = 1100;
/// What was freed is put in the ring of its class by the next call of `malloc`. With so many at once that takes long.
const AT_ONCE: usize = 32;
/// In the free chunk at the end of the heap, so many bytes are left alone: the next blocks come from there.
const KEPT: usize = 64 << 10;
/// The beginning of a free chunk is glibc's: two pairs of pointers.
const LINKS: usize = 48;
/// Free chunks that are looked at in one go.
const MOST: usize = 1 << 16;
/// Blocks of one size that are taken to come to a certain one among them.
const TRIES: usize = 64;

/// The first of the blocks that the thread has taken; each begins with the address of the next one. A forked child finds
/// those of its parent's thread here, which are free in it.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Gives back the pages of all free chunks of the arena, and those behind its last one. `spent` is what the program had
/// spent at the beginning: where it goes on working, this ends.
pub fn give_back(arena: &Arena, spent: u64) {
    let (Some(mut found), Some(top)) = (Found::new(), arena.top()) else { return };
    let mut work = Work { began: now(libc::CLOCK_MONOTONIC), spent, steps: 0 };
    settle(arena, &mut work);
    let mut count = 0;
    arena.each(|chunk| {
        found.all()[count] = chunk;
        count += 1;
        count < MOST
    });
    for chunk in &found.all()[..count] {
        if !work.may_go_on() {
            break;
        }
        if are_resident(pages(*chunk, LINKS)) {
            take(*chunk, top);
        }
    }
    if work.may_go_on() {
        take_top(arena);
    }
    free_all(arena);
}

/// In a forked child's thread: frees what its parent's had taken.
pub fn free_inherited(arena: &Arena) {
    free_all(arena);
}

/// How long this has taken, and what the program has done meanwhile.
struct Work {
    began: u64,
    spent: u64,
    steps: usize,
}

impl Work {
    /// Whether the program still does nothing, and the thread is not to end.
    fn may_go_on(&mut self) -> bool {
        const STEPS: usize = 16;
        const LITTLE: u64 = 5_000_000;
        self.steps += 1;
        if !self.steps.is_multiple_of(STEPS) {
            return true;
        }
        let time = now(libc::CLOCK_MONOTONIC).saturating_sub(self.began);
        let work = spent_by_program().saturating_sub(self.spent);
        thread::goes_on() && work <= LITTLE + time / IDLE
    }
}

/// Has glibc put what was freed lately into the rings of its classes: what each larger `malloc` does for so many chunks at
/// most. The blocks are freed at the end. To free one may be what makes glibc give back everything behind the last chunk, in
/// one piece and under its lock, and by then that is nothing.
fn settle(arena: &Arena, work: &mut Work) {
    loop {
        let block = allocate(SMALL);
        if block.is_null() {
            return;
        }
        keep(block);
        if arena.is_sorted() || !work.may_go_on() {
            return;
        }
    }
}

fn sort() {
    let block = allocate(SMALL);
    // SAFETY: just allocated.
    unsafe { Backend::free(block) };
}

/// Takes blocks of the chunk's size, until one is that chunk, and gives back their pages. `top` is what was behind the last
/// chunk at the beginning: nothing is to be taken of that.
fn take(chunk: Chunk, top: Chunk) {
    for _ in 0..TRIES {
        let block = allocate(chunk.request());
        match (!block.is_null()).then(|| Chunk::of(block)).flatten() {
            Some(own) if own.address < top.address => {
                to_system_by_pieces(pages(own, LINKS));
                keep(block);
                if own.address == chunk.address {
                    return;
                }
            }
            _ => {
                // SAFETY: just allocated.
                unsafe { Backend::free(block) };
                return;
            }
        }
    }
}

/// Gives back the pages behind the last chunk, but for the first few.
fn take_top(arena: &Arena) {
    /// Behind every chunk there is another one.
    const REST: usize = 64;
    let Some(top) = arena.top().filter(|top| top.size > KEPT + LEAST) else { return };
    if !are_resident(pages(top, KEPT)) {
        return;
    }
    let chunk = Chunk { address: top.address, size: (top.size - REST) & !15 };
    let block = allocate(chunk.request());
    if !block.is_null() && Chunk::of(block).is_some_and(|own| own.address == top.address) {
        to_system_by_pieces(pages(chunk, KEPT));
    }
    // SAFETY: just allocated, or null.
    unsafe { Backend::free(block) };
}

fn keep(block: *mut c_void) {
    // SAFETY: a block of some bytes that is this thread's.
    unsafe { block.cast::<usize>().write(TAKEN.load(Ordering::Relaxed)) };
    TAKEN.store(block as usize, Ordering::Release);
}

fn free_all(arena: &Arena) {
    let mut count = 0;
    loop {
        let block = TAKEN.load(Ordering::Relaxed) as *mut c_void;
        if block.is_null() {
            break;
        }
        // SAFETY: `keep` has written it, and the block is this thread's.
        let next = unsafe { block.cast::<usize>().read() };
        // (First, so that no child of a fork finds one that is freed.)
        TAKEN.store(next, Ordering::Release);
        // SAFETY: it was allocated, and is in no list any more.
        unsafe { Backend::free(block) };
        count += 1;
        if count % AT_ONCE == 0 || next == 0 {
            sort();
        }
    }
    if !arena.is_sorted() {
        sort();
    }
}

/// The whole pages of a chunk, but for so many bytes at its beginning.
fn pages(chunk: Chunk, kept: usize) -> Range<usize> {
    // SAFETY: takes a constant; every system has this one and it is positive.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize };
    let start = (chunk.address + kept.max(HEADER)).next_multiple_of(page);
    start..(chunk.address + chunk.size) / page * page
}

fn pieces(pages: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let Range { start, end } = pages;
    (start..end).step_by(PIECE).map(move |at| (at, PIECE.min(end - at)))
}

/// Whether any of the pages is in memory. Where some are not mapped any more, there is nothing to give back.
fn are_resident(range: Range<usize>) -> bool {
    for (at, size) in pieces(range) {
        let mut pages = [0_u8; PIECE >> 12];
        // SAFETY: a place for a byte for each page.
        if unsafe { system_call(libc::SYS_mincore, &[at, size, (&raw mut pages) as usize]) } != 0 {
            return false;
        }
        if pages.iter().any(|page| page & 1 != 0) {
            return true;
        }
    }
    false
}

fn to_system_by_pieces(range: Range<usize>) {
    for (at, size) in pieces(range) {
        if are_resident(at..at + size) {
            to_system(at as *mut c_void, size);
        }
    }
}

/// A place for what is found, which is no memory of malloc's.
struct Found(*mut Chunk);

impl Found {
    const SIZE: usize = MOST * size_of::<Chunk>();

    fn new() -> Option<Self> {
        let access = (libc::PROT_READ | libc::PROT_WRITE) as usize;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
        // SAFETY: new memory.
        let memory = unsafe { system_call(libc::SYS_mmap, &[0, Self::SIZE, access, flags, usize::MAX, 0]) };
        (!(-4095..0).contains(&memory)).then_some(Self(memory as *mut Chunk))
    }

    fn all(&mut self) -> &mut [Chunk] {
        // SAFETY: so many of them have room there, and zeros are valid ones.
        unsafe { slice::from_raw_parts_mut(self.0, MOST) }
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        // SAFETY: it was mapped above.
        unsafe { system_call(libc::SYS_munmap, &[self.0 as usize, Self::SIZE]) };
    }
}
