//! Which functions the modules of the process call.
//!
//! Each module calls `malloc` through a slot that the dynamic loader has written (its global offset table, and words of its
//! data). When a profile starts, the slots get the addresses of the hooks. When it stops, the slots get their old addresses back. A
//! slot that holds another function, because the module has an allocator of its own, stays as it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use object::elf;

use crate::hooks::{Hook, Kind, hook, hooks};
use crate::lock::Lock;
use crate::modules::{self, Module};
use crate::refusal::{Refusal, refusal};
use crate::{rules, session};

/// The changed slots, and their old addresses.
#[derive(Default)]
pub struct Slots {
    /// The old address of each slot that has a hook.
    patched: HashMap<usize, usize>,
    /// Where the module with the process's `malloc` has its code, if the module is not the C library.
    owner: Option<usize>,
}

/// The slots. A thread that finds the lock held leaves new modules to the thread that has it.
pub static SLOTS: Lock<Option<Slots>> = Lock::new(None);

/// The generation of the modules that were patched; 0 while no profile runs.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Finds the original of each hook. None may be in a slot yet.
pub fn find_originals() -> Result<(), Refusal> {
    struct Owner {
        start: usize,
        is_program: bool,
        is_libc: bool,
        is_shim: bool,
    }
    let mut owner: Option<Owner> = None;
    let own = own_code();
    let mut found = vec![0; hooks().len()];
    modules::each(|module| {
        if own.iter().any(|own| module.code.contains(own)) {
            return;
        }
        let first = owner.is_none() && module.defined(c"malloc").is_some();
        if first {
            owner = Some(Owner {
                start: module.code.start,
                is_program: module.is_program(),
                is_libc: module.defined(c"__libc_start_main").is_some(),
                is_shim: module.defined(c"malloc_backend_shim").is_some(),
            });
        }
        for (hook, found) in hooks().iter().zip(&mut found) {
            let wanted = match hook.kind {
                Kind::Malloc | Kind::Unhooked => first,
                // The C library's function calls realloc through a slot: the block would be counted twice.
                Kind::LibcCallsAnother => first && owner.as_ref().is_some_and(|owner| !owner.is_libc),
                // Our own forms of `delete` ignore the size, so they can free a sampled block, which is larger than its
                // size says. Other allocators' forms would take the block for a smaller one. libstdc++'s call `malloc`
                // and `free`, which are hooked.
                Kind::Operator => first && owner.as_ref().is_some_and(|owner| owner.is_shim),
                Kind::Loader | Kind::Node => *found == 0,
            };
            if wanted {
                *found = module.defined(hook.name()).unwrap_or(*found);
            }
        }
    });
    let Some(owner) = owner else {
        return Err(refusal(
            "ERR_CANNOT_PROFILE",
            "no loaded library defines malloc: the program is linked statically",
        ));
    };
    if owner.is_program {
        let why = "the program has its own malloc, and the profiler cannot see its calls; start the program without that malloc";
        return Err(refusal("ERR_CANNOT_PROFILE", why));
    }
    for (hook, found) in hooks().iter().zip(found) {
        hook.set_original(found);
    }
    for needed in [c"malloc", c"free", c"calloc", c"realloc", c"memalign", c"malloc_usable_size"] {
        if hook(needed).is_none_or(|hook| hook.original() == 0) {
            let why = format!("the process's allocator has no function {}", needed.to_string_lossy());
            return Err(refusal("ERR_CANNOT_PROFILE", why));
        }
    }
    let owner = (!owner.is_libc).then_some(owner.start);
    *SLOTS.hold() = Some(Slots { patched: HashMap::new(), owner });
    Ok(())
}

/// Addresses in the modules that are not profiled: the hooks', and the profiler's.
fn own_code() -> Vec<usize> {
    hooks().iter().map(Hook::address).take(1).chain([own_code as *const () as usize]).collect()
}

/// Puts the hooks into the slots of all modules.
pub fn patch() {
    if let Some(slots) = &mut *SLOTS.hold() {
        slots.patch();
    }
}

