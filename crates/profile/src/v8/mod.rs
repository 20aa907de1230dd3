//! JavaScript frames, read from V8's frames and objects. Nothing of V8's is called that allocates or may collect garbage.

mod api;
mod collections;
mod function;
mod heap;
mod inlining;
mod layout;
mod strings;

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub use function::Function;

use crate::frame::Frame;
use crate::hooks::Caller;
use crate::memory;
use crate::stack::Stack;
use crate::tables::Tables;
use api::{Api, Isolate};
use function::Functions;
use inlining::Inlined;
use layout::Layout;

/// The V8 of this process.
pub struct V8 {
    api: Api,
    /// Or why V8's objects cannot be read.
    layout: Result<Layout, String>,
    is_verified: AtomicBool,
    /// V8's builtins, which are in the program: the same for all isolates.
    builtins: Range<usize>,
    /// Where an isolate keeps the frame from which JavaScript last called native code; 0 if that is not known.
    last_exit: AtomicUsize,
}

static HERE: OnceLock<V8> = OnceLock::new();
/// Whether this process is a forked child.
static IS_GONE: AtomicBool = AtomicBool::new(false);

/// V8's `StateTag` of the same name.
const GC: u16 = 1;

impl V8 {
    /// The V8 of this process, if it was looked for and found.
    pub fn get() -> Option<&'static Self> {
        HERE.get().filter(|_| !IS_GONE.load(Ordering::Relaxed))
    }

    /// For a forked child: V8 lets no child have its heap (`MADV_DONTFORK`), so the child must not read it, nor call V8.
    pub fn forget() {
        IS_GONE.store(true, Ordering::Relaxed);
    }

    /// Looks for the V8 of this process, from a call of JavaScript's. The error says why there are no frames of it at all.
    pub fn find(version: &str) -> Result<&'static Self, String> {
        if let Some(here) = HERE.get() {
            return Ok(here);
        }
        let layout = match memory::is_permitted() {
            true => Layout::find(version),
            false => {
                Err("the kernel does not let the process read its own memory (process_vm_readv)".to_owned())
            }
        };
        let api = Api::find()?;
        let isolate = api.current();
        if isolate.is_null() {
            return Err("the thread runs no JavaScript".to_owned());
        }
        // SAFETY: the calling thread's isolate, which is complete: it runs JavaScript.
        let [_, builtins, _] = unsafe { api.ranges(isolate) };
        let (is_verified, last_exit) = (AtomicBool::new(false), AtomicUsize::new(0));
        let here = Self { api, layout, is_verified, builtins, last_exit };
        Ok(HERE.get_or_init(|| here))
    }

    /// Why V8's objects cannot be read at all.
    pub fn why_not(&self) -> Option<&str> {
        self.layout.as_ref().err().map(String::as_str)
    }

    /// Says whether a known function was found on the stack. Else no function is read.
    pub fn set_verified(&self, is_verified: bool) {
        self.is_verified.store(is_verified, Ordering::Relaxed);
    }

    /// Whether functions are read.
    pub fn is_verified(&self) -> bool {
        self.is_verified.load(Ordering::Relaxed)
    }

    /// Whether the address is in V8's builtins.
    pub fn is_builtin(&self, pc: usize) -> bool {
        self.builtins.contains(&pc)
    }

    /// Counts the collections of garbage in the calling thread's isolate from here on, so that its stacks can be kept
    /// ([`Known::collections`]). One isolate at a time is counted.
    ///
    /// # Safety
    /// The call comes from JavaScript of the calling thread.
    pub unsafe fn watch_collections(&self) {
        if let Some(watch) = &self.api.watch {
            // SAFETY: the caller's obligation.
            unsafe { collections::watch(watch, self.api.current()) };
        }
    }

    /// Ends that, if it is the calling thread's isolate that is watched.
    ///
    /// # Safety
    /// As for [`Self::watch_collections`], or the isolate is about to end.
    pub unsafe fn forget_collections(&self) {
        if let Some(watch) = &self.api.watch {
            // SAFETY: the caller's obligation.
            unsafe { collections::unwatch(watch, self.api.current()) };
        }
    }

    /// Learns where an isolate keeps the frame of the last exit from JavaScript: at the one place that has the frame of the exit
    /// through which this call came.
    pub fn learn_last_exit(&self, exit: usize) {
        const WORDS: usize = 1024;
        let isolate = self.api.current().addr();
        let Some(words) = memory::words::<WORDS>(isolate) else { return };
        let mut found = (0..WORDS).filter(|index| words[*index] == exit);
        if let (Some(index), None) = (found.next(), found.next()) {
            self.last_exit.store(index * 8, Ordering::Relaxed);
        }
    }
}

