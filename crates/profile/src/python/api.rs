//! The few functions of CPython's API that the profiler calls: when it looks for the frames, never within `malloc`.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::ptr;

/// A Python object.
pub type Object = *mut c_void;
/// A function that Python can call.
pub type Function = unsafe extern "C" fn(Object, Object) -> Object;

/// CPython's `PyMethodDef` (Include/methodobject.h).
#[repr(C)]
pub struct Method {
    name: *const c_char,
    function: Function,
    flags: c_int,
    doc: *const c_char,
}

// SAFETY: constants.
unsafe impl Sync for Method {}

impl Method {
    /// A function that takes any positional arguments (`METH_VARARGS`).
    pub const fn new(name: &'static CStr, function: Function) -> Self {
        Self { name: name.as_ptr(), function, flags: 1, doc: ptr::null() }
    }
}

/// CPython, as this process has it.
pub struct Api {
    get_version: unsafe extern "C" fn() -> *const c_char,
    is_initialized: unsafe extern "C" fn() -> c_int,
    current_thread: unsafe extern "C" fn() -> *mut c_void,
    ensure: unsafe extern "C" fn() -> c_int,
    release: unsafe extern "C" fn(c_int),
    compile: unsafe extern "C" fn(*const c_char, *const c_char, c_int) -> Object,
    evaluate: unsafe extern "C" fn(Object, Object, Object) -> Object,
    builtins: unsafe extern "C" fn() -> Object,
    new_dict: unsafe extern "C" fn() -> Object,
    set_item: unsafe extern "C" fn(Object, *const c_char, Object) -> c_int,
    new_function: unsafe extern "C" fn(*const Method, Object, Object) -> Object,
    increase: unsafe extern "C" fn(Object),
    decrease: unsafe extern "C" fn(Object),
    save: unsafe extern "C" fn() -> *mut c_void,
    restore: unsafe extern "C" fn(*mut c_void),
    print_error: unsafe extern "C" fn(),
    clear_error: unsafe extern "C" fn(),
    none: Object,
    code_type: usize,
    runtime: usize,
    evaluator: usize,
}

// SAFETY: addresses of functions and constants.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

