//! The one thread of idle release. It is a thread of libc's, so that libc locks what two threads share. It blocks all
//! signals: they are the program's. It has a small stack, and a name.

use core::ffi::{c_int, c_void};
use core::mem::{MaybeUninit, transmute};
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::next::PTHREAD_CREATE;
use crate::system_calls::system_call;

/// As top and gdb show it.
const NAME: &core::ffi::CStr = c"malloc-idle";
/// A program's thread-local variables are on it too; where they are more, the thread gets a stack of the usual size.
const STACK: usize = 64 << 10;

/// As pthread.h has it, in glibc and in musl.
const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

type Routine = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(*mut usize, *const c_void, Routine, *mut c_void) -> c_int;

/// What the thread sleeps on, while it is [`NOTHING`].
static ASKED: AtomicU32 = AtomicU32::new(NOTHING);
const NOTHING: u32 = 0;
const TO_WAKE: u32 = 1;
const TO_END: u32 = 2;
/// The thread's pthread_t, [`NONE`], or [`BUSY`]. A pthread_t is an address in glibc and in musl.
static THREAD: AtomicUsize = AtomicUsize::new(NONE);
const NONE: usize = 0;
/// Some thread starts it, or waits for its end.
const BUSY: usize = 1;

/// The pthread_t, as soon as nobody is busy with it; or [`NONE`]. The caller is the one that is busy now.
fn claim() -> usize {
    loop {
        let thread = THREAD.load(Ordering::SeqCst);
        if thread == BUSY {
            // SAFETY: a system call without arguments.
            unsafe { system_call(libc::SYS_sched_yield, &[]) };
        } else if THREAD.compare_exchange(thread, BUSY, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            return thread;
        }
    }
}

/// Starts it; says whether it runs.
pub fn start(routine: fn()) -> bool {
    extern "C" fn run(routine: *mut c_void) -> *mut c_void {
        // SAFETY: a C string; and the function that `start` was given.
        unsafe {
            system_call(libc::SYS_prctl, &[libc::PR_SET_NAME as usize, NAME.as_ptr() as usize]);
            transmute::<*mut c_void, fn()>(routine)();
        }
        ptr::null_mut()
    }
    let create = PTHREAD_CREATE.resolved();
    if create.is_null() {
        return false;
    }
    // SAFETY: the function has that type.
    let create = unsafe { transmute::<*mut c_void, Create>(create) };
    without_signals(|| {
        let running = claim();
        let thread = if running == NONE { created(create, run, routine) } else { running };
        THREAD.store(thread, Ordering::SeqCst);
        thread != NONE
    })
}

/// A new thread, or [`NONE`]. The caller has claimed it, and blocked the signals, which the new thread inherits.
fn created(create: Create, run: Routine, routine: fn()) -> usize {
    ASKED.store(NOTHING, Ordering::Relaxed);
    let mut thread = NONE;
    // SAFETY: the attributes are filled in before they are read.
    let error = unsafe {
        let mut attributes = MaybeUninit::uninit();
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK);
        let mut error = create(&mut thread, attributes.as_ptr().cast(), run, routine as *mut c_void);
        if error == libc::EINVAL {
            error = create(&mut thread, ptr::null(), run, routine as *mut c_void);
        }
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        error
    };
    if error == 0 { thread } else { NONE }
}

/// Does something that no signal handler interrupts: a handler that needs the thread too would wait for itself.
fn without_signals<Done>(work: impl FnOnce() -> Done) -> Done {
    let mut before = MaybeUninit::uninit();
    // SAFETY: the sets are filled in before they are read.
    unsafe {
        let mut all = MaybeUninit::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        let done = work();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        done
    }
}

/// Ends it and waits for that.
pub fn stop() {
    let mut cancelled = 0;
    // SAFETY: the state that was is filled in. Who is cancelled while it waits would leave the thread claimed for ever.
    unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut cancelled) };
    without_signals(|| {
        let thread = claim();
        if thread != NONE {
            ASKED.store(TO_END, Ordering::SeqCst);
            interrupt();
            // SAFETY: a thread that was started here, is not detached, and is joined once: by who has claimed it.
            unsafe { libc::pthread_join(thread as libc::pthread_t, ptr::null_mut()) };
        }
        THREAD.store(NONE, Ordering::SeqCst);
    });
    // SAFETY: the state that was.
    unsafe { pthread_setcancelstate(cancelled, ptr::null_mut()) };
}

/// In a forked child: the thread is the parent's.
pub fn forget() {
    THREAD.store(NONE, Ordering::Relaxed);
    ASKED.store(NOTHING, Ordering::Relaxed);
}

/// Ends the thread's sleep, also one that has not begun.
#[cfg(feature = "mimalloc")]
pub fn wake() {
    if ASKED.compare_exchange(NOTHING, TO_WAKE, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
        interrupt();
    }
}

fn interrupt() {
    // SAFETY: a futex is its address.
    unsafe {
        system_call(
            libc::SYS_futex,
            &[ASKED.as_ptr() as usize, (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize, 1],
        )
    };
}

/// Whether the thread is to go on.
pub fn goes_on() -> bool {
    ASKED.load(Ordering::SeqCst) != TO_END
}

/// Has the thread sleep for so many milliseconds, or until it is woken. Says whether it is to go on.
pub fn sleep(milliseconds: Option<u32>) -> bool {
    let time = milliseconds
        .map(|all| libc::timespec { tv_sec: (all / 1000).into(), tv_nsec: (all % 1000 * 1_000_000).into() });
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    let wait = [
        ASKED.as_ptr() as usize,
        (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize,
        NOTHING as usize,
        time as usize,
    ];
    // SAFETY: a futex is its address; the time is null or readable.
    unsafe { system_call(libc::SYS_futex, &wait) };
    let _ = ASKED.compare_exchange(TO_WAKE, NOTHING, Ordering::SeqCst, Ordering::Relaxed);
    goes_on()
}
