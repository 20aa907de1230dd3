//! Finds the object file of a function in this process, and so the owner of `malloc`.

use alloc::ffi::CString;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::{self, MaybeUninit};
use core::ptr;

/// A loaded object file of this process: the program or a library.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    base: *mut c_void,
    path: *const c_char,
}

impl PartialEq for Object {
    /// Two objects with the same load address are the same object.
    fn eq(&self, other: &Self) -> bool {
        self.base == other.base
    }
}

impl Object {
    /// The object that contains the address. The function does not read the memory at the address.
    #[allow(clippy::not_unsafe_ptr_arg_deref)]
    pub fn of(address: *const c_void) -> Option<Self> {
        let mut info = MaybeUninit::<libc::Dl_info>::uninit();
        // SAFETY: `dladdr` accepts any address. After a success, the structure is filled.
        unsafe {
            (libc::dladdr(address, info.as_mut_ptr()) != 0).then(|| {
                let info = info.assume_init();
                Self { base: info.dli_fbase, path: info.dli_fname }
            })
        }
    }

    /// The object whose definition of the symbol the process uses, if there is one.
    ///
    /// `dlsym` finds this definition, with one exception. If a program that is not position-independent takes the address
    /// of a function, its procedure linkage table has an entry for the function. The address must be the same everywhere,
    /// so `dlsym` then finds this entry. The definition is the next one in the search order: the libraries in the order of
    /// loading, preloaded libraries first.
    pub fn that_defines(symbol: &CStr) -> Option<Self> {
        let address = look_up(libc::RTLD_DEFAULT, symbol)?;
        if !is_linkage_entry(address) {
            return Self::of(address);
        }
        libraries().iter().find_map(|library| definition_in(library, symbol)).and_then(Self::of)
    }

    /// The library's own function of this name, even if other objects also define the name.
    pub fn function(&self, symbol: &CStr) -> Option<*const c_void> {
        // SAFETY: the loader keeps the string as long as the object is loaded.
        let address = definition_in(unsafe { CStr::from_ptr(self.raw_path()) }, symbol)?;
        (Self::of(address)? == *self).then_some(address)
    }

    /// The file, as named by the dynamic loader. For the program itself, the name with which it was called.
    pub fn path(&self) -> String {
        // SAFETY: the loader keeps the string as long as the object is loaded.
        unsafe { CStr::from_ptr(self.raw_path()) }.to_string_lossy().to_string()
    }

    /// [`path`](Self::path) for C.
    pub fn raw_path(&self) -> *const c_char {
        if self.path.is_null() { c"".as_ptr() } else { self.path }
    }
}

/// The definition of `symbol` in the first library that also defines `other`.
pub fn definition_beside(symbol: &CStr, other: &CStr) -> Option<*const c_void> {
    libraries()
        .iter()
        .filter(|library| definition_in(library, other).is_some())
        .find_map(|library| definition_in(library, symbol))
}

/// The library's own definition of the symbol, if the library is loaded and defines the symbol.
fn definition_in(library: &CStr, symbol: &CStr) -> Option<*const c_void> {
    const IF_LOADED: c_int = libc::RTLD_LAZY | libc::RTLD_NOLOAD;
    // SAFETY: a C string. The flag loads nothing, so no constructor runs.
    let handle = unsafe { libc::dlopen(library.as_ptr(), IF_LOADED) };
    if handle.is_null() {
        return None;
    }
    // The search of a handle includes the library's dependencies. The dynamic section identifies the library itself.
    let address = look_up(handle, symbol);
    let own = dynamic_section(handle).and_then(Object::of);
    // SAFETY: the handle was opened above. The library stays loaded, because it was loaded before.
    unsafe { libc::dlclose(handle) };
    address.filter(|address| own.is_some() && Object::of(*address) == own)
}

fn look_up(handle: *mut c_void, symbol: &CStr) -> Option<*const c_void> {
    // SAFETY: a handle and a C string.
    let address = unsafe { libc::dlsym(handle, symbol.as_ptr()) };
    (!address.is_null()).then_some(address.cast_const())
}

/// The start of `struct link_map` in `<link.h>`. It is public and the same in every libc.
#[repr(C)]
struct LinkMap {
    addr: usize,
    name: *const c_char,
    dynamic: *const c_void,
}

// From `<dlfcn.h>`, the same in glibc and musl. For musl, the libc crate declares neither.
const RTLD_DI_LINKMAP: c_int = 2;
unsafe extern "C" {
    fn dlinfo(handle: *mut c_void, request: c_int, result: *mut c_void) -> c_int;
}

fn dynamic_section(handle: *mut c_void) -> Option<*const c_void> {
    let mut map: *const LinkMap = ptr::null();
    // SAFETY: an open handle, and room for the pointer that this request returns.
    let failed = unsafe { dlinfo(handle, RTLD_DI_LINKMAP, (&raw mut map).cast()) };
    // SAFETY: after a success, the pointer points to the loader's structure.
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
    // SAFETY: the function of this name has this type. Both arguments are writable, and the loader keeps the symbol to which
    // the second one points afterwards.
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
        // SAFETY: the loader passes its structure, whose name is a C string, and passes `names` unchanged.
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
