//! Which object file of this process a function is in, and with that who owns `malloc`.

use alloc::ffi::CString;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::{self, MaybeUninit};
use core::ptr;

/// An object file that is loaded in this process: the program or a library.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    base: *mut c_void,
    path: *const c_char,
}

impl PartialEq for Object {
    /// Loaded at the same place: the same.
    fn eq(&self, other: &Self) -> bool {
        self.base == other.base
    }
}

impl Object {
    /// The object that holds the address, if one does. The address is looked at, not what is there.
    #[allow(clippy::not_unsafe_ptr_arg_deref)]
    pub fn of(address: *const c_void) -> Option<Self> {
        let mut info = MaybeUninit::<libc::Dl_info>::uninit();
        // SAFETY: `dladdr` takes any address, and where it succeeds it has filled the structure in.
        unsafe {
            (libc::dladdr(address, info.as_mut_ptr()) != 0).then(|| {
                let info = info.assume_init();
                Self { base: info.dli_fbase, path: info.dli_fname }
            })
        }
    }

    /// The object whose definition of the symbol the process uses, if there is one.
    ///
    /// That is what `dlsym` finds, with one exception. A program that is not position-independent and takes the
    /// function's address has an entry for it in its procedure linkage table, and for the address to be
    /// the same everywhere that entry is what `dlsym` finds. The definition is then the next one in the order
    /// of the search: the libraries as they were loaded, the preloaded ones first.
    pub fn that_defines(symbol: &CStr) -> Option<Self> {
        let address = look_up(libc::RTLD_DEFAULT, symbol)?;
        if !is_linkage_entry(address) {
            return Self::of(address);
        }
        libraries().iter().find_map(|library| definition_in(library, symbol)).and_then(Self::of)
    }

    /// The library's own function of that name, whoever else has one.
    pub fn function(&self, symbol: &CStr) -> Option<*const c_void> {
        // SAFETY: the loader keeps the string as long as the object is loaded.
        let address = definition_in(unsafe { CStr::from_ptr(self.raw_path()) }, symbol)?;
        (Self::of(address)? == *self).then_some(address)
    }

    /// The file, as the dynamic loader names it. For the program itself that is how it was called.
    pub fn path(&self) -> String {
        // SAFETY: the loader keeps the string as long as the object is loaded.
        unsafe { CStr::from_ptr(self.raw_path()) }.to_string_lossy().to_string()
    }

    /// [`path`](Self::path) for C.
    pub fn raw_path(&self) -> *const c_char {
        if self.path.is_null() { c"".as_ptr() } else { self.path }
    }
}

/// The first library's own definition of the symbol that has one of the other, too, wherever it is loaded.
pub fn definition_beside(symbol: &CStr, other: &CStr) -> Option<*const c_void> {
    libraries()
        .iter()
        .filter(|library| definition_in(library, other).is_some())
        .find_map(|library| definition_in(library, symbol))
}

/// The definition of the symbol in the library of that name itself, if it is loaded and has one.
fn definition_in(library: &CStr, symbol: &CStr) -> Option<*const c_void> {
    const IF_LOADED: c_int = libc::RTLD_LAZY | libc::RTLD_NOLOAD;
    // SAFETY: a C string. Nothing is loaded, so no constructor runs.
    let handle = unsafe { libc::dlopen(library.as_ptr(), IF_LOADED) };
    if handle.is_null() {
        return None;
    }
    // The search of a handle goes on to what the library depends on; its own dynamic section tells it apart.
    let address = look_up(handle, symbol);
    let own = dynamic_section(handle).and_then(Object::of);
    // SAFETY: the handle was opened above; the library stays, because it was loaded before.
    unsafe { libc::dlclose(handle) };
    address.filter(|address| own.is_some() && Object::of(*address) == own)
}

fn look_up(handle: *mut c_void, symbol: &CStr) -> Option<*const c_void> {
    // SAFETY: a handle and a C string.
    let address = unsafe { libc::dlsym(handle, symbol.as_ptr()) };
    (!address.is_null()).then_some(address.cast_const())
}

/// The start of `struct link_map` of `<link.h>`, which is public and the same in every libc.
#[repr(C)]
struct LinkMap {
    addr: usize,
    name: *const c_char,
    dynamic: *const c_void,
}

// Of `<dlfcn.h>`, the same in glibc and musl; for musl the libc crate has neither.
const RTLD_DI_LINKMAP: c_int = 2;
unsafe extern "C" {
    fn dlinfo(handle: *mut c_void, request: c_int, result: *mut c_void) -> c_int;
}

fn dynamic_section(handle: *mut c_void) -> Option<*const c_void> {
    let mut map: *const LinkMap = ptr::null();
    // SAFETY: an open handle, and a place for the pointer that this request returns.
    let failed = unsafe { dlinfo(handle, RTLD_DI_LINKMAP, (&raw mut map).cast()) };
    // SAFETY: where it did not fail the pointer is to the loader's structure.
    if failed != 0 { None } else { Some(unsafe { (*map).dynamic }) }
}

/// Whether the address is one of a procedure linkage table, not of the function itself: then the symbol at it
/// is undefined. glibc's `dladdr1` tells; elsewhere the question stays open and the answer is no.
fn is_linkage_entry(address: *const c_void) -> bool {
    const RTLD_DL_SYMENT: c_int = 1;
    const SHN_UNDEF: u16 = 0;
    type Dladdr1 =
        unsafe extern "C" fn(*const c_void, *mut libc::Dl_info, *mut *const libc::Elf64_Sym, c_int) -> c_int;
    let Some(function) = look_up(libc::RTLD_DEFAULT, c"dladdr1") else { return false };
    let mut info = MaybeUninit::uninit();
    let mut symbol = ptr::null();
    // SAFETY: the function of that name has this type; both places are writable, and the loader keeps what
    // the second one is made to point to.
    unsafe {
        let dladdr1: Dladdr1 = mem::transmute(function);
        dladdr1(address, info.as_mut_ptr(), &mut symbol, RTLD_DL_SYMENT) != 0
            && symbol.as_ref().is_some_and(|symbol: &libc::Elf64_Sym| symbol.st_shndx == SHN_UNDEF)
    }
}

/// The names of the loaded libraries, in the order of loading.
fn libraries() -> Vec<CString> {
    /// # Safety
    /// `names` is a `Vec<CString>`.
    unsafe extern "C" fn collect(info: *mut libc::dl_phdr_info, _size: usize, names: *mut c_void) -> c_int {
        // SAFETY: the loader passes its structure, whose name is a C string, and hands `names` on.
        unsafe {
            let name = CStr::from_ptr((*info).dlpi_name);
            if !name.is_empty() {
                (*names.cast::<Vec<CString>>()).push(name.into());
            }
        }
        0
    }
    let mut names = Vec::new();
    // SAFETY: the callback gets the vector that it expects.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut names).cast()) };
    names
}
