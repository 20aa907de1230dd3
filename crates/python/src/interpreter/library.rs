//! Opens libpython and finds its functions by name. The build needs no Python.

use std::ffi::{CStr, CString, c_char, c_double, c_int, c_long, c_longlong, c_ulong, c_void};
use std::path::Path;

use crate::AllocatorSymbols;

/// An object of Python. Only its address is used.
#[repr(C)]
pub struct PyObject(c_void);

/// A reference to an object. Each function says whether it is borrowed or owned.
pub type Object = *mut PyObject;

/// `PyStatus` (c-api/init_config).
#[repr(C)]
pub struct Status {
    kind: c_int,
    function: *const c_char,
    message: *const c_char,
    exit_code: c_int,
}

impl Status {
    /// The error message, if the status is an error.
    pub fn error(&self) -> Option<String> {
        let text = |text: *const c_char| {
            // SAFETY: null, or a C string that lives until the process ends.
            (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
        };
        match self.kind {
            0 => None,
            1 => Some(text(self.message).unwrap_or_else(|| "unknown error".to_owned())),
            _ => Some(format!("it asked to exit with status {}", self.exit_code)),
        }
    }
}

/// `PyCompilerFlags` (Include/cpython/compile.h).
#[repr(C)]
pub struct CompilerFlags {
    pub flags: c_int,
    /// Only used for syntax trees.
    pub feature_version: c_int,
}

macro_rules! library {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ty),*) $(-> $result:ty)?;)* $(static $data:ident;)*) => {
        /// The functions and objects of libpython, with their names in the C API.
        #[allow(non_snake_case)]
        pub struct Library {
            $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            $(pub $data: Object,)*
            pub allocators: AllocatorSymbols,
        }

        impl Library {
            /// # Safety
            /// For each name, `look_up` returns null or CPython's symbol of this name, which stays loaded.
            unsafe fn find(look_up: impl Fn(&CStr) -> *mut c_void) -> Result<Self, String> {
                let find = |name: &str| {
                    let symbol = look_up(&CString::new(name).unwrap_or_default());
                    if symbol.is_null() { Err(name.to_owned()) } else { Ok(symbol) }
                };
                // SAFETY: the types are the types in CPython's headers, which are the same from 3.8 on.
                unsafe {
                    Ok(Self {
                        $($name: std::mem::transmute::<
                            *mut c_void,
                            unsafe extern "C" fn($($argument),*) $(-> $result)?,
                        >(find(stringify!($name))?),)*
                        $($data: find(stringify!($data))?.cast(),)*
                        allocators: AllocatorSymbols::find(&look_up)
                            .ok_or_else(|| "PyMem_SetAllocator".to_owned())?,
                    })
                }
            }
        }
    };
}

