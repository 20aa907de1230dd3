//! What the interpreter is asked to do.

use std::ffi::{CStr, CString, c_int};
use std::ptr;

use super::convert::{Owned, Raised, Unconverted};
use super::initialize::{EVAL_INPUT, FILE_INPUT};
use super::library::{Library, Object};
use super::value::{Failure, Value};

/// What is wanted.
#[derive(Debug)]
pub enum Request {
    /// Statements, in `__main__`.
    Exec(String),
    /// An expression, in `__main__`.
    Eval(String),
    /// A function by name, with arguments.
    Call(String, Vec<Value>, Vec<(Value, Value)>),
}

/// What comes of a job.
pub type Outcome = Result<Value, Failure>;

/// A request, and what is to be done with its outcome, on the interpreter's thread.
pub struct Job {
    /// What is wanted.
    pub request: Request,
    /// Whether a result without an equivalent is to be its `repr`.
    pub or_repr: bool,
    /// Called once, with the job's number. It is not to wait: Python does meanwhile.
    pub done: Box<dyn FnOnce(u64, Outcome) + Send>,
}

impl Library {
    /// # Safety
    /// The GIL is held.
    pub unsafe fn perform(&self, request: Request, or_repr: bool) -> Outcome {
        // SAFETY: the caller's obligation.
        unsafe {
            let result = match request {
                Request::Exec(code) => self.run_in_main(&code, c"<exec>", FILE_INPUT),
                Request::Eval(code) => self.run_in_main(&code, c"<eval>", EVAL_INPUT),
                Request::Call(name, arguments, named) => self.call(&name, arguments, named),
            };
            let converted =
                result.map_err(Unconverted::from).and_then(|object| self.value(object, or_repr, 0));
            match converted {
                // A float that could not be read, or a conversion that went wrong without saying so.
                Ok(_) if !(self.PyErr_Occurred)().is_null() => Err(self.exception()),
                Ok(value) => Ok(value),
                Err(Unconverted::Raised) => Err(self.exception()),
                Err(Unconverted::NoEquivalent(what)) => Err(Failure::NoEquivalent(what)),
            }
        }
    }

