//! mimalloc gives memory back by two functions, of which one takes back what the other gave. Here the first only notes
//! that the memory may go, and the second takes the note away; the thread gives back what has been noted for a while.
//!
//! By itself mimalloc gives back at once (`purge_delay` 0), and a program that replaces large blocks pays for each; or
//! after a delay, when the thread that owns the memory next frees something, which a program that waits does not.
//!
//! The notes are a byte for each 64 KiB, the unit by which mimalloc gives back. Whoever changes one does so atomically. The
//! thread holds a run of them while the system takes the memory: whoever needs that then waits for at most [`RUN`] of them.

use core::ffi::{c_int, c_void};
use core::hint;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering};

use malloc_backend::Mimalloc;
use malloc_backend_preload::wrap;

use super::state::{OFF, STARTED, STATE, is_own};
use super::thread;
use crate::given_back::give_back;
use crate::system_calls::system_call;

/// In use, or unknown.
const USED: u8 = 0;
/// Given back, and mimalloc knows it; it can be read and written.
const GONE: u8 = 1;
/// May go, since this tick of the thread's clock or the last.
const NEW: u8 = 2;
/// May go, for a tick or more.
const OLD: u8 = 3;
/// Goes.
const GOING: u8 = 4;
/// Reserved, and not to be read or written before mimalloc has asked for it.
const CLOSED: u8 = 5;

/// The thread's clock. What has not been used again for one to two ticks goes.
const TICK: u32 = 400;
/// What one byte is about.
const UNIT: usize = 64 << 10;
/// The system takes so many units at a time: 2 MiB, in a fraction of a millisecond. A huge page is that large. In parts it
/// takes three times as long.
const RUN: usize = 32;
/// Without the thread no more than so many bytes are noted: others go at once. No thread is worth less.
const ENOUGH: usize = 4 << 20;

/// The notes on 1 GiB, by which mimalloc reserves address space.
const SPAN: usize = 1 << 30;
const UNITS: usize = SPAN / UNIT;
/// User space has 47 bits, if nobody asks for more.
const SPANS: usize = (1 << 47) / SPAN;

struct Notes {
    base: usize,
    next: *const Notes,
    units: [AtomicU8; UNITS],
}

static TABLE: [AtomicPtr<Notes>; SPANS] = [const { AtomicPtr::new(ptr::null_mut()) }; SPANS];
/// All of them, one behind another.
static FIRST: AtomicPtr<Notes> = AtomicPtr::new(ptr::null_mut());
/// The bytes that may go and are not gone.
static NOTED: AtomicUsize = AtomicUsize::new(0);
/// Whether the thread sleeps until there is something.
static SLEEPS: AtomicBool = AtomicBool::new(false);

/// What to call where the allocator pauses: a `fn()`.
static PAUSES: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// A program of one thread may not wait for long. mimalloc, too, tells now and then that it is a good moment.
pub fn prepare(pauses: fn()) {
    unsafe extern "C" fn now(_force: bool, _count: u64, _: *mut c_void) {
        // SAFETY: `prepare` has put a function there before it told mimalloc of this one.
        unsafe { mem::transmute::<*mut c_void, fn()>(PAUSES.load(Ordering::Acquire))() }
    }
    PAUSES.store(pauses as *mut c_void, Ordering::Release);
    Mimalloc::call_now_and_then(now);
}

/// Whether so much may go that a thread is worth it.
pub fn has_enough() -> bool {
    NOTED.load(Ordering::Relaxed) >= ENOUGH
}

/// The thread.
pub fn run() {
    loop {
        SLEEPS.store(true, Ordering::SeqCst);
        let is_none = NOTED.load(Ordering::SeqCst) == 0;
        // (Whoever notes something from here on finds the thread asleep, and wakes it.)
        if is_none && !thread::sleep(None) {
            return;
        }
        SLEEPS.store(false, Ordering::SeqCst);
        if !thread::sleep(Some(TICK)) {
            return;
        }
        each_notes(|notes| tick(notes, OLD));
    }
}

/// There is no thread any more: what is noted goes now, and later notes go at once.
pub fn stops() {
    give_all_back();
}