library! {
    fn PyPreConfig_InitIsolatedConfig(*mut c_int);
    fn PyPreConfig_InitPythonConfig(*mut c_int);
    fn Py_PreInitialize(*const c_int) -> Status;
    fn PyConfig_InitIsolatedConfig(*mut c_int);
    fn PyConfig_InitPythonConfig(*mut c_int);
    fn PyConfig_SetBytesArgv(*mut c_int, isize, *const *const c_char) -> Status;
    fn Py_InitializeFromConfig(*const c_int) -> Status;
    fn PyConfig_Clear(*mut c_int);
    fn Py_IsInitialized() -> c_int;

    fn PyEval_SaveThread() -> *mut c_void;
    fn PyEval_RestoreThread(*mut c_void);
    fn PyGILState_Ensure() -> c_int;
    fn PyGILState_Release(c_int);
    fn PyThread_get_thread_ident() -> c_ulong;
    fn PyThreadState_SetAsyncExc(c_ulong, Object) -> c_int;

    fn Py_IncRef(Object);
    fn Py_DecRef(Object);
    fn PyErr_Occurred() -> Object;
    fn PyErr_Fetch(*mut Object, *mut Object, *mut Object);
    fn PyErr_NormalizeException(*mut Object, *mut Object, *mut Object);
    fn PyErr_Clear();
    fn PyErr_Print();
    fn PyErr_Restore(Object, Object, Object);
    fn PyErr_SetObject(Object, Object);
    fn PyErr_ExceptionMatches(Object) -> c_int;

    fn Py_CompileStringExFlags(*const c_char, *const c_char, c_int, *mut CompilerFlags, c_int) -> Object;
    fn PyEval_EvalCode(Object, Object, Object) -> Object;
    fn PyImport_ImportModule(*const c_char) -> Object;
    fn PyImport_AddModule(*const c_char) -> Object;
    fn PyModule_GetDict(Object) -> Object;
    fn PyObject_Call(Object, Object, Object) -> Object;
    fn PyObject_GetAttr(Object, Object) -> Object;
    fn PyObject_GetItem(Object, Object) -> Object;
    fn PyObject_GetAttrString(Object, *const c_char) -> Object;
    fn PyObject_Repr(Object) -> Object;
    fn PyObject_Str(Object) -> Object;
    fn PyObject_Type(Object) -> Object;
    fn PyType_IsSubtype(Object, Object) -> c_int;

    fn PyLong_FromLongLong(c_longlong) -> Object;
    fn PyLong_FromString(*const c_char, *mut *mut c_char, c_int) -> Object;
    fn PyLong_AsLongLongAndOverflow(Object, *mut c_int) -> c_longlong;
    fn PyNumber_ToBase(Object, c_int) -> Object;
    fn PyFloat_FromDouble(c_double) -> Object;
    fn PyFloat_AsDouble(Object) -> c_double;
    fn PyBool_FromLong(c_long) -> Object;
    fn PyUnicode_FromStringAndSize(*const c_char, isize) -> Object;
    fn PyUnicode_DecodeUTF16(*const c_char, isize, *const c_char, *mut c_int) -> Object;
    fn PyUnicode_AsUTF8AndSize(Object, *mut isize) -> *const c_char;
    fn PyUnicode_AsEncodedString(Object, *const c_char, *const c_char) -> Object;
    fn PyBytes_FromStringAndSize(*const c_char, isize) -> Object;
    fn PyBytes_FromObject(Object) -> Object;
    fn PyBytes_AsString(Object) -> *mut c_char;
    fn PyBytes_Size(Object) -> isize;
    fn PyList_New(isize) -> Object;
    fn PyList_SetItem(Object, isize, Object) -> c_int;
    fn PyList_GetItem(Object, isize) -> Object;
    fn PyList_Size(Object) -> isize;
    fn PyList_AsTuple(Object) -> Object;
    fn PyTuple_New(isize) -> Object;
    fn PyTuple_SetItem(Object, isize, Object) -> c_int;
    fn PyTuple_GetItem(Object, isize) -> Object;
    fn PyTuple_Size(Object) -> isize;
    fn PyDict_New() -> Object;
    fn PyDict_SetItem(Object, Object, Object) -> c_int;
    fn PyDict_Items(Object) -> Object;
    fn PySys_GetObject(*const c_char) -> Object;
    fn PyFile_WriteObject(Object, Object, c_int) -> c_int;
    fn PyFile_WriteString(*const c_char, Object) -> c_int;

    static _Py_NoneStruct;
    static _Py_TrueStruct;
    static _Py_FalseStruct;
    static PyLong_Type;
    static PyFloat_Type;
    static PyUnicode_Type;
    static PyBytes_Type;
    static PyByteArray_Type;
    static PyMemoryView_Type;
    static PyList_Type;
    static PyTuple_Type;
    static PyDict_Type;
    static PyExc_KeyboardInterrupt;
    static PyExc_AttributeError;
    static PyExc_KeyError;
    static PyExc_ModuleNotFoundError;
    static PyExc_NameError;
    static PyExc_SystemExit;
}

// SAFETY: function pointers and the addresses of static objects.
unsafe impl Send for Library {}
// SAFETY: see above. The caller of a function holds the GIL where the function requires it.
unsafe impl Sync for Library {}

impl Library {
    /// Opens the file, with its symbols visible to extension modules. The file is never closed.
    ///
    /// # Errors
    /// The message of the dynamic loader, or the name of a missing symbol.
    pub fn open(path: &Path, deep_bind: bool) -> Result<Self, String> {
        let flags = libc::RTLD_NOW | libc::RTLD_GLOBAL | if deep_bind { deep() } else { 0 };
        let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
        if deep_bind {
            share_environment();
        }
        // SAFETY: a C string. The library's constructors run, and nothing closes the library. The text of dlerror belongs to
        // this thread, and is copied before the next call changes it.
        unsafe {
            let handle = libc::dlopen(name.as_ptr(), flags);
            if handle.is_null() {
                let error = libc::dlerror();
                let why = if error.is_null() { c"unknown error" } else { CStr::from_ptr(error) };
                return Err(why.to_string_lossy().into_owned());
            }
            Self::find(|name| libc::dlsym(handle, name.as_ptr()))
                .map_err(|symbol| format!("{} has no {symbol}", path.display()))
        }
    }
}

/// Copies the current value of `environ` to libc's own variable. A program may have a copy of libc's `environ` in its data,
/// and all libraries use this copy. But a library with `RTLD_DEEPBIND` uses libc's variable, which has the value from the
/// start of the process.
fn share_environment() {
    unsafe extern "C" {
        static environ: *mut *mut c_char;
    }
    // SAFETY: libc stays loaded, and its variable has this type. Python reads the variable once, at its start.
    unsafe {
        let libc = libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD);
        if libc.is_null() {
            return;
        }
        let own = libc::dlsym(libc, c"environ".as_ptr()).cast::<*mut *mut c_char>();
        if !own.is_null() && !std::ptr::eq(own, &raw const environ) {
            own.write(environ);
        }
    }
}

/// `RTLD_DEEPBIND`, if the system has it. The loader then searches symbols in the library and its dependencies before it
/// searches the program.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub const fn deep() -> c_int {
    libc::RTLD_DEEPBIND
}

/// This system has no `RTLD_DEEPBIND`.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub const fn deep() -> c_int {
    0
}
