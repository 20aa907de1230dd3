//! jemalloc's background threads, which give free pages back while a program is idle, start when there are pages to give
//! back, and only where this library's jemalloc serves.
//!
//! jemalloc itself starts them before `main`, and never again in a forked child (jemalloc#2125): workers of a fork server
//! then keep what they free. Here they start when a process has given back [`ENOUGH`]. Small programs, and children that
//! fork to turn into another program, have none; so has a program with a `malloc` of its own. jemalloc's option
//! `background_thread:true` says that they are wanted, and `mallctl("background_thread")` whether they run.
//!
//! A thread is started by `free` only in a process whose program has made no thread: libc frees what belonged to a thread
//! under a lock that pthread_create(3) takes too. In the others the program's own call is the time
//! (crates/malloc-shim/src/background_threads.rs).

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use malloc_backend::jemalloc_nonstandard as je;

use crate::errno::{errno, set_errno};
use crate::wrap;

/// Bytes in pages, all that came back to jemalloc's arenas and not only those still free. No thread is worth less.
const ENOUGH: usize = 4 << 20;

/// What jemalloc keeps about a run of pages (its edata.h).
#[repr(C)]
struct Extent {
    bits: u64,
    address: *mut c_void,
    /// Below a page it is a serial number.
    size: usize,
}

unsafe extern "C" {
    fn __real__rjem_je_background_thread_create(tsd: *mut c_void, arena: c_uint) -> bool;
    fn __real__rjem_je_pa_dalloc(tsd: *mut c_void, shard: *mut c_void, pages: *const Extent, work: *mut bool);
    fn __real__rjem_je_arena_reset(tsd: *mut c_void, arena: *mut c_void);
    /// What jemalloc goes by: where it is false, those who allocate purge.
    static _rjem_je_background_thread_enabled_state: AtomicBool;
    /// The arena of blocks from 8 MiB up, or 0.
    static _rjem_je_huge_arena_ind: c_uint;
}

/// None, and none is to start.
const OFF: u8 = 0;
/// None yet: pages that come back are counted.
const WAITING: u8 = 1;
const STARTING: u8 = 2;
const STARTED: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(OFF);
/// Whether jemalloc's options, or the program, want them.
static WANTED: AtomicBool = AtomicBool::new(false);
/// The process of which the state is told. A child of vfork(2) or clone(2) finds its parent's, and must leave it alone.
static PROCESS: AtomicI32 = AtomicI32::new(0);
static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);
/// Whether the program has made threads.
static THREADED: AtomicBool = AtomicBool::new(false);
/// How many threads are in `arena.<i>.reset` or `destroy`, under the lock that a start takes.
static RESETTING: AtomicUsize = AtomicUsize::new(0);
/// A thread-specific value, whose destructor tells that the main thread ended.
static KEY: AtomicU32 = AtomicU32::new(0);

/// jemalloc starts them here while it initialises, in arena 0. Those of further arenas begin with the first one.
unsafe extern "C" fn background_thread_create(tsd: *mut c_void, arena: c_uint) -> bool {
    if arena == 0 {
        WANTED.store(true, Ordering::Relaxed);
        // SAFETY: jemalloc's own, an atomic boolean there too. Nobody allocates yet.
        unsafe { &_rjem_je_background_thread_enabled_state }.store(false, Ordering::Relaxed);
        return false;
    }
    // SAFETY: the arguments are handed on.
    unsafe { __real__rjem_je_background_thread_create(tsd, arena) }
}

wrap!("__wrap__rjem_je_background_thread_create", background_thread_create);

