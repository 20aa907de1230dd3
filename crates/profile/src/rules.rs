//! How framehop finds the caller of a function in a module, by `.eh_frame`.

use std::ops::Range;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, MustNotAllocateDuringUnwind, Unwinder as _};

use crate::hooks::Caller;
use crate::lock::Lock;
use crate::modules::{self, Module};
use crate::session;
use crate::stack::Stack;

/// The unwinder for all modules, and where they have their code.
struct Unwinder {
    framehop: UnwinderX86_64<Vec<u8>, MustNotAllocateDuringUnwind>,
    /// In the order of addresses.
    code: Vec<Range<usize>>,
}

/// A thread's cache of unwinding rules.
pub struct Rules(CacheX86_64<MustNotAllocateDuringUnwind>);

impl Rules {
    /// An empty cache.
    pub fn new() -> Self {
        Self(CacheX86_64::new_in())
    }
}

/// The unwinder for all modules. Who uses it is [`session::Inside`].
static UNWINDER: AtomicPtr<Unwinder> = AtomicPtr::new(ptr::null_mut());
/// The code of the program, and whether it keeps frame pointers.
static PROGRAM: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
static KEEPS_FRAME_POINTERS: AtomicBool = AtomicBool::new(false);

/// A module, for the names of its functions and for its frames.
pub struct Known {
    /// Added to the addresses in the file.
    pub base: usize,
    /// The file.
    pub path: PathBuf,
    /// The file's build id.
    pub build_id: Vec<u8>,
    /// What is mapped from the file, with the place in the file.
    pub segments: Vec<(Range<usize>, u64)>,
    unwind: Option<framehop::Module<Vec<u8>>>,
    is_loaded: bool,
}

/// The modules of this process, and old unwinders that a thread may still use.
pub struct Modules {
    /// The modules that are loaded, and those that were since the profile started.
    pub known: Vec<Known>,
    retired: Vec<Unwinder>,
}

/// The modules of this process.
pub static MODULES: Lock<Modules> = Lock::new(Modules { known: Vec::new(), retired: Vec::new() });

/// Says that the program is Node, whose code keeps frame pointers.
pub fn program_keeps_frame_pointers() {
    KEEPS_FRAME_POINTERS.store(true, Ordering::Relaxed);
}

/// Forgets the modules that are gone. No profile runs.
pub fn forget_modules() {
    MODULES.hold().known.retain(|known| known.is_loaded);
}

/// Reads the modules that are loaded, and makes an unwinder of them.
pub fn learn_modules() {
    let mut held = MODULES.hold();
    let Modules { known, retired } = &mut *held;
    for module in &mut *known {
        module.is_loaded = false;
    }
    modules::each(|module| {
        if module.is_program() {
            PROGRAM[0].store(module.code.start, Ordering::Relaxed);
            PROGRAM[1].store(module.code.end, Ordering::Relaxed);
        }
        let segments: Vec<_> = module.segments().collect();
        let build_id = module.build_id().unwrap_or_default();
        let same = known.iter_mut().find(|known| known.segments == segments && known.build_id == build_id);
        match same {
            Some(known) => known.is_loaded = true,
            None => known.push(Known {
                base: module.base(),
                path: module.path(),
                build_id: build_id.to_vec(),
                segments,
                unwind: unwind_information(module),
                is_loaded: true,
            }),
        }
    });
    let mut unwinder = Unwinder { framehop: UnwinderX86_64::new(), code: Vec::new() };
    for known in &mut *known {
        if !known.is_loaded {
            known.unwind = None;
        }
        if let Some(module) = &known.unwind {
            unwinder.framehop.add_module(module.clone());
            let code = module.avma_range();
            unwinder.code.push(code.start as usize..code.end as usize);
        }
    }
    unwinder.code.sort_by_key(|code| code.start);
    let old = UNWINDER.swap(Box::into_raw(Box::new(unwinder)), Ordering::SeqCst);
    if !old.is_null() {
        // SAFETY: made above, and in no other place any more.
        retired.push(*unsafe { Box::from_raw(old) });
    }
    // Who enters from here on finds the new one.
    if session::is_quiet() {
        retired.clear();
    }
}

/// Copies what framehop needs: the module may be unloaded.
fn unwind_information(module: &Module<'_>) -> Option<framehop::Module<Vec<u8>>> {
    if module.is_program() && KEEPS_FRAME_POINTERS.load(Ordering::Relaxed) {
        return None;
    }
    let [(index_start, index), (frames_start, frames)] = module.unwind_sections()?;
    let base = module.base();
    let relative = |start: usize, length: usize| (start - base) as u64..(start - base + length) as u64;
    let sections = ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: Some(relative(module.code.start, module.code.len())),
        eh_frame_hdr_svma: Some(relative(index_start, index.len())),
        eh_frame_hdr: Some(index.to_vec()),
        eh_frame_svma: Some(relative(frames_start, frames.len())),
        eh_frame: Some(frames.to_vec()),
        ..Default::default()
    };
    let code = module.code.start as u64..module.code.end as u64;
    Some(framehop::Module::new(String::new(), code, base as u64, sections))
}

/// The code of the program, if it keeps frame pointers.
pub fn code_with_frame_pointers() -> Range<usize> {
    match KEEPS_FRAME_POINTERS.load(Ordering::Relaxed) {
        true => PROGRAM[0].load(Ordering::Relaxed)..PROGRAM[1].load(Ordering::Relaxed),
        false => 0..0,
    }
}

/// The caller of a function in a module.
pub enum Found {
    /// Its registers.
    Caller(Caller),
    /// The module does not say, or the function is the outermost one.
    End,
    /// The address is in no module.
    NoModule,
}

/// The caller of a function in a module.
///
/// # Safety
/// The calling thread is [`session::Inside`], or holds the lock of the profile.
pub unsafe fn caller_of(stack: &Stack, rules: &mut Rules, at: &Caller) -> Found {
    // SAFETY: the caller's obligation: so the unwinder stays.
    let Some(unwinder) = (unsafe { UNWINDER.load(Ordering::SeqCst).as_ref() }) else {
        return Found::NoModule;
    };
    let behind = unwinder.code.partition_point(|code| code.start < at.pc);
    // A return address may be right behind the code.
    if behind == 0 || at.pc > unwinder.code[behind - 1].end {
        return Found::NoModule;
    }
    by_rules(&unwinder.framehop, stack, rules, at).map_or(Found::End, Found::Caller)
}

fn by_rules(
    unwinder: &UnwinderX86_64<Vec<u8>, MustNotAllocateDuringUnwind>,
    stack: &Stack,
    rules: &mut Rules,
    at: &Caller,
) -> Option<Caller> {
    let mut registers = UnwindRegsX86_64::new(at.pc as u64, at.sp as u64, at.fp as u64);
    let mut word = |address: u64| stack.word(address as usize).map(|word| word as u64).ok_or(());
    let address = FrameAddress::from_return_address(at.pc as u64)?;
    let pc = unwinder.unwind_frame(address, &mut registers, &mut rules.0, &mut word).ok()??;
    let next = Caller { pc: pc as usize, sp: registers.sp() as usize, fp: registers.bp() as usize };
    (next.sp > at.sp).then_some(next)
}