impl Slots {
    fn patch(&mut self) {
        GENERATION.store(modules::generation(), Ordering::Relaxed);
        let own = own_code();
        modules::each(|module| {
            if own.iter().any(|own| module.code.contains(own)) || self.owner == Some(module.code.start) {
                return;
            }
            for_each_slot(module, |slot, hook, is_call| {
                let is_to_be_found =
                    is_call && module.code.contains(&slot.get()) && module.defined(hook.name()).is_none();
                if hook.original() != 0 && (slot.get() == hook.original() || is_to_be_found) {
                    let before = slot.get();
                    if slot.set(module, hook.address()) {
                        self.patched.insert(slot.address, before);
                    }
                }
            });
        });
    }
}

/// Puts back what was in the slots.
pub fn restore() {
    let mut held = SLOTS.hold();
    GENERATION.store(0, Ordering::Relaxed);
    let Some(slots) = &mut *held else { return };
    // Modules that are gone have no slots any more.
    modules::each(|module| {
        for_each_slot(module, |slot, hook, _| {
            if slot.get() == hook.address() {
                let before = slots.patched.get(&slot.address).copied();
                slot.set(module, before.unwrap_or_else(|| hook.original()));
            }
        });
    });
    slots.patched.clear();
}

/// How many slots hold a hook.
pub fn count_hooked() -> usize {
    let mut count = 0;
    modules::each(|module| {
        for_each_slot(module, |slot, hook, _| count += usize::from(slot.get() == hook.address()));
    });
    count
}

/// A word that holds the address of a function.
struct Slot {
    address: usize,
}

impl Slot {
    fn word(&self) -> &AtomicUsize {
        // SAFETY: the loader has written an address there, so it is mapped and aligned. The loader and the processor access
        // it as a whole word.
        unsafe { AtomicUsize::from_ptr(self.address as *mut usize) }
    }

    fn get(&self) -> usize {
        self.word().load(Ordering::Relaxed)
    }

    /// False if the page cannot be written to.
    fn set(&self, module: &Module<'_>, function: usize) -> bool {
        const PAGE: usize = 4096;
        let page = (self.address & !(PAGE - 1)) as *mut libc::c_void;
        let is_read_only = module.read_only.contains(&self.address);
        // SAFETY: one page of the module's data. Nobody but who has `SLOTS` changes its protection.
        let protect = |protection| unsafe { libc::mprotect(page, PAGE, protection) } == 0;
        if is_read_only && !protect(libc::PROT_READ | libc::PROT_WRITE) {
            return false;
        }
        self.word().store(function, Ordering::Release);
        if is_read_only {
            protect(libc::PROT_READ);
        }
        true
    }
}

/// Calls the function for each slot of a hooked function: with the hook, and whether the slot serves calls only, which the
/// loader may find at the first call.
fn for_each_slot(module: &Module<'_>, mut with: impl FnMut(Slot, &'static Hook, bool)) {
    for (relocation, name) in module.relocations() {
        let is_call = relocation.kind() == elf::R_X86_64_JUMP_SLOT.0;
        let is_address = [elf::R_X86_64_GLOB_DAT.0, elf::R_X86_64_64.0].contains(&relocation.kind());
        if !(is_call || is_address) || relocation.addend != 0 {
            continue;
        }
        let Some(hook) = hook(name).filter(|hook| hook.kind != Kind::Unhooked) else { continue };
        let slot = Slot { address: module.base() + relocation.offset as usize };
        // A module without position-independent code has slots in its code (DT_TEXTREL).
        if slot.address.is_multiple_of(size_of::<usize>()) && module.is_writable(slot.address) {
            with(slot, hook, is_call);
        }
    }
}

/// [`look_for_modules`], for `dlsym` and `dlopen`: what opens a library asks for its functions next.
pub extern "C" fn before_loader() {
    if session::running() != 0 {
        look_for_modules();
    }
}

/// Patches the modules that were loaded since, and makes their frames known.
pub fn look_for_modules() {
    let seen = GENERATION.load(Ordering::Relaxed);
    if seen == 0 || modules::generation() == seen {
        return;
    }
    let Some(mut slots) = SLOTS.try_hold() else { return };
    // `restore` may have come first.
    if GENERATION.load(Ordering::Relaxed) != 0
        && let Some(slots) = &mut *slots
    {
        slots.patch();
        rules::learn_modules();
    }
}
