//! Ends a forked child of the interpreter.

use std::ffi::c_int;

use super::convert::{Owned, Raised};
use super::library::Library;

/// `Py_PRINT_RAW`: `str` and not `repr`.
const PRINT_RAW: c_int = 1;

impl Library {
    /// Ends the process when a job that forked ends in the child. The child has no Node that could go on. The exit status is
    /// the status with which `python` would end.
    ///
    /// # Safety
    /// The GIL is held. With `Raised`, an exception is set.
    pub unsafe fn end_child(&self, outcome: Result<(), Raised>) -> ! {
        // SAFETY: the caller's obligation. Ends the process.
        unsafe {
            let status = match outcome {
                Ok(()) => 0,
                Err(Raised) => self.exit_status(),
            };
            self.flush();
            libc::_exit(status)
        }
    }

    /// The exit status of Python after an unhandled exception (Python/pythonrun.c, `handle_system_exit`).
    ///
    /// # Safety
    /// The GIL is held and an exception is set. The exception is cleared.
    unsafe fn exit_status(&self) -> c_int {
        // SAFETY: the fetched objects live until the process ends. The object borrowed from `sys` is used at once.
        unsafe {
            if (self.PyErr_ExceptionMatches)(self.class(self.PyExc_SystemExit)) == 0 {
                (self.PyErr_Print)();
                return 1;
            }
            let [_, value, _] = self.fetch();
            let code = (self.PyObject_GetAttrString)(value, c"code".as_ptr());
            let Ok(code) = Owned::new(self, code) else { return 1 };
            if code.get() == self._Py_NoneStruct {
                return 0;
            }
            let Ok(kind) = Owned::new(self, (self.PyObject_Type)(code.get())) else { return 1 };
            if (self.PyType_IsSubtype)(kind.get(), self.PyLong_Type) != 0 {
                let mut overflow = 0;
                return (self.PyLong_AsLongLongAndOverflow)(code.get(), &mut overflow) as c_int;
            }
            let stderr = (self.PySys_GetObject)(c"stderr".as_ptr());
            if !stderr.is_null() && stderr != self._Py_NoneStruct {
                (self.PyFile_WriteObject)(code.get(), stderr, PRINT_RAW);
                (self.PyErr_Clear)();
                (self.PyFile_WriteString)(c"\n".as_ptr(), stderr);
            }
            (self.PyErr_Clear)();
            1
        }
    }
}
