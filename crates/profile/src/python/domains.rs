//! Samples in front of CPython's domains: pymalloc's small blocks do not come from `malloc`. The functions in the tables are those
//! of `crates/profile-hooks/src/domains.c`; the types here are the same.

use std::ffi::{c_int, c_void};
use std::mem::{MaybeUninit, transmute};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::api::address;
use crate::hooks::{self, Caller, Thread};
use crate::live::Sample;
use crate::lock::Lock;
use crate::sampler;
use crate::session::Inside;
use crate::tables::Tables;

/// CPython's `PyMemAllocatorEx` (Include/cpython/pymem.h), whose functions are only passed on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Domain {
    context: *mut c_void,
    /// malloc, calloc, realloc, free.
    functions: [*mut c_void; 4],
}

// SAFETY: addresses of functions that stay, and a context that belongs to them.
unsafe impl Send for Domain {}

/// The functions that the library of the hooks calls.
#[repr(C)]
struct Functions {
    sample: unsafe extern "C" fn(*mut Thread, *mut c_void, usize, *const Caller) -> bool,
    forget: unsafe extern "C" fn(*mut c_void, *mut Sample) -> bool,
    keep: unsafe extern "C" fn(*mut c_void, *const Sample),
}

const RAW: c_int = 0;
const MEM: c_int = 1;
const OBJ: c_int = 2;

/// What was in the tables before: for each domain, and again if something else was set meanwhile. The addresses of these are the
/// contexts of the tables that are set, so they never move.
static BENEATH: Lock<[MaybeUninit<Domain>; 9]> = Lock::new([const { MaybeUninit::uninit() }; 9]);
static USED: AtomicUsize = AtomicUsize::new(0);

/// Which domains are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All that `malloc` does not show: `mem` and `obj`, and `raw` if a backend serves it. No other thread runs Python.
    All,
    /// `mem` and `obj`. The calling thread has the GIL, without which no thread uses them. (`raw` is used without it, so its table
    /// cannot change any more.)
    WithGil,
}

/// Puts the samples in front of the domains. It may be called before the interpreter is initialised. Domains that have them
/// already stay as they are. False if this Python does not let its domains be set.
pub fn watch(which: Which) -> bool {
    type Get = unsafe extern "C" fn(c_int, *mut Domain);
    type Set = unsafe extern "C" fn(c_int, *const Domain);
    let functions = Functions { sample, forget, keep };
    let [get, set, in_front] = [
        address(c"PyMem_GetAllocator"),
        address(c"PyMem_SetAllocator"),
        hooks::function(c"malloc_backend_profile_domain"),
    ];
    if [get, set, in_front].iter().any(|address| address.is_null()) {
        return false;
    }
    let mut beneath = BENEATH.hold();
    // SAFETY: the functions of these names, by the types in CPython's headers and in `domains.c`.
    let (get, set, in_front) = unsafe {
        let domain_of: unsafe extern "C" fn(*const Functions) -> *const Domain = transmute(in_front);
        (transmute::<*mut c_void, Get>(get), transmute::<*mut c_void, Set>(set), *domain_of(&functions))
    };
    let numbers = match which {
        Which::All => [RAW, MEM, OBJ].as_slice(),
        Which::WithGil => &[MEM, OBJ],
    };
    for &number in numbers {
        let mut domain = MaybeUninit::uninit();
        // SAFETY: CPython fills the whole structure.
        let domain = unsafe {
            get(number, domain.as_mut_ptr());
            domain.assume_init()
        };
        let is_pythons = module_of(domain.functions[0]) == module_of(get as *mut c_void);
        if domain.functions == in_front.functions || (number == RAW && is_pythons) {
            continue;
        }
        let Some(place) = beneath.get_mut(USED.fetch_add(1, Ordering::Relaxed)) else { return false };
        let context = (place.write(domain) as *mut Domain).cast();
        // SAFETY: CPython copies the structure. Its functions obey the contract of the domain, with this context.
        unsafe { set(number, &Domain { context, ..in_front }) };
    }
    true
}

/// Where the module with that address begins.
fn module_of(address: *mut c_void) -> Option<usize> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `dladdr` takes any address, and fills the structure if it succeeds. Zeros are one, too.
    let (found, info) = unsafe { (libc::dladdr(address, info.as_mut_ptr()), info.assume_init()) };
    (found != 0).then(|| info.dli_fbase.addr())
}

/// The key of a block in the table of blocks in use. That table tells pages apart, and no address of a page has this bit.
fn key(block: *mut c_void) -> usize {
    block.addr() << 12 | 1 << 63
}

unsafe extern "C" fn sample(
    thread: *mut Thread,
    block: *mut c_void,
    size: usize,
    caller: *const Caller,
) -> bool {
    // SAFETY: the hooks call with the calling thread's own part, and with the registers of their caller.
    let sampled = unsafe {
        sampler::if_due(thread, size, (*caller).sp, |session| {
            let inside = Inside::enter(session)?;
            let tables = Tables::get()?;
            sampler::keep(thread, size, key(block), &*caller, &inside, tables);
            Some(())
        })
    };
    sampled.is_some()
}

unsafe extern "C" fn forget(block: *mut c_void, sample: *mut Sample) -> bool {
    match Tables::get().and_then(|tables| tables.live.take(key(block))) {
        Some(taken) => {
            // SAFETY: the hooks have room for it.
            unsafe { sample.write(taken) };
            true
        }
        None => false,
    }
}

unsafe extern "C" fn keep(block: *mut c_void, sample: *const Sample) {
    if let Some(tables) = Tables::get() {
        // SAFETY: what `forget` has written.
        tables.live.insert(key(block), unsafe { *sample });
    }
}