/// The address of a symbol of this process; null if there is none.
pub fn address(name: &CStr) -> *mut c_void {
    // SAFETY: a C string.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

impl Api {
    /// The CPython of this process. `None` if there is none, or if it does not export what is needed.
    pub fn find() -> Option<Self> {
        /// # Safety
        /// The type is that of the function.
        unsafe fn function<F>(name: &CStr) -> Option<F> {
            const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
            let found = address(name);
            // SAFETY: an address, as the caller's type of a function.
            (!found.is_null()).then(|| unsafe { transmute_copy(&found) })
        }
        // SAFETY: the types are those of CPython's headers, which are the same from 3.8 to 3.13.
        unsafe {
            Some(Self {
                get_version: function(c"Py_GetVersion")?,
                is_initialized: function(c"Py_IsInitialized")?,
                current_thread: function(c"PyThreadState_Get")?,
                ensure: function(c"PyGILState_Ensure")?,
                release: function(c"PyGILState_Release")?,
                compile: function(c"Py_CompileString")?,
                evaluate: function(c"PyEval_EvalCode")?,
                builtins: function(c"PyEval_GetBuiltins")?,
                new_dict: function(c"PyDict_New")?,
                set_item: function(c"PyDict_SetItemString")?,
                new_function: function(c"PyCFunction_NewEx")?,
                increase: function(c"Py_IncRef")?,
                decrease: function(c"Py_DecRef")?,
                save: function(c"PyEval_SaveThread")?,
                restore: function(c"PyEval_RestoreThread")?,
                print_error: function(c"PyErr_Print")?,
                clear_error: function(c"PyErr_Clear")?,
                none: Some(address(c"_Py_NoneStruct")).filter(|none| !none.is_null())?,
                code_type: address(c"PyCode_Type").addr(),
                runtime: address(c"_PyRuntime").addr(),
                evaluator: address(c"_PyEval_EvalFrameDefault").addr(),
            })
        }
    }

    fn text(&self) -> &'static str {
        // SAFETY: takes nothing, and gives a C string that stays.
        unsafe { CStr::from_ptr((self.get_version)()) }.to_str().unwrap_or_default()
    }

    /// The version, such as `3.11.2`.
    pub fn version(&self) -> &'static str {
        self.text().split_whitespace().next().unwrap_or_default()
    }

    /// The release, such as `(3, 11)`.
    pub fn release(&self) -> (u32, u32) {
        let mut numbers = self.version().split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Whether this Python was built without its lock.
    pub fn is_free_threaded(&self) -> bool {
        self.text().contains("free-threading")
    }

    /// The address of the type of code objects.
    pub fn code_type(&self) -> usize {
        self.code_type
    }

    /// The address of `_PyRuntime`.
    pub fn runtime(&self) -> usize {
        self.runtime
    }

    /// The address of the function that runs Python code; 0 if it is not exported.
    pub fn evaluator(&self) -> usize {
        self.evaluator
    }

    /// Whether the interpreter runs.
    pub fn is_initialized(&self) -> bool {
        // SAFETY: takes nothing, and may be called at any time.
        unsafe { (self.is_initialized)() != 0 }
    }

    /// Waits for the GIL, and calls the function with it.
    pub fn with_gil<R>(&self, with: impl FnOnce() -> R) -> R {
        // SAFETY: the interpreter runs: the callers have seen that. Both calls are on this thread.
        unsafe {
            let state = (self.ensure)();
            let result = with();
            (self.release)(state);
            result
        }
    }

    /// Gives the GIL to others meanwhile. The calling thread has it.
    pub fn without_gil<R>(&self, with: impl FnOnce() -> R) -> R {
        // SAFETY: the caller has the GIL, and gets it back.
        unsafe {
            let thread = (self.save)();
            let result = with();
            (self.restore)(thread);
            result
        }
    }

    /// The state of the calling thread, which has the GIL.
    pub fn current_thread(&self) -> usize {
        // SAFETY: the caller has the GIL.
        unsafe { (self.current_thread)() }.addr()
    }

    /// A new reference to None.
    pub fn none(&self) -> Object {
        // SAFETY: None stays.
        unsafe { (self.increase)(self.none) };
        self.none
    }

    /// Runs a program, with these functions among its global names. The calling thread has the GIL. An exception that
    /// the program raises is printed if asked so. False if the program was not run to its end.
    pub fn run(&self, program: &CStr, file: &CStr, functions: &[&'static Method], prints: bool) -> bool {
        const FILE_INPUT: c_int = 257;
        // SAFETY: the caller has the GIL. Each new object is released once, and null ends the program early.
        unsafe {
            let globals = (self.new_dict)();
            let mut is_done = !globals.is_null();
            let mut give = |name: *const c_char, object: Object| {
                is_done = is_done && !object.is_null() && (self.set_item)(globals, name, object) == 0;
                (self.decrease)(object);
            };
            let builtins = (self.builtins)();
            (self.increase)(builtins);
            give(c"__builtins__".as_ptr(), builtins);
            for method in functions {
                give(method.name, (self.new_function)(*method, ptr::null_mut(), ptr::null_mut()));
            }
            if is_done {
                let code = (self.compile)(program.as_ptr(), file.as_ptr(), FILE_INPUT);
                let result = match code.is_null() {
                    true => ptr::null_mut(),
                    false => (self.evaluate)(code, globals, globals),
                };
                is_done = !result.is_null();
                (self.decrease)(result);
                (self.decrease)(code);
            }
            (self.decrease)(globals);
            if !is_done {
                if prints {
                    (self.print_error)();
                }
                (self.clear_error)();
            }
            is_done
        }
    }
}
