//! The library of the hooks (`crates/profile-hooks`): the functions that stand in for `malloc` and its family, and the thread's
//! countdown. The types here are those of its `hooks.c`.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::{ptr, slice};

/// How the original of a hook is found, and which modules call it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "C makes the values")]
pub enum Kind {
    /// A function of the C library's `malloc` family.
    Malloc,
    /// The same, but the C library's own calls another function that is hooked.
    LibcCallsAnother,
    /// A form of C++'s `operator new` or `operator delete`.
    Operator,
    /// A function of the dynamic loader.
    Loader,
    /// A function of Node.
    Node,
    /// Only the original is needed.
    Unhooked,
}

/// A function that stands in for another one.
#[repr(C)]
pub struct Hook {
    name: *const c_char,
    /// The function that stands in.
    function: *const c_void,
    /// Where the hook has the address of the original.
    original: *mut *const c_void,
    /// How the original is found.
    pub kind: Kind,
}

// SAFETY: the pointers are to constants and to one word that is only read and written atomically (`original`).
unsafe impl Sync for Hook {}

impl Hook {
    /// The name of the symbol.
    pub fn name(&self) -> &'static CStr {
        // SAFETY: a literal of `hooks.c`.
        unsafe { CStr::from_ptr(self.name) }
    }

    /// The address of the function that stands in.
    pub fn address(&self) -> usize {
        self.function.addr()
    }

    fn original_cell(&self) -> &AtomicUsize {
        // SAFETY: a word of `hooks.c` that is aligned and lives for ever. The hooks read it; none runs while it is 0, because
        // their addresses are in no slot then.
        unsafe { AtomicUsize::from_ptr(self.original.cast()) }
    }

    /// The address of the original; 0 before [`Self::set_original`].
    pub fn original(&self) -> usize {
        self.original_cell().load(Ordering::Acquire)
    }

    /// Tells the hook its original.
    pub fn set_original(&self, address: usize) {
        self.original_cell().store(address, Ordering::Release);
    }
}

/// A thread's part of the profile, in thread-local storage.
#[repr(C)]
pub struct Thread {
    /// The bytes that the thread allocates before the next sample.
    pub left: u64,
    /// What the thread needs to take a sample (`thread.rs`).
    pub record: *mut c_void,
    /// The profile for which `left` was drawn.
    pub session: u32,
    /// The stack that queued the work which the thread runs; 0 for none.
    pub queued_by: u32,
    /// The profile that has this stack.
    pub queued_session: u32,
    /// Not 0 while the thread is in the profiler, and after the thread's end.
    pub busy: u32,
}

/// The registers of the function that called `malloc`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The return address.
    pub pc: usize,
    /// The stack pointer after the return.
    pub sp: usize,
    /// The frame pointer.
    pub fp: usize,
}

/// The functions that the hooks call.
#[repr(C)]
pub struct Functions {
    /// [`crate::sampler::sample`].
    pub sample: unsafe extern "C" fn(*mut Thread, usize, usize, bool, *const Caller) -> *mut c_void,
    /// [`crate::sampler::adopt`].
    pub adopt: unsafe extern "C" fn(*mut Thread, *mut c_void, usize, *const Caller) -> *mut c_void,
    /// [`crate::sampler::forget`].
    pub forget: extern "C" fn(*mut c_void),
    /// [`crate::got::look_for_modules`].
    pub look_for_modules: extern "C" fn(),
    /// [`crate::queued::queued`].
    pub queued:
        unsafe extern "C" fn(*mut Thread, *const Caller, Option<Run>, Option<Done>, *mut c_void) -> *mut Work,
    /// [`crate::queued::created`].
    pub created: unsafe extern "C" fn(*mut Work, usize),
    /// [`crate::queued::deleted`].
    pub deleted: extern "C" fn(usize),
    /// [`crate::queued::run`].
    pub run: unsafe extern "C" fn(*mut c_void, *mut Work),
    /// [`crate::queued::done`].
    pub done: unsafe extern "C" fn(*mut c_void, c_int, *mut Work),
}

/// What the pool of threads calls.
pub type Run = unsafe extern "C" fn(env: *mut c_void, data: *mut c_void);
/// What Node calls after that.
pub type Done = unsafe extern "C" fn(env: *mut c_void, status: c_int, data: *mut c_void);

/// What an addon wants to be run, and who it was.
pub struct Work {
    /// The addon's function.
    pub run: Option<Run>,
    /// What the addon does at the end.
    pub done: Option<Done>,
    /// The addon's.
    pub data: *mut c_void,
    /// The stack that queued the work.
    pub stack: u32,
    /// The profile that has the stack.
    pub session: u32,
    /// Node's address of the work.
    pub handle: usize,
}

