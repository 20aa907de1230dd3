use alloc::string::{String, ToString};
use core::ffi::{CStr, c_char, c_int, c_void};

use crate::c_api::{PyMemAllocatorEx, PyObjectArenaAllocator};

/// CPython's functions that read and set the tables (c-api/memory, "Customize Memory Allocators"). They may be called
/// before the interpreter is initialised.
#[derive(Clone, Copy, Debug)]
pub struct AllocatorSymbols {
    pub(crate) get_allocator: unsafe extern "C" fn(c_int, *mut PyMemAllocatorEx),
    pub(crate) set_allocator: unsafe extern "C" fn(c_int, *const PyMemAllocatorEx),
    pub(crate) get_arena: unsafe extern "C" fn(*mut PyObjectArenaAllocator),
    pub(crate) set_arena: unsafe extern "C" fn(*const PyObjectArenaAllocator),
    pub(crate) setup_debug_hooks: unsafe extern "C" fn(),
    get_version: unsafe extern "C" fn() -> *const c_char,
}

impl AllocatorSymbols {
    /// Finds the functions. Returns `None` if a function is missing: the program is not CPython, or CPython does not export
    /// its C API.
    ///
    /// # Safety
    /// For each name, `look_up` returns null or CPython's function of this name, which stays loaded.
    pub unsafe fn find(look_up: impl Fn(&CStr) -> *mut c_void) -> Option<Self> {
        let find = |name| Some(look_up(name)).filter(|symbol| !symbol.is_null());
        // SAFETY: the types are the types in CPython's headers, which are the same from 3.8 to 3.15.
        unsafe {
            Some(Self {
                get_allocator: core::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(c_int, *mut PyMemAllocatorEx),
                >(find(c"PyMem_GetAllocator")?),
                set_allocator: core::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(c_int, *const PyMemAllocatorEx),
                >(find(c"PyMem_SetAllocator")?),
                get_arena: core::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*mut PyObjectArenaAllocator),
                >(find(c"PyObject_GetArenaAllocator")?),
                set_arena: core::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*const PyObjectArenaAllocator),
                >(find(c"PyObject_SetArenaAllocator")?),
                setup_debug_hooks: core::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(find(
                    c"PyMem_SetupDebugHooks",
                )?),
                get_version: core::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *const c_char>(
                    find(c"Py_GetVersion")?,
                ),
            })
        }
    }

    /// The version of this Python. (`Py_GetVersion` may be called before the initialisation.)
    pub fn version(&self) -> PythonVersion {
        // SAFETY: a static C string.
        let text = unsafe { CStr::from_ptr((self.get_version)()) }.to_string_lossy();
        PythonVersion::parse(&text)
    }
}

/// The version from `Py_GetVersion`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonVersion {
    /// The number, such as `3.11.2`.
    pub number: String,
    /// The release, such as `(3, 11)`. `(0, 0)` if the text has no number.
    pub release: (u32, u32),
    /// Whether this Python was built without the GIL (PEP 703).
    pub free_threaded: bool,
}

impl PythonVersion {
    fn parse(text: &str) -> Self {
        let number = text.split_whitespace().next().unwrap_or_default().to_string();
        let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
        let release = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        Self { release, free_threaded: text.contains("free-threading"), number }
    }
}
