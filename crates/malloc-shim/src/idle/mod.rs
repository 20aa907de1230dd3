//! Idle release: free memory goes back to the system while the program does nothing, for the allocators that have no thread
//! of their own for that. Where an option asks for it, this library has one ([`thread`]). jemalloc has its own
//! (crates/preload/src/background_threads.rs), and the rules here are those of that module:
//!
//! - The thread starts only where this library's backend serves `malloc`, and only when there is something to give back:
//!   when the program makes a thread, or when it waits ([`waits`]) and [`has_enough`].
//! - A forked child has none, and starts its own by the same rules. Nothing is done in the fork itself but to forget the
//!   parent's.
//! - It ends with the main thread, and in a process that confines itself. It steps aside for a call that wants a process
//!   of one thread (src/background_threads.rs).

#[cfg(feature = "mimalloc")]
mod event_loop;
#[cfg(not(feature = "mimalloc"))]
mod glibc;
#[cfg(feature = "mimalloc")]
pub mod mimalloc;
mod state;
mod thread;
mod waits;

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use malloc_backend_preload::errno::{errno, set_errno};

#[cfg(not(feature = "mimalloc"))]
use glibc as backend;
#[cfg(feature = "mimalloc")]
use mimalloc as backend;
use state::{OFF, PROCESS, STARTED, STARTING, STATE, WAITING, is_own, may_allocate, process};

/// Whether the option asks for it, in this process and in its forked children.
static WANTED: AtomicBool = AtomicBool::new(false);
/// Whether the program has made threads.
static THREADED: AtomicBool = AtomicBool::new(false);
/// A thread-specific value, whose destructor tells that the main thread ended.
static KEY: AtomicU32 = AtomicU32::new(0);

/// Finds what the library stands in front of, in its constructor.
pub fn prepare() {
    waits::prepare();
}

/// Lets the thread start, from the constructor of a library whose backend serves: in the main thread.
pub fn allow() {
    let mut key = 0;
    backend::prepare(allocator_pauses);
    waits::call(program_waits);
    // SAFETY: a key to fill in, and functions that are never unloaded.
    unsafe {
        if libc::pthread_key_create(&mut key, Some(main_thread_ends)) != 0
            || libc::pthread_atfork(None, None, Some(in_child)) != 0
        {
            return;
        }
    }
    KEY.store(key, Ordering::Relaxed);
    WANTED.store(true, Ordering::Relaxed);
    begin();
}

/// In a process that is new to this module, and its main thread.
fn begin() {
    PROCESS.store(process(), Ordering::Relaxed);
    // SAFETY: the key is there, its value is not null.
    unsafe { libc::pthread_setspecific(KEY.load(Ordering::Relaxed), ptr::without_provenance(1)) };
    set_state(if WANTED.load(Ordering::Relaxed) { WAITING } else { OFF });
}

fn set_state(state: u8) {
    STATE.store(state, Ordering::SeqCst);
    waits::watch(state == WAITING);
}

/// The thread that forked is the main one now.
extern "C" fn in_child() {
    THREADED.store(false, Ordering::Relaxed);
    thread::forget();
    backend::in_child();
    begin();
}

/// The main thread is left by pthread_exit(3), or cancelled: the process ends with the program's last thread, and would
/// live for ever with one of ours.
extern "C" fn main_thread_ends(_: *mut c_void) {
    end();
}

/// The program makes a thread. That is a time to start: nothing in libc is locked.
pub fn program_makes_thread() {
    THREADED.store(true, Ordering::Relaxed);
    start();
}

/// The program is about to wait. That is a time to start, if there is enough: pthread_create(3) allocates.
fn program_waits() {
    if backend::has_enough() && may_allocate() {
        start();
    }
}

/// The allocator is about to look for memory, and locks nothing. That is a time to start in a process whose program has made
/// no thread: libc frees what belonged to a thread, and allocates what will, under a lock that pthread_create(3) takes too.
fn allocator_pauses() {
    if STATE.load(Ordering::Relaxed) == WAITING && !THREADED.load(Ordering::Relaxed) && backend::has_enough()
    {
        start();
    }
}

/// Ends the thread, if there is one, and starts none in this process any more.
pub fn end() {
    if !is_own() {
        return;
    }
    let before = STATE.swap(OFF, Ordering::SeqCst);
    waits::watch(false);
    if before == STARTED {
        thread::stop();
    }
    if before != OFF {
        backend::stops();
    }
}

/// The process confines itself: a system call that makes threads, or one that the thread makes, may end it from here on.
pub fn confine() {
    // Its children are confined too.
    WANTED.store(false, Ordering::Relaxed);
    end();
}

/// Starts the thread, if it is wanted and there is none.
fn start() {
    let is_free = STATE.load(Ordering::Relaxed) == WAITING && is_own();
    if !is_free || STATE.compare_exchange(WAITING, STARTING, Ordering::SeqCst, Ordering::Relaxed).is_err() {
        return;
    }
    waits::watch(false);
    let error = errno();
    let is_started = thread::start(backend::run);
    let after = if is_started { STARTED } else { OFF };
    let is_over = STATE.compare_exchange(STARTING, after, Ordering::SeqCst, Ordering::Relaxed).is_err();
    if is_over && is_started {
        thread::stop();
    }
    if is_over || !is_started {
        backend::stops();
    }
    set_errno(error);
}

/// Whether the thread runs, in this very process.
pub fn run_here() -> bool {
    STATE.load(Ordering::Relaxed) == STARTED && is_own()
}

/// Ends the thread for a moment, or starts it again; says whether that could be done.
pub fn set(wanted: bool) -> bool {
    if !wanted {
        thread::stop();
        return true;
    }
    let is_started = thread::start(backend::run);
    if is_started && STATE.load(Ordering::SeqCst) != STARTED {
        // The process has confined itself meanwhile, or its main thread has ended.
        thread::stop();
    }
    if !is_started && STATE.compare_exchange(STARTED, OFF, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
        backend::stops();
    }
    is_started
}
