//! What a thread needs to take a sample. It is made at the thread's first sample, and ends with the thread.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::hooks::{self, Thread};
use crate::memo::Memo;
use crate::rules::Rules;
use crate::stack::Stack;
use crate::tables::Tables;
use crate::walk::{MOST, Raw};
use crate::{python, v8};

/// A thread's own state.
pub struct Record {
    /// For random numbers.
    random: u64,
    /// The thread's id and, in the lower half, its name in the table of strings.
    label: u64,
    /// The profile whose table of strings has the name.
    session: u32,
    /// The thread's stack.
    pub stack: Stack,
    /// The rules by which the frames of modules are unwound.
    pub rules: Rules,
    /// Room for a stack.
    pub frames: Frames,
    /// What the thread knows of its isolate.
    pub isolate: v8::Known,
    /// The stacks that the thread has seen lately.
    pub memo: Memo,
    /// Room for its Python frames.
    pub python: python::Frames,
}

/// The label, the frames with those that the compiler inlined, and the stack that queued the work.
pub const WORDS: usize = 4 * MOST;

/// Room for the frames of a walk.
pub struct Frames {
    /// As they are on the stack.
    pub raw: [Raw; MOST],
    /// As they are in the table, behind the thread's label.
    pub words: [u64; WORDS],
}

impl Default for Frames {
    fn default() -> Self {
        Self { raw: [Raw::default(); MOST], words: [0; WORDS] }
    }
}

/// The key whose destructor ends a record.
static KEY: AtomicU32 = AtomicU32::new(u32::MAX);

/// Makes the end of a thread known. False if the process has no key left.
pub fn watch_ends() -> bool {
    if KEY.load(Ordering::Relaxed) != u32::MAX {
        return true;
    }
    let mut key = 0;
    // SAFETY: the destructor takes what is set for the key: a record.
    let made = unsafe { libc::pthread_key_create(&mut key, Some(end)) } == 0;
    if made {
        KEY.store(key, Ordering::Relaxed);
    }
    made
}

unsafe extern "C" fn end(record: *mut c_void) {
    let thread = hooks::current();
    // SAFETY: the calling thread's own part. No sample is taken from here on, because `busy` stays.
    unsafe {
        (*thread).busy = 1;
        (*thread).record = std::ptr::null_mut();
    }
    // SAFETY: `of` has made it, and nobody knows it any more.
    drop(unsafe { Box::from_raw(record.cast::<Record>()) });
}

/// The calling thread's record.
///
/// # Safety
/// The thread's part is the calling thread's, `busy` is set, and the record is not used elsewhere meanwhile.
pub unsafe fn of<'a>(thread: *mut Thread, stack_pointer: usize) -> &'a mut Record {
    // SAFETY: the caller's obligation. The allocations and `pthread_setspecific` reach the hooks at most with `busy` set.
    unsafe {
        if (*thread).record.is_null() {
            let record = Box::into_raw(Box::new(Record::new(stack_pointer)));
            (*thread).record = record.cast();
            libc::pthread_setspecific(KEY.load(Ordering::Relaxed), record.cast());
        }
        &mut *(*thread).record.cast::<Record>()
    }
}

impl Record {
    fn new(stack_pointer: usize) -> Self {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: room for a time.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
        Self {
            random: (now.tv_nsec as u64) ^ ((now.tv_sec as u64) << 30) ^ ((thread_id() as u64) << 48) | 1,
            label: 0,
            session: 0,
            stack: Stack::of_this_thread(stack_pointer),
            rules: Rules::new(),
            frames: Frames::default(),
            isolate: v8::Known::default(),
            memo: Memo::default(),
            python: python::Frames::default(),
        }
    }

    /// A random number, uniform in (0, 1] (xorshift64*, 53 bits).
    pub fn random(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (bits + 1) as f64 / (1_u64 << 53) as f64
    }

    /// The thread's id and name, for the first word of a stack.
    pub fn label(&mut self, session: u32, tables: &Tables) -> u64 {
        if self.session != session {
            self.session = session;
            let mut name = [0_u8; 16];
            // SAFETY: room for a name, which has at most 16 bytes.
            unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
            let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let name = tables.strings.intern(&name[..length]).unwrap_or(0);
            self.label = (tables.thread_id(thread_id()) as u64) << 32 | u64::from(name);
        }
        self.label
    }
}

fn thread_id() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }
}