/// Pages come back to an arena. jemalloc holds no lock here, but in a reset. It reads the state afterwards, so that the
/// pages which decide are already the threads' to purge.
unsafe extern "C" fn pa_dalloc(tsd: *mut c_void, shard: *mut c_void, pages: *const Extent, work: *mut bool) {
    if STATE.load(Ordering::Relaxed) == WAITING {
        // SAFETY: jemalloc hands over what it keeps about pages that are nobody else's any more.
        let size = unsafe { (*pages).size };
        let before = GIVEN_BACK.fetch_add(size, Ordering::Relaxed);
        if before.saturating_add(size) >= ENOUGH && !THREADED.load(Ordering::Relaxed) {
            start();
        }
    }
    // SAFETY: the arguments are handed on.
    unsafe { __real__rjem_je_pa_dalloc(tsd, shard, pages, work) }
}

wrap!("__wrap__rjem_je_pa_dalloc", pa_dalloc);

unsafe extern "C" fn arena_reset(tsd: *mut c_void, arena: *mut c_void) {
    RESETTING.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the arguments are handed on.
    unsafe { __real__rjem_je_arena_reset(tsd, arena) }
    RESETTING.fetch_sub(1, Ordering::Relaxed);
}

wrap!("__wrap__rjem_je_arena_reset", arena_reset);

/// Lets them start, from the constructor of a library whose jemalloc serves: in the main thread.
pub fn allow() {
    // That initialises jemalloc, if nothing has: it reads its options, and its fork handlers are before ours.
    let _ = runs();
    let mut key = 0;
    // SAFETY: a key to fill in, and functions that are never unloaded.
    unsafe {
        if libc::pthread_key_create(&mut key, Some(main_thread_ends)) != 0
            || libc::pthread_atfork(None, None, Some(in_child)) != 0
        {
            return;
        }
    }
    KEY.store(key, Ordering::Relaxed);
    begin();
}

/// In a process that is new to this module, and its main thread.
fn begin() {
    // SAFETY: takes nothing; the key is there, its value is not null.
    unsafe {
        PROCESS.store(libc::getpid(), Ordering::Relaxed);
        libc::pthread_setspecific(KEY.load(Ordering::Relaxed), ptr::without_provenance(1));
    }
    GIVEN_BACK.store(0, Ordering::Relaxed);
    let state = if WANTED.load(Ordering::Relaxed) { WAITING } else { OFF };
    STATE.store(state, Ordering::SeqCst);
}

/// jemalloc's own handler has just forgotten the threads, which are the parent's. The thread that forked is the main one.
extern "C" fn in_child() {
    THREADED.store(false, Ordering::Relaxed);
    begin();
}

/// The main thread is left by pthread_exit(3), or cancelled: the process ends with the program's last thread, and would
/// live for ever with one of jemalloc's.
extern "C" fn main_thread_ends(_: *mut c_void) {
    end();
}

/// The program makes a thread. That is a time to start: nothing in libc is locked.
pub fn program_makes_thread() {
    THREADED.store(true, Ordering::Relaxed);
    start();
}

/// Ends them, if they run, and starts none in this process any more.
fn end() {
    if STATE.swap(OFF, Ordering::SeqCst) == STARTED && is_own() {
        set(false);
    }
}

/// The process confines itself: a system call that makes threads may end it from here on.
pub fn confine() {
    if STATE.load(Ordering::Relaxed) == WAITING {
        // Its children are confined too.
        WANTED.store(false, Ordering::Relaxed);
        end();
    }
}

/// The program itself has jemalloc start them now, or do without.
pub fn program_sets(wanted: bool) {
    WANTED.store(wanted, Ordering::Relaxed);
    // SAFETY: takes nothing, cannot fail.
    PROCESS.store(unsafe { libc::getpid() }, Ordering::Relaxed);
    STATE.store(if wanted { STARTED } else { OFF }, Ordering::SeqCst);
}

