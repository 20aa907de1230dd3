//! Public functions of V8 that neither allocate nor collect. Their signatures are the same from Node 20 to Node 26
//! (include/v8-isolate.h, include/v8-unwinder.h).

use std::ffi::{CStr, c_int, c_void};
use std::mem;
use std::ops::Range;

use crate::hooks::Caller;
use crate::v8::layout::program_symbol;

/// A pointer to V8's `Isolate`.
pub type Isolate = *mut c_void;

/// V8's `MemoryRange`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct MemoryRange {
    start: usize,
    length: usize,
}

/// V8's `RegisterState`: pc, sp, fp, lr and a pointer to more registers.
type Registers = [usize; 5];
/// V8's `SampleInfo`, and room for more. The state is in the lower half of the fifth word.
type Info = [usize; 16];

type GetRange = unsafe extern "C" fn(Isolate, *mut usize, *mut usize);

/// V8's `GCCallbackWithData`.
type Callback = unsafe extern "C" fn(Isolate, c_int, c_int, *mut c_void);
type AddCallback = unsafe extern "C" fn(Isolate, Callback, *mut c_void, c_int);
type RemoveCallback = unsafe extern "C" fn(Isolate, Callback, *mut c_void);

/// The functions that watch the collections of garbage.
pub struct Watch {
    pub add_begin: AddCallback,
    pub add_end: AddCallback,
    pub remove_begin: RemoveCallback,
    pub remove_end: RemoveCallback,
}

/// The functions.
pub struct Api {
    try_get_current: unsafe extern "C" fn() -> Isolate,
    get_stack_sample: unsafe extern "C" fn(Isolate, *const Registers, *mut *mut c_void, usize, *mut Info),
    get_code_range: GetRange,
    get_embedded_code_range: GetRange,
    copy_code_pages: unsafe extern "C" fn(Isolate, usize, *mut MemoryRange) -> usize,
    /// Missing where Node does not export them.
    pub watch: Option<Watch>,
}

const PAGES: usize = 64;

impl Watch {
    fn find() -> Option<Self> {
        let add = |name| {
            let found = program_symbol(name)?;
            // SAFETY: as for [`Api::find`].
            Some(unsafe { mem::transmute::<usize, AddCallback>(found) })
        };
        let remove = |name| {
            let found = program_symbol(name)?;
            // SAFETY: as for [`Api::find`].
            Some(unsafe { mem::transmute::<usize, RemoveCallback>(found) })
        };
        Some(Self {
            add_begin: add(
                c"_ZN2v87Isolate21AddGCPrologueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_S2_",
            )?,
            add_end: add(
                c"_ZN2v87Isolate21AddGCEpilogueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_S2_",
            )?,
            remove_begin: remove(
                c"_ZN2v87Isolate24RemoveGCPrologueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_",
            )?,
            remove_end: remove(
                c"_ZN2v87Isolate24RemoveGCEpilogueCallbackEPFvPS0_NS_6GCTypeENS_15GCCallbackFlagsEPvES4_",
            )?,
        })
    }
}

impl Api {
    /// The functions of the V8 in the program.
    pub fn find() -> Result<Self, String> {
        let find = |name: &CStr| {
            let missing = || format!("Node exports no function {}", name.to_string_lossy());
            program_symbol(name).ok_or_else(missing)
        };
        let current = find(c"_ZN2v87Isolate13TryGetCurrentEv")?;
        let sample = find(c"_ZN2v87Isolate14GetStackSampleERKNS_13RegisterStateEPPvmPNS_10SampleInfoE")?;
        let range = find(c"_ZN2v87Isolate12GetCodeRangeEPPvPm")?;
        let embedded = find(c"_ZN2v87Isolate20GetEmbeddedCodeRangeEPPKvPm")?;
        let pages = find(c"_ZN2v87Isolate13CopyCodePagesEmPNS_11MemoryRangeE")?;
        // SAFETY: the functions have these types: the names contain the parameters, and the results are in the headers.
        unsafe {
            Ok(Self {
                try_get_current: mem::transmute::<usize, unsafe extern "C" fn() -> Isolate>(current),
                get_stack_sample: mem::transmute::<
                    usize,
                    unsafe extern "C" fn(Isolate, *const Registers, *mut *mut c_void, usize, *mut Info),
                >(sample),
                get_code_range: mem::transmute::<usize, GetRange>(range),
                get_embedded_code_range: mem::transmute::<usize, GetRange>(embedded),
                copy_code_pages: mem::transmute::<
                    usize,
                    unsafe extern "C" fn(Isolate, usize, *mut MemoryRange) -> usize,
                >(pages),
                watch: Watch::find(),
            })
        }
    }

    /// The calling thread's isolate; null if it has none.
    pub fn current(&self) -> Isolate {
        // SAFETY: reads thread-local storage.
        unsafe { (self.try_get_current)() }
    }

    /// What V8 does at this moment (`StateTag`).
    ///
    /// # Safety
    /// The isolate is the calling thread's.
    pub unsafe fn state(&self, isolate: Isolate, caller: &Caller) -> u16 {
        let registers: Registers = [caller.pc, caller.sp, caller.fp, 0, 0];
        let mut info: Info = [0; 16];
        let mut frames = [std::ptr::null_mut(); 1];
        // SAFETY: made for a profiler that stops a thread anywhere. There is room for no frame, and it writes none.
        unsafe { (self.get_stack_sample)(isolate, &registers, frames.as_mut_ptr(), 0, &mut info) };
        info[4] as u16
    }

    /// Where the isolate's code is: what V8 compiles, its own builtins, and a copy of these among the former.
    ///
    /// # Safety
    /// The isolate is the calling thread's.
    pub unsafe fn ranges(&self, isolate: Isolate) -> [Range<usize>; 3] {
        let range = |get: GetRange| {
            let (mut start, mut length) = (0, 0);
            // SAFETY: writes two words.
            unsafe { get(isolate, &mut start, &mut length) };
            start..start + length
        };
        let compiled = range(self.get_code_range);
        let builtins = range(self.get_embedded_code_range);
        let mut pages = [MemoryRange::default(); PAGES];
        // SAFETY: there is room for as many as said. It copies a list that V8 keeps for profilers.
        let count = unsafe { (self.copy_code_pages)(isolate, PAGES, pages.as_mut_ptr()) };
        let copy = pages[..count.min(PAGES)]
            .iter()
            .find(|page| page.length == builtins.len() && page.start != builtins.start)
            .map_or(0..0, |page| page.start..page.start + page.length);
        [compiled, builtins, copy]
    }
}