/// What is in the place of a frame's function: 0 for a frame that has none, because its kind is there instead of a context.
pub fn function_slot(stack: &Stack, frame: usize) -> usize {
    const FUNCTION_AND_CONTEXT: usize = 16;
    let [function, context] = stack.words(frame.wrapping_sub(FUNCTION_AND_CONTEXT)).unwrap_or_default();
    if context & 1 == 0 { 0 } else { function }
}

/// What a thread knows of its isolate.
#[derive(Default)]
pub struct Known {
    isolate: usize,
    session: u32,
    /// V8's code: compiled, builtins, and a copy of the builtins.
    code: [Range<usize>; 3],
    caches: Option<Box<Caches>>,
}

#[derive(Default)]
struct Caches {
    functions: Functions,
    inlined: Inlined,
}

impl Known {
    /// Begins a walk. The isolate that the thread has now may be another one.
    pub fn begin(&mut self, v8: Option<&V8>, session: u32) {
        let isolate = v8.map_or(0, |v8| v8.api.current().addr());
        if self.isolate != isolate || self.session != session {
            *self = Self { isolate, session, code: Default::default(), caches: None };
        }
    }

    /// The number of collections of garbage so far. What is on the stack with the same number is the same. `None` if nobody counts
    /// them for this isolate.
    pub fn collections(&self) -> Option<u32> {
        collections::number(self.isolate)
    }

    /// Whether the address is in V8's code, as far as that is known already.
    pub fn is_code(&self, pc: usize) -> bool {
        self.code.iter().any(|range| range.contains(&pc))
    }

    /// Whether the address, which is on the stack, is in V8's code.
    pub fn has_code(&mut self, v8: &V8, pc: usize) -> bool {
        if self.isolate != 0 && self.caches.is_none() {
            // SAFETY: the calling thread's isolate. It is complete: what is on the stack and in no module was compiled, or is a
            // builtin.
            self.code = unsafe { v8.api.ranges(self.isolate as Isolate) };
            self.caches = Some(Box::default());
        }
        self.is_code(pc)
    }

    /// Whether V8 collects garbage at this moment: then objects are not where they seem to be. V8's code is on the stack.
    pub fn collects(&self, v8: &V8, caller: &Caller) -> bool {
        // SAFETY: the calling thread's isolate, which runs JavaScript.
        self.isolate != 0 && unsafe { v8.api.state(self.isolate as Isolate, caller) } == GC
    }

    /// The frame from which JavaScript last called native code.
    pub fn last_exit(&self, v8: &V8, stack: &Stack, stack_pointer: usize) -> Option<Caller> {
        let place = v8.last_exit.load(Ordering::Relaxed);
        if self.caches.is_none() || place == 0 {
            return None;
        }
        let [exit] = memory::words::<1>(self.isolate + place)?;
        if exit < stack_pointer {
            return None;
        }
        let caller = Caller { pc: stack.word(exit + 8)?, sp: exit + 16, fp: stack.word(exit)? };
        self.code.iter().any(|range| range.contains(&caller.pc)).then_some(caller)
    }

    /// Reads the functions that frames of V8's code have in the place of their function; 0 for none.
    pub fn functions(&mut self, v8: &V8, tables: &Tables, slots: &[usize], found: &mut [u32]) {
        match (&v8.layout, &mut self.caches) {
            (Ok(layout), Some(caches)) => caches.functions.of_slots(layout, tables, slots, found),
            _ => found.fill(0),
        }
    }

    /// Calls the function for each function that is inlined at the return address, the innermost first.
    pub fn inlined(&mut self, v8: &V8, tables: &Tables, pc: usize, with: impl FnMut(Frame)) {
        let (Ok(layout), Some(caches)) = (&v8.layout, &mut self.caches) else { return };
        let Caches { functions, inlined } = &mut **caches;
        let [compiled, builtins, copy] = &self.code;
        if compiled.contains(&pc) && !builtins.contains(&pc) && !copy.contains(&pc) {
            inlined.each(layout, tables, functions, pc, with);
        }
    }
}