#[repr(C)]
struct Table {
    hooks: *const Hook,
    count: usize,
    current: unsafe extern "C" fn() -> *mut Thread,
    here: unsafe extern "C" fn(*mut Caller),
    aligned: unsafe extern "C" fn(usize, usize) -> *mut c_void,
    plain: unsafe extern "C" fn(usize, bool) -> *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: constants, and a pointer to hooks, which are `Sync`.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

static TABLE: OnceLock<&'static Table> = OnceLock::new();
/// The library, for `dlsym`.
static LIBRARY: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Opens the library of the hooks, which stays for ever. The error is the dynamic loader's.
pub fn open(library: &Path, functions: &Functions) -> Result<(), String> {
    if TABLE.get().is_some() {
        return Ok(());
    }
    let path = CString::new(library.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: a library without constructors. Its one function takes and gives what its `hooks.c` says, which is what is here.
    let table = unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_NODELETE);
        if handle.is_null() {
            return Err(last_error());
        }
        let function = libc::dlsym(handle, c"malloc_backend_profile_hooks".as_ptr());
        if function.is_null() {
            return Err(last_error());
        }
        LIBRARY.store(handle, Ordering::Release);
        let hooks: unsafe extern "C" fn(*const Functions) -> *const Table = std::mem::transmute(function);
        &*hooks(functions)
    };
    TABLE.get_or_init(|| table);
    Ok(())
}

/// The address of another function of the library; null before [`open`].
pub fn function(name: &CStr) -> *mut c_void {
    let library = LIBRARY.load(Ordering::Acquire);
    // SAFETY: a library that stays open, and a C string. (Of null, `dlsym` would search the whole process.)
    if library.is_null() { library } else { unsafe { libc::dlsym(library, name.as_ptr()) } }
}

fn last_error() -> String {
    // SAFETY: the loader's string, which is valid until its next error on this thread.
    unsafe {
        let error = libc::dlerror();
        if error.is_null() { String::new() } else { CStr::from_ptr(error).to_string_lossy().into_owned() }
    }
}

/// The folder of the library that has this code.
pub fn own_folder() -> Option<std::path::PathBuf> {
    // SAFETY: `dladdr` takes any address, and fills the structure if it succeeds. The name is the loader's.
    unsafe {
        let mut info = std::mem::zeroed::<libc::Dl_info>();
        if libc::dladdr(own_folder as *const c_void, &mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        let file = Path::new(OsStr::from_bytes(CStr::from_ptr(info.dli_fname).to_bytes()));
        Some(file.parent()?.to_owned())
    }
}

/// All hooks. None before [`open`].
pub fn hooks() -> &'static [Hook] {
    // SAFETY: constants of the library; the count is the array's.
    TABLE.get().map_or(&[], |table| unsafe { slice::from_raw_parts(table.hooks, table.count) })
}

/// The hook of that name.
pub fn hook(name: &CStr) -> Option<&'static Hook> {
    hooks().iter().find(|hook| hook.name() == name)
}

/// The calling thread's part. It is valid until the thread ends. Null before [`open`].
pub fn current() -> *mut Thread {
    // SAFETY: takes nothing.
    TABLE.get().map_or(std::ptr::null_mut(), |table| unsafe { (table.current)() })
}

/// The registers of the function that calls this one; `None` before [`open`].
#[inline(always)]
pub fn here() -> Option<Caller> {
    let mut here = Caller { pc: 0, sp: 0, fp: 0 };
    // SAFETY: room for the registers.
    unsafe { (TABLE.get()?.here)(&mut here) };
    Some(here)
}

/// The bits of an address that are 0 for a block that may be a sampled one.
pub const UNSAMPLED: usize = 0xfef;

const PAGE: usize = 4096;
/// To most blocks of this size, allocators give pages of their own.
const LARGE: usize = 256 << 10;
/// The largest size of a block to which the allocator gave no pages of its own. glibc gives them to larger blocks only, and the
/// limit grows with the blocks that are freed.
static NO_PAGES: AtomicUsize = AtomicUsize::new(LARGE - 1);

/// A block of the process's own allocator in whose address no bit of [`UNSAMPLED`] is set. Null where there is no memory, or
/// before [`open`].
///
/// # Safety
/// The originals are known, and the alignment is a power of two or 0.
pub unsafe fn block(size: usize, alignment: usize, is_zeroed: bool) -> *mut c_void {
    let Some(table) = TABLE.get() else { return std::ptr::null_mut() };
    // SAFETY: the caller's obligation. The blocks have the size that is asked for, at least.
    unsafe {
        // Pages of its own are not touched yet. They must stay so.
        if size > NO_PAGES.load(Ordering::Relaxed) && alignment == 0 {
            let block = (table.plain)(size, is_zeroed);
            if block.addr() & UNSAMPLED == 0 {
                return block;
            }
            (table.release)(block);
            NO_PAGES.fetch_max(size, Ordering::Relaxed);
        }
        let block = (table.aligned)(alignment.max(PAGE), size.max(1));
        if is_zeroed && !block.is_null() {
            block.write_bytes(0, size);
        }
        block
    }
}

/// The block itself, if no bit of [`UNSAMPLED`] is set in its address; or else another one with the same bytes, in its place.
/// Null where there is no memory: then the block is as it was.
///
/// # Safety
/// As for [`block`]; and the block is one of the original's, has so many bytes, and is nobody else's.
pub unsafe fn moved(old: *mut c_void, size: usize) -> *mut c_void {
    let Some(table) = TABLE.get() else { return std::ptr::null_mut() };
    if old.addr() & UNSAMPLED == 0 {
        return old;
    }
    // SAFETY: the caller's obligation. Both blocks have the size, at least.
    unsafe {
        let new = (table.aligned)(PAGE, size.max(1));
        if !new.is_null() {
            new.cast::<u8>().copy_from_nonoverlapping(old.cast(), size);
            (table.release)(old);
        }
        new
    }
}

const _: () = assert!(size_of::<c_int>() == size_of::<Kind>());