/// Starts them, if they are wanted and do not run.
fn start() {
    let is_free = STATE.load(Ordering::Relaxed) == WAITING && is_own();
    if !is_free || STATE.compare_exchange(WAITING, STARTING, Ordering::SeqCst, Ordering::Relaxed).is_err() {
        return;
    }
    let error = errno();
    let mut after = WAITING;
    if RESETTING.load(Ordering::Relaxed) == 0 {
        if set(true) {
            after = STARTED;
            keep_huge_pages();
        } else {
            // jemalloc is to know: those who allocate purge. The next attempt is far away.
            set(false);
            GIVEN_BACK.store(0, Ordering::Relaxed);
        }
    }
    let is_over = STATE.compare_exchange(STARTING, after, Ordering::SeqCst, Ordering::Relaxed).is_err();
    if is_over && after == STARTED {
        set(false);
    }
    set_errno(error);
}

/// Whether they run, in this very process.
pub fn run_here() -> bool {
    STATE.load(Ordering::Relaxed) == STARTED && is_own() && runs()
}

/// Whether this process is the one that [`STATE`] tells of.
fn is_own() -> bool {
    // SAFETY: takes nothing, cannot fail.
    PROCESS.load(Ordering::Relaxed) == unsafe { libc::getpid() }
}

/// Whether jemalloc has them run.
fn runs() -> bool {
    let mut runs = false;
    control(c"background_thread", Some(&mut runs), None) && runs
}

/// Has jemalloc start or end them; says whether it could. It would tell the program's standard error where it cannot,
/// which is no more than a limit of threads that is reached.
pub fn set(wanted: bool) -> bool {
    unsafe extern "C" fn quiet(_: *mut c_void, _: *const c_char) {}
    // SAFETY: a pointer of jemalloc's, which a thread that says something now may read before or after.
    unsafe {
        let message = (&raw mut je::malloc_message).replace(Some(quiet));
        let done = control(c"background_thread", None, Some(wanted));
        je::malloc_message = message;
        done
    }
}

/// The arena of huge blocks gives its pages back at once where it was made without the threads; now it does as the others.
fn keep_huge_pages() {
    // SAFETY: written once, while jemalloc initialises.
    let arena = unsafe { _rjem_je_huge_arena_ind } as usize;
    if arena == 0 {
        return;
    }
    for (default, own) in [
        (c"arenas.dirty_decay_ms", c"arena.0.dirty_decay_ms"),
        (c"arenas.muzzy_decay_ms", c"arena.0.muzzy_decay_ms"),
    ] {
        let (mut usual, mut current) = (0_isize, 0_isize);
        let mut mib = [0_usize; 3];
        let mut length = mib.len();
        // SAFETY: a C string, and as many integers as are said.
        let found = unsafe { je::mallctlnametomib(own.as_ptr(), mib.as_mut_ptr(), &mut length) } == 0;
        if !found || !control(default, Some(&mut usual), None) || usual <= 0 {
            continue;
        }
        mib[1] = arena;
        let mut size = size_of::<isize>();
        // SAFETY: as many integers as are said; the values are of the option's type. An arena that is not there is an error.
        unsafe {
            let read = (&raw mut current).cast();
            if je::mallctlbymib(mib.as_ptr(), length, read, &mut size, ptr::null_mut(), 0) == 0
                && current == 0
            {
                let write = (&raw mut usual).cast();
                je::mallctlbymib(mib.as_ptr(), length, ptr::null_mut(), ptr::null_mut(), write, size);
            }
        }
    }
}

/// Reads an option of jemalloc's, or writes it; says whether that was done. The type is the option's.
fn control<T: Copy>(name: &CStr, old: Option<&mut T>, new: Option<T>) -> bool {
    let mut size = size_of::<T>();
    let old: *mut T = old.map_or(ptr::null_mut(), ptr::from_mut);
    let (old_size, mut new) = (if old.is_null() { ptr::null_mut() } else { &raw mut size }, new);
    let (new, new_size) =
        new.as_mut().map_or((ptr::null_mut(), 0), |new| (ptr::from_mut(new), size_of::<T>()));
    // SAFETY: a C string, and each value with its size.
    let error: c_int = unsafe { je::mallctl(name.as_ptr(), old.cast(), old_size, new.cast(), new_size) };
    error == 0
}