/// What the parent's thread held is free again. (Nobody else is here.)
pub fn in_child() {
    SLEEPS.store(false, Ordering::Relaxed);
    // Another thread of the parent may have been between a note and its sum.
    let mut noted = 0;
    each_notes(|notes| {
        for unit in &notes.units {
            let _ = unit.compare_exchange(GOING, OLD, Ordering::Relaxed, Ordering::Relaxed);
            noted += if matches!(unit.load(Ordering::Relaxed), NEW | OLD) { UNIT } else { 0 };
        }
    });
    NOTED.store(noted, Ordering::Relaxed);
}

/// mimalloc's `mi_collect(true)` says that all goes.
extern "C" fn give_all_back() {
    if NOTED.load(Ordering::Relaxed) != 0 {
        each_notes(|notes| tick(notes, NEW));
    }
}

wrap!("malloc_backend_mi_give_back", give_all_back);

fn each_notes(mut with: impl FnMut(&Notes)) {
    let mut at: *const Notes = FIRST.load(Ordering::Acquire);
    // SAFETY: notes are never taken away, and are complete before they are in the list.
    while let Some(notes) = unsafe { at.as_ref() } {
        with(notes);
        at = notes.next;
    }
}

/// Gives back what is at least as old as `least`; what is new grows old.
fn tick(notes: &Notes, least: u8) {
    for (group, units) in notes.units.chunks(RUN).enumerate() {
        let mut at = 0;
        while at < units.len() {
            let held = units[at..].iter().take_while(|unit| hold(unit, least)).count();
            if held > 0 {
                let start = notes.base + (group * RUN + at) * UNIT;
                give_back(start as *mut c_void, held * UNIT);
                NOTED.fetch_sub(held * UNIT, Ordering::SeqCst);
                units[at..at + held].iter().for_each(|unit| unit.store(GONE, Ordering::Release));
            }
            at += held + 1;
        }
    }
}

/// Holds the unit if it is to go.
fn hold(unit: &AtomicU8, least: u8) -> bool {
    match unit.load(Ordering::Relaxed) {
        OLD => unit.compare_exchange(OLD, GOING, Ordering::Acquire, Ordering::Relaxed).is_ok(),
        NEW if least == NEW => {
            unit.compare_exchange(NEW, GOING, Ordering::Acquire, Ordering::Relaxed).is_ok()
        }
        NEW => {
            let _ = unit.compare_exchange(NEW, OLD, Ordering::Relaxed, Ordering::Relaxed);
            false
        }
        _ => false,
    }
}

/// mimalloc does not need the memory. Says through `must_commit` whether it is to ask before it uses that again.
unsafe extern "C" fn decommit(start: *mut c_void, size: usize, must_commit: *mut bool) -> c_int {
    let can_note = match STATE.load(Ordering::Relaxed) {
        OFF => false,
        // A child that was made without the fork handlers has no thread.
        STARTED => is_own(),
        _ => NOTED.load(Ordering::Relaxed) < ENOUGH,
    };
    let is_noted = can_note && note(start as usize, size);
    if !is_noted {
        give_back(start, size);
    }
    // SAFETY: mimalloc gives a place for it.
    unsafe { must_commit.write(is_noted) };
    0
}

wrap!("malloc_backend_mi_decommit", decommit);

/// Notes that the memory may go: as much of it as is whole units, the rest goes at once. Says whether that was done.
fn note(start: usize, size: usize) -> bool {
    let (first, last) = (start.next_multiple_of(UNIT), (start + size) / UNIT * UNIT);
    if first >= last || last > SPANS * SPAN {
        return false;
    }
    let mut noted = 0;
    for address in (first..last).step_by(UNIT) {
        let Some(notes) = notes_of(address) else {
            give_back(address as *mut c_void, UNIT);
            continue;
        };
        let unit = &notes.units[address % SPAN / UNIT];
        // What is gone is gone, and what is noted grows older.
        if unit.compare_exchange(USED, NEW, Ordering::Release, Ordering::Relaxed).is_ok() {
            noted += UNIT;
        }
    }
    for (from, to) in [(start, first), (last, start + size)] {
        if from < to {
            give_back(from as *mut c_void, to - from);
        }
    }
    if noted > 0 {
        NOTED.fetch_add(noted, Ordering::SeqCst);
        if SLEEPS.load(Ordering::SeqCst) && SLEEPS.swap(false, Ordering::SeqCst) {
            thread::wake();
        }
    }
    true
}