    /// # Safety
    /// The GIL is held.
    unsafe fn run_in_main(&self, code: &str, name: &CStr, start: c_int) -> Result<Owned<'_>, Raised> {
        // SAFETY: the caller's obligation.
        unsafe { self.run_code(code, name, start, self.main_scope()?) }
    }

    /// Runs statements of ours, out of sight of `__main__`.
    ///
    /// # Safety
    /// The GIL is held.
    pub unsafe fn run_apart(&self, code: &str) -> Result<(), Raised> {
        // SAFETY: new references are owned. Before 3.10 nothing gives a scope its builtins but this.
        unsafe {
            let builtins = Owned::new(self, (self.PyImport_ImportModule)(c"builtins".as_ptr()))?;
            let name = self.object(Value::Text("__builtins__".to_owned()))?;
            let scope = self.dict(Vec::new())?;
            if (self.PyDict_SetItem)(scope.get(), name.get(), builtins.get()) != 0 {
                return Err(Raised);
            }
            self.run_code(code, c"<malloc-backend>", FILE_INPUT, scope.get()).map(drop)
        }
    }

    /// # Safety
    /// The GIL is held; `scope` is a dict with builtins.
    unsafe fn run_code(
        &self,
        code: &str,
        name: &CStr,
        start: c_int,
        scope: Object,
    ) -> Result<Owned<'_>, Raised> {
        // SAFETY: C strings, and the caller's obligation.
        unsafe {
            let code = self.c_string(code)?;
            let code = Owned::new(self, (self.Py_CompileString)(code.as_ptr(), name.as_ptr(), start))?;
            Owned::new(self, (self.PyEval_EvalCode)(code.get(), scope, scope))
        }
    }

    /// Without a zero in it. Otherwise Python's own error for that is set.
    ///
    /// # Safety
    /// The GIL is held.
    unsafe fn c_string(&self, text: &str) -> Result<CString, Raised> {
        CString::new(text).map_err(|_| {
            // SAFETY: `compile` refuses a zero as we want it refused: with a ValueError or SyntaxError. Its
            // arguments are new objects.
            let refused = unsafe {
                self.call(
                    "builtins.compile",
                    ["\0", "<string>", "exec"].map(|text| Value::Text(text.to_owned())).into(),
                    Vec::new(),
                )
            };
            drop(refused);
            Raised
        })
    }

    /// The dict of `__main__`, borrowed.
    ///
    /// # Safety
    /// The GIL is held.
    unsafe fn main_scope(&self) -> Result<Object, Raised> {
        // SAFETY: `sys.modules` keeps the module.
        unsafe {
            let module = (self.PyImport_AddModule)(c"__main__".as_ptr());
            if module.is_null() { Err(Raised) } else { Ok((self.PyModule_GetDict)(module)) }
        }
    }

    /// # Safety
    /// The GIL is held.
    unsafe fn call(
        &self,
        name: &str,
        arguments: Vec<Value>,
        named: Vec<(Value, Value)>,
    ) -> Result<Owned<'_>, Raised> {
        // SAFETY: new references are owned.
        unsafe {
            let function = self.resolve(name)?;
            let arguments = self.tuple(arguments)?;
            let named = if named.is_empty() { None } else { Some(self.dict(named)?) };
            let named = named.as_ref().map_or(ptr::null_mut(), Owned::get);
            Owned::new(self, (self.PyObject_Call)(function.get(), arguments.get(), named))
        }
    }

    /// What a dotted name stands for: its first part is looked for in `__main__`, then in `builtins`, and then it is
    /// the name of a module; each further part is an attribute, or a module within.
    ///
    /// # Safety
    /// The GIL is held.
    unsafe fn resolve(&self, name: &str) -> Result<Owned<'_>, Raised> {
        // SAFETY: borrowed references get one of their own.
        unsafe {
            let first = name.split('.').next().unwrap_or_default();
            let key = self.object(Value::Text(first.to_owned()))?;
            let found = (self.PyDict_GetItem)(self.main_scope()?, key.get());
            let mut object = if found.is_null() {
                let builtins = Owned::new(self, (self.PyImport_ImportModule)(c"builtins".as_ptr()))?;
                match self.attribute(builtins.get(), key.get())? {
                    Some(builtin) => builtin,
                    None if first == name => self.undefined(name)?,
                    None => self.import(first)?,
                }
            } else {
                (self.Py_IncRef)(found);
                Owned::new(self, found)?
            };
            let mut length = first.len();
            for part in name.split('.').skip(1) {
                length += 1 + part.len();
                let key = self.object(Value::Text(part.to_owned()))?;
                object = match self.attribute(object.get(), key.get())? {
                    Some(attribute) => attribute,
                    None => match self.import(&name[..length]) {
                        // (PyImport_ImportModule gives the last module of a dotted name.)
                        Ok(module) => module,
                        Err(raised)
                            if (self.PyErr_ExceptionMatches)(self.class(self.PyExc_ImportError)) == 0 =>
                        {
                            return Err(raised);
                        }
                        Err(_) => {
                            (self.PyErr_Clear)();
                            // Python's own words for what is missing.
                            Owned::new(self, (self.PyObject_GetAttr)(object.get(), key.get()))?
                        }
                    },
                };
            }
            Ok(object)
        }
    }

    /// The attribute, if there is one.
    ///
    /// # Safety
    /// The GIL is held; live objects.
    unsafe fn attribute(&self, object: Object, name: Object) -> Result<Option<Owned<'_>>, Raised> {
        // SAFETY: the caller's obligation.
        unsafe {
            match Owned::new(self, (self.PyObject_GetAttr)(object, name)) {
                Ok(attribute) => Ok(Some(attribute)),
                Err(Raised) if (self.PyErr_ExceptionMatches)(self.class(self.PyExc_AttributeError)) != 0 => {
                    (self.PyErr_Clear)();
                    Ok(None)
                }
                Err(raised) => Err(raised),
            }
        }
    }

    /// The class behind a `PyExc_…`, which is a pointer to it.
    fn class(&self, exception: Object) -> Object {
        // SAFETY: a variable of libpython's, set since it was initialised.
        unsafe { exception.cast::<Object>().read() }
    }

    /// # Safety
    /// The GIL is held.
    unsafe fn import(&self, module: &str) -> Result<Owned<'_>, Raised> {
        // SAFETY: a C string.
        unsafe {
            let name = self.c_string(module)?;
            Owned::new(self, (self.PyImport_ImportModule)(name.as_ptr()))
        }
    }

    /// The NameError for a name, from Python itself.
    ///
    /// # Safety
    /// The GIL is held.
    unsafe fn undefined(&self, name: &str) -> Result<Owned<'_>, Raised> {
        let is_identifier = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        let code = if is_identifier { name.to_owned() } else { format!("raise NameError({name:?})") };
        // SAFETY: the caller's obligation. An expression that is but a name reads the variable.
        unsafe { self.run_in_main(&code, c"<call>", if is_identifier { EVAL_INPUT } else { FILE_INPUT }) }
    }

    /// Writes what `sys.stdout` and `sys.stderr` have buffered. What goes wrong is nobody's concern any more.
    ///
    /// # Safety
    /// The GIL is held.
    pub unsafe fn flush(&self) {
        const FLUSH: &str = "import sys\nfor stream in (sys.stdout, sys.stderr):\n    try:\n        stream.flush()\n    except Exception:\n        pass\n";
        // SAFETY: the caller's obligation.
        unsafe {
            if self.run_apart(FLUSH).is_err() {
                (self.PyErr_Clear)();
            }
        }
    }
}
