//! glibc's malloc keeps what is freed between blocks that are in use. Its malloc_trim(3) gives that back, and holds the lock
//! of a whole arena for as long as the system takes all of its memory: a fifth of a second for 1 GiB, in which every thread
//! that allocates waits. Here the thread does otherwise: it takes a free piece of memory by `malloc`, as anybody may, gives
//! its pages back while it has it, and frees it again. glibc holds its lock for single calls of `malloc` and `free` only.
//!
//! Where the free pieces are, and of which sizes, glibc's lists of them tell ([`lists`]). Other threads change them
//! meanwhile. So what is read there is only a hint: whatever `malloc` then returns is the thread's own, and safe to use.
//!
//! The thread looks at the process's CPU time now and then, and does this when that hardly grows any more. What it costs is
//! bounded by what the program itself has spent ([`Watch::may_look`]).

mod clock;
mod lists;
mod owned;

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use malloc_backend::RawAllocator;

use super::thread;
use crate::backend::Backend;
use clock::{IDLE, now, spent_by_program};
use lists::Arena;

/// No thread is worth less: bytes in the heap that the system extends for malloc (brk(2)).
const ENOUGH: usize = 16 << 20;

/// Between two looks at a program that is busy, or was the last time; in milliseconds.
const SOON: u32 = 250;
/// Between two looks at one that does nothing.
const LATE: u32 = 1000;
/// What [`IDLE`] is where the program would wait for malloc_trim(3): a thousandth.
const IDLE_TO_TRIM: u64 = 1000;
/// What a look may cost: a hundredth of what the program has spent since the last one, and of one processor at most.
const SHARE: u64 = 100;
/// A program that has spent less since the last look has not freed much: in nanoseconds.
const LEAST: u64 = 3_000_000;

static HEAP: AtomicUsize = AtomicUsize::new(0);
/// Whether all threads share one arena, which is then this thread's too. In others it can take nothing.
static ONE_ARENA: AtomicBool = AtomicBool::new(false);

/// Looks where malloc's lists are, in a process of one thread. (glibc tells nobody when it pauses.)
pub fn prepare(_pauses: fn()) {
    HEAP.store(end_of_heap(), Ordering::Relaxed);
    ONE_ARENA.store(is_one_arena() && !is_perturbed() && lists::find(), Ordering::Relaxed);
}

/// Whether the heap is so large that a thread is worth it. (A forked child that has its parent's may free that.)
pub fn has_enough() -> bool {
    end_of_heap().saturating_sub(HEAP.load(Ordering::Relaxed)) >= ENOUGH
}

/// What the thread leaves undone stays undone.
pub fn stops() {}

/// Nothing is left of the parent's thread but what it had taken of the heap, which the child's own frees.
pub fn in_child() {}

fn end_of_heap() -> usize {
    // SAFETY: moves nothing.
    unsafe { libc::sbrk(0) as usize }
}

/// A variable, of which nobody changes the value.
fn variable(name: &CStr) -> Option<&'static [u8]> {
    // SAFETY: a C string. Where there is a value, that is one too.
    unsafe {
        let value = libc::getenv(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value).to_bytes())
    }
}

/// The value of a tunable of glibc's malloc, which wins over the variable. Of the same tunable the last counts.
fn tunable(name: &[u8], variable_name: &CStr) -> Option<&'static [u8]> {
    let tunables = variable(c"GLIBC_TUNABLES").unwrap_or_default();
    let of_tunable =
        |entry: &'static [u8]| entry.strip_prefix(b"glibc.malloc.")?.strip_prefix(name)?.strip_prefix(b"=");
    let tuned = tunables.split(|byte| *byte == b':').filter_map(of_tunable).next_back();
    tuned.or_else(|| variable(variable_name))
}

fn is_one_arena() -> bool {
    tunable(b"arena_max", c"MALLOC_ARENA_MAX") == Some(b"1")
}

/// Whether malloc and free write to whatever they are asked for (mallopt(3), M_PERTURB): nothing could be given back so.
fn is_perturbed() -> bool {
    tunable(b"perturb", c"MALLOC_PERTURB_").is_some_and(|value| value != b"0")
}

/// The thread.
pub fn run() {
    let mut watch = Watch { at: now(libc::CLOCK_MONOTONIC), spent: 0, looked: Look::default() };
    let mut pause = SOON;
    if ONE_ARENA.load(Ordering::Relaxed) {
        owned::free_inherited(&Arena::main());
    }
    while thread::sleep(Some(pause)) {
        pause = match watch.sees() {
            Seen::Busy => SOON,
            Seen::Idle if watch.may_look() => {
                watch.look();
                SOON
            }
            Seen::Idle => LATE.min(pause * 2),
        };
    }
}

enum Seen {
    Busy,
    Idle,
}

/// When the thread last looked for free memory, what the program had spent until then, and what the look cost.
#[derive(Default)]
struct Look {
    at: u64,
    spent: u64,
    cost: u64,
}

/// All in nanoseconds.
struct Watch {
    at: u64,
    /// By the program.
    spent: u64,
    looked: Look,
}

impl Watch {
    /// What the program does, since the last time that this was asked.
    fn sees(&mut self) -> Seen {
        // Two clocks that are read one after the other: what the program has spent may seem to shrink.
        let (at, spent) = (now(libc::CLOCK_MONOTONIC), spent_by_program().max(self.spent));
        let (time, work) = (at.saturating_sub(self.at), spent - self.spent);
        (self.at, self.spent) = (at, spent);
        let part = if ONE_ARENA.load(Ordering::Relaxed) { IDLE } else { IDLE_TO_TRIM };
        if work > time / part { Seen::Busy } else { Seen::Idle }
    }

    /// Whether the program has done enough since the last look, and that one was cheap enough.
    fn may_look(&self) -> bool {
        let Look { at, spent, cost } = self.looked;
        let work = self.spent - spent;
        work >= LEAST && (work >= cost * SHARE || self.at - at >= cost * SHARE)
    }

    fn look(&mut self) {
        let began = now(libc::CLOCK_THREAD_CPUTIME_ID);
        match ONE_ARENA.load(Ordering::Relaxed) {
            true => owned::give_back(&Arena::main(), self.spent),
            false => trim(),
        }
        let cost = now(libc::CLOCK_THREAD_CPUTIME_ID).saturating_sub(began);
        self.looked = Look { at: self.at, spent: self.spent, cost };
    }
}

/// Where there are more arenas than one, they are glibc's alone to lock.
fn trim() {
    let _ = Backend::release();
}
