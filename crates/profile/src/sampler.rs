//! Which allocations are sampled.
//!
//! A sample is taken at each byte with the same small probability: the distances between two sampled bytes have an exponential
//! distribution, whose mean is the profile's interval. A block is sampled if it contains a sampled byte. So a block of `size`
//! bytes is sampled with probability `1 - exp(-size / interval)`, and one that was sampled stands for the inverse of that
//! number of blocks ([`weight`]). The estimate has no bias, whatever the sizes are.

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use crate::hooks::{self, Caller, Thread};
use crate::live::Sample;
use crate::session::{Inside, interval, running};
use crate::stacks;
use crate::tables::{PARTS, Tables};
use crate::thread;

/// While no profile runs, a thread that still calls a hook comes here after so many bytes.
const OFF: u64 = 1 << 20;

/// For how many blocks of this size a sampled one stands.
pub fn weight(size: u64, interval: u64) -> f64 {
    -1.0 / (-(size.max(1) as f64) / interval as f64).exp_m1()
}

/// An allocation that used up the thread's countdown. Returns a sampled block; or null, and the caller asks the original
/// function.
///
/// # Safety
/// Only the hooks call it: with the calling thread's own part, and with the registers of their caller.
pub unsafe extern "C" fn sample(
    thread: *mut Thread,
    size: usize,
    alignment: usize,
    is_zeroed: bool,
    caller: *const Caller,
) -> *mut c_void {
    let null = std::ptr::null_mut();
    // An alignment that is none is for the original function to refuse.
    if alignment != 0 && !alignment.is_power_of_two() {
        return null;
    }
    // SAFETY: the caller's obligation. While a profile runs, the originals are known.
    unsafe {
        let block = || hooks::block(size, alignment, is_zeroed);
        let take = |session| take(thread, size, &*caller, session, block);
        if_due(thread, size, (*caller).sp, take).unwrap_or(null)
    }
}

/// The same for a block that the original function has just resized, of which the caller has no other address. Returns that
/// block, or the place to which it was moved.
///
/// # Safety
/// As for [`sample`]; and the block is one of the original's, with the size.
pub unsafe extern "C" fn adopt(
    thread: *mut Thread,
    block: *mut c_void,
    size: usize,
    caller: *const Caller,
) -> *mut c_void {
    let place = Cell::new(block);
    let move_block = || {
        // SAFETY: the caller's obligation.
        let moved = unsafe { hooks::moved(block, size) };
        if !moved.is_null() {
            place.set(moved);
        }
        moved
    };
    // SAFETY: the caller's obligation.
    unsafe {
        let take = |session| take(thread, size, &*caller, session, move_block);
        if_due(thread, size, (*caller).sp, take);
    }
    place.get()
}

/// Calls the function with the number of the profile, if the allocation that used up the thread's countdown is to be sampled.
///
/// # Safety
/// The thread's part is the calling thread's, and the stack pointer points to its stack.
pub unsafe fn if_due<R>(
    thread: *mut Thread,
    size: usize,
    stack_pointer: usize,
    take: impl FnOnce(u32) -> Option<R>,
) -> Option<R> {
    // SAFETY: the thread's own part; no reference to it is kept, because functions that are called here reach the hooks.
    unsafe {
        if (*thread).busy != 0 {
            return None;
        }
        let session = running();
        if session == 0 {
            (*thread).left = OFF;
            return None;
        }
        (*thread).busy = 1;
        let errno = *libc::__errno_location();
        let sampled = catch_unwind(AssertUnwindSafe(|| {
            let record = thread::of(thread, stack_pointer);
            let mut draw = || ((-record.random().ln() * interval() as f64) as u64).max(1);
            let next = draw();
            // A new profile, or a new thread: this is no sample, but the start of the count.
            if (*thread).session != session {
                (*thread).session = session;
                if (size as u64) < next {
                    (*thread).left = next - size as u64;
                    return None;
                }
                (*thread).left = draw();
            } else {
                (*thread).left = next;
            }
            take(session)
        }));
        *libc::__errno_location() = errno;
        (*thread).busy = 0;
        sampled.ok().flatten()
    }
}

/// Makes the block, and takes a sample of it.
///
/// # Safety
/// As for [`sample`], with `busy` set.
unsafe fn take(
    thread: *mut Thread,
    size: usize,
    caller: &Caller,
    session: u32,
    block: impl FnOnce() -> *mut c_void,
) -> Option<*mut c_void> {
    let inside = Inside::enter(session)?;
    let tables = Tables::get()?;
    let block = block();
    if block.is_null() {
        return None;
    }
    // SAFETY: the caller's obligation.
    unsafe { keep(thread, size, block.addr(), caller, &inside, tables) };
    Some(block)
}

/// Puts a sampled block into the tables, with the stack of the calling thread. The key is the block's in the table of blocks in
/// use.
///
/// # Safety
/// As for [`stacks::stack_of`].
pub unsafe fn keep(
    thread: *mut Thread,
    size: usize,
    key: usize,
    caller: &Caller,
    inside: &Inside,
    tables: &Tables,
) {
    // SAFETY: the caller's obligation.
    let is_timed = unsafe { thread::of(thread, caller.sp) }.random() <= 1.0 / TIMED;
    let begin = if is_timed { now() } else { 0 };
    // SAFETY: the caller's obligation.
    let stack = unsafe { stacks::stack_of(thread, caller, inside, tables) };
    let size = size as u64;
    let weight = weight(size, interval());
    let [objects, bytes] = match stack {
        0 => &tables.without_stack,
        stack => tables.stacks.counters(stack),
    };
    objects.fetch_add((weight * PARTS) as u64, Ordering::Relaxed);
    bytes.fetch_add((weight * size as f64) as u64, Ordering::Relaxed);
    tables.samples.fetch_add(1, Ordering::Relaxed);
    tables.live.insert(key, Sample { size, stack });
    if is_timed {
        let time = now().saturating_sub(begin) as f64 * TIMED;
        tables.nanoseconds.fetch_add(time as u64, Ordering::Relaxed);
    }
}

/// One of so many samples is timed, at random: to read the clock twice takes half as long as a sample.
const TIMED: f64 = 16.0;

/// The CPU time of this thread, in nanoseconds.
fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for a time.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A block that is freed or resized, and may be a sampled one.
pub extern "C" fn forget(block: *mut c_void) {
    if let Some(tables) = Tables::get() {
        tables.live.remove(block.addr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_stands_for_as_many_as_its_probability_says() {
        let interval = 512 << 10;
        let probability = |size: f64| 1.0 - (-size / interval as f64).exp();
        for size in [1_u64, 16, 4096, 512 << 10, 64 << 20] {
            let product = weight(size, interval) * probability(size as f64);
            assert!((product - 1.0).abs() < 1e-6, "{size}: {product}");
        }
        assert!((weight(1, interval) - 524_288.5).abs() < 0.01, "{}", weight(1, interval));
        assert_eq!(weight(0, interval), weight(1, interval));
    }
}
