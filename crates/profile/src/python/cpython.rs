//! The CPython of this process, and what its frames are read by.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::api::Api;
use super::evaluator;
use super::layout::{Chain, Layout};
use crate::memory;

/// The CPython whose frames are read.
pub struct Python {
    /// Its API.
    pub api: &'static Api,
    /// Where its structures have what.
    pub layout: Layout,
    /// The key of the C library under which each thread has its state.
    key: libc::pthread_key_t,
    evaluators: Vec<Range<usize>>,
}

static HERE: OnceLock<Python> = OnceLock::new();
static IS_VERIFIED: AtomicBool = AtomicBool::new(false);

impl Python {
    /// The CPython whose frames can be read.
    pub fn get() -> Option<&'static Self> {
        HERE.get().filter(|_| IS_VERIFIED.load(Ordering::Acquire))
    }

    /// The CPython whose frames the probe looks for, or can be read.
    pub fn candidate() -> Option<&'static Self> {
        HERE.get()
    }

    /// Becomes the candidate, if there is none.
    pub fn keep(self) -> &'static Self {
        HERE.get_or_init(|| self)
    }

    /// The frames of the candidate can be read.
    pub fn set_verified() {
        IS_VERIFIED.store(true, Ordering::Release);
    }

    /// Looks for what frames are read by. The calling thread has the GIL.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn find(api: &'static Api) -> Result<Self, String> {
        let layout = Layout::of(api)?;
        if !memory::is_permitted() {
            return Err("the process may not read its own memory by process_vm_readv".to_owned());
        }
        let key = key_of(api.current_thread())
            .ok_or("the thread's state is not where Python keeps it (pthread_getspecific)")?;
        let is_marked = !matches!(layout.chain, Chain::Objects { mark: None, .. });
        let evaluators = if is_marked { Vec::new() } else { evaluator::parts(api.evaluator()) };
        Ok(Self { api, layout, key, evaluators })
    }

    /// The state of the calling thread, if it runs Python.
    pub fn thread(&self) -> Option<usize> {
        // SAFETY: reads the thread's own value of a key that Python has made and keeps.
        let thread = unsafe { libc::pthread_getspecific(self.key) }.addr();
        (thread != 0).then_some(thread)
    }

    /// The place of an instruction in its code, in bytes.
    pub fn instruction(&self, code: usize, address: usize) -> i64 {
        address.wrapping_sub(code).wrapping_sub(self.layout.code.instructions) as i64
    }

    /// Whether the return address is in the function that runs Python code.
    pub fn is_evaluator(&self, pc: usize) -> bool {
        // A return address is behind the call.
        self.evaluators.iter().any(|part| part.start < pc && pc <= part.end)
    }
}

/// The key for which the calling thread has this value. Python makes its key before programs make theirs.
fn key_of(value: usize) -> Option<libc::pthread_key_t> {
    // SAFETY: takes a number.
    let most = unsafe { libc::sysconf(libc::_SC_THREAD_KEYS_MAX) };
    (0..u32::try_from(most).ok()?)
        // SAFETY: below the number of keys; for one that is not in use the result is null.
        .find(|key| unsafe { libc::pthread_getspecific(*key) }.addr() == value)
}