/// mimalloc needs the memory, which it may have reserved without access.
unsafe extern "C" fn commit(start: *mut c_void, size: usize, is_zero: *mut bool) -> c_int {
    // SAFETY: mimalloc gives a place for it.
    unsafe { is_zero.write(false) };
    if forget(start as usize, size) {
        return 0;
    }
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: mimalloc's own address space.
    let result = unsafe { system_call(libc::SYS_mprotect, &[start as usize, size, access as usize]) };
    -result as c_int
}

wrap!("malloc_backend_mi_commit", commit);

/// Takes all notes on the memory away, because it is used or unmapped. Says whether there was one on every part, so that it
/// is known to be mapped, readable and writable.
pub fn forget(start: usize, size: usize) -> bool {
    let end = start + size;
    if FIRST.load(Ordering::Relaxed).is_null() || end > SPANS * SPAN {
        return false;
    }
    let mut is_all = start.is_multiple_of(UNIT) && end.is_multiple_of(UNIT);
    let mut noted = 0;
    for address in (start / UNIT * UNIT..end).step_by(UNIT) {
        let notes: *const Notes = TABLE[address / SPAN].load(Ordering::Acquire);
        // SAFETY: see `each_notes`.
        let Some(notes) = (unsafe { notes.as_ref() }) else {
            is_all = false;
            continue;
        };
        match use_again(&notes.units[address % SPAN / UNIT]) {
            USED | CLOSED => is_all = false,
            GONE => {}
            _ => noted += UNIT,
        }
    }
    if noted > 0 {
        NOTED.fetch_sub(noted, Ordering::SeqCst);
    }
    is_all
}

/// mimalloc has reserved address space without access. It may give back what it has never asked for; nothing is noted then.
pub fn reserve(start: usize, size: usize) {
    for address in (start / UNIT * UNIT..start + size).step_by(UNIT) {
        if let Some(notes) = notes_of(address) {
            let unit = &notes.units[address % SPAN / UNIT];
            for state in [USED, GONE] {
                let _ = unit.compare_exchange(state, CLOSED, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }
}

/// Says what the unit was before.
fn use_again(unit: &AtomicU8) -> u8 {
    let mut turns = 0;
    loop {
        let now = unit.load(Ordering::Acquire);
        if now == USED {
            return USED;
        }
        if now != GOING {
            if unit.compare_exchange(now, USED, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return now;
            }
            continue;
        }
        turns += 1;
        if turns < 100 {
            hint::spin_loop();
        } else if turns % 1000 == 0 && !is_own() {
            // A child that was made without the fork handlers has its parent's notes, and not the thread that held them.
            let _ = unit.compare_exchange(GOING, OLD, Ordering::Relaxed, Ordering::Relaxed);
        } else {
            // SAFETY: takes nothing.
            unsafe { system_call(libc::SYS_sched_yield, &[]) };
        }
    }
}

/// The notes on the address, made when they are first needed. `None` where there is no memory for them.
fn notes_of(address: usize) -> Option<&'static Notes> {
    let place = TABLE.get(address / SPAN)?;
    let found = place.load(Ordering::Acquire);
    if !found.is_null() {
        // SAFETY: see `each_notes`.
        return unsafe { found.as_ref() };
    }
    let size = size_of::<Notes>();
    let access = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    // SAFETY: new memory, of zeros, which are a valid value; nobody else has it until it is in the table.
    unsafe {
        let memory = system_call(libc::SYS_mmap, &[0, size, access, flags, usize::MAX, 0]);
        if (-4095..0).contains(&memory) {
            return None;
        }
        let new = memory as *mut Notes;
        (*new).base = address / SPAN * SPAN;
        if let Err(other) = place.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire)
        {
            system_call(libc::SYS_munmap, &[memory as usize, size]);
            return other.as_ref();
        }
        let mut first = FIRST.load(Ordering::Relaxed);
        loop {
            (*new).next = first;
            match FIRST.compare_exchange(first, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return new.as_ref(),
                Err(other) => first = other,
            }
        }
    }
}
