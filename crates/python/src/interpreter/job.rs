//! The jobs of the interpreter: statements, expressions and calls.

use std::ffi::{CStr, CString, c_int};
use std::ptr;

use super::convert::{Owned, Raised, Unconverted};
use super::initialize::{EVAL_INPUT, FILE_INPUT};
use super::library::{CompilerFlags, Library, Object};
use super::state::is_forked_child;
use super::value::{Failure, Value};

/// The kinds of a job.
#[derive(Debug)]
pub enum Request {
    /// Executes statements in `__main__`.
    Exec(String),
    /// Evaluates an expression in `__main__`.
    Eval(String),
    /// Calls a function by its name, with positional and named arguments.
    Call(String, Vec<Value>, Vec<(Value, Value)>),
}

/// The result of a job.
pub type Outcome = Result<Value, Failure>;

/// A request, and a callback for its outcome. Both run on the interpreter's thread.
pub struct Job {
    /// The request.
    pub request: Request,
    /// Whether a result without an equivalent becomes its `repr`.
    pub or_repr: bool,
    /// Called once, with the job's number. It must not block, because Python waits for its return.
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
            if is_forked_child() {
                self.end_child(result.map(drop));
            }
            let converted =
                result.map_err(Unconverted::from).and_then(|object| self.value(object, or_repr, 0));
            match converted {
                // The conversion returned a value although it failed, for example for a float.
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

    /// Executes this package's own statements, outside `__main__`.
    ///
    /// # Safety
    /// The GIL is held.
    pub unsafe fn run_apart(&self, code: &str) -> Result<(), Raised> {
        // SAFETY: new references are owned. (Before 3.10, Python does not add the builtins to a new scope.)
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
    /// The GIL is held. `scope` is a dict with `__builtins__`.
    unsafe fn run_code(
        &self,
        code: &str,
        name: &CStr,
        start: c_int,
        scope: Object,
    ) -> Result<Owned<'_>, Raised> {
        // The flags of `compile` for a `str`: the source is UTF-8, even if a comment in it names another encoding.
        const SOURCE_IS_UTF8: c_int = 0x0100;
        const IGNORE_COOKIE: c_int = 0x0800;
        let mut flags = CompilerFlags { flags: SOURCE_IS_UTF8 | IGNORE_COOKIE, feature_version: 0 };
        // SAFETY: C strings, and the caller's obligation. (-1 means the interpreter's own optimisation level.)
        unsafe {
            let code = self.c_string(code)?;
            let code = (self.Py_CompileStringExFlags)(code.as_ptr(), name.as_ptr(), start, &mut flags, -1);
            let code = Owned::new(self, code)?;
            Owned::new(self, (self.PyEval_EvalCode)(code.get(), scope, scope))
        }
    }

    /// Makes a C string. If the text contains a zero byte, sets Python's own exception for this case.
    ///
    /// # Safety
    /// The GIL is held.
    unsafe fn c_string(&self, text: &str) -> Result<CString, Raised> {
        CString::new(text).map_err(|_| {
            // SAFETY: `compile` raises Python's exception for a zero byte: ValueError or SyntaxError. Its arguments are new
            // objects.
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

    /// The dict of `__main__`, as a borrowed reference.
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

    /// Finds the object of a dotted name. The first part is searched in `__main__`, then in `builtins`, and then as a
    /// module. Each further part is an attribute or a submodule.
    ///
    /// # Safety
    /// The GIL is held.
    unsafe fn resolve(&self, name: &str) -> Result<Owned<'_>, Raised> {
        // SAFETY: borrowed references are converted to owned references.
        unsafe {
            let first = name.split('.').next().unwrap_or_default();
            let key = self.object(Value::Text(first.to_owned()))?;
            let mut object = match self.item(self.main_scope()?, key.get())? {
                Some(found) => found,
                None => {
                    let builtins = Owned::new(self, (self.PyImport_ImportModule)(c"builtins".as_ptr()))?;
                    match self.attribute(builtins.get(), key.get())? {
                        Some(builtin) => builtin,
                        None if first == name => return Err(self.undefined(name)),
                        None => self.import(first)?,
                    }
                }
            };
            let mut length = first.len();
            for part in name.split('.').skip(1) {
                length += 1 + part.len();
                let key = self.object(Value::Text(part.to_owned()))?;
                object = match self.attribute(object.get(), key.get())? {
                    Some(attribute) => attribute,
                    None => match self.import(&name[..length]) {
                        // (PyImport_ImportModule returns the last module of a dotted name.)
                        Ok(module) => module,
                        Err(raised) if !self.was_not_found(&name[..length]) => return Err(raised),
                        // Raise Python's own exception for the missing attribute.
                        Err(_) => Owned::new(self, (self.PyObject_GetAttr)(object.get(), key.get()))?,
                    },
                };
            }
            Ok(object)
        }
    }

    /// Whether the exception says that this module or one of its packages does not exist. Then the exception is cleared. If
    /// the module exists but imports a missing module, the exception stays set.
    ///
    /// # Safety
    /// The GIL is held and an exception is set.
    unsafe fn was_not_found(&self, module: &str) -> bool {
        // SAFETY: PyErr_Restore takes ownership of the fetched references.
        unsafe {
            if (self.PyErr_ExceptionMatches)(self.class(self.PyExc_ModuleNotFoundError)) == 0 {
                return false;
            }
            let [class, value, traceback] = self.fetch();
            let name = (self.PyObject_GetAttrString)(value, c"name".as_ptr());
            let name = Owned::new(self, name).and_then(|name| self.plain_text_or_none(name.get()));
            let is_this = match name {
                Ok(Some(name)) => module
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
                Ok(None) => false,
                Err(Raised) => {
                    (self.PyErr_Clear)();
                    false
                }
            };
            (self.PyErr_Restore)(class, value, traceback);
            if is_this {
                (self.PyErr_Clear)();
            }
            is_this
        }
    }

    /// The item of a dict, if it exists.
    ///
    /// # Safety
    /// The GIL is held; live objects.
    unsafe fn item(&self, dict: Object, key: Object) -> Result<Option<Owned<'_>>, Raised> {
        // SAFETY: the caller's obligation.
        unsafe {
            let item = Owned::new(self, (self.PyObject_GetItem)(dict, key));
            self.unless(item, self.PyExc_KeyError)
        }
    }

    /// The attribute of an object, if it exists.
    ///
    /// # Safety
    /// The GIL is held; live objects.
    unsafe fn attribute(&self, object: Object, name: Object) -> Result<Option<Owned<'_>>, Raised> {
        // SAFETY: the caller's obligation.
        unsafe {
            let attribute = Owned::new(self, (self.PyObject_GetAttr)(object, name));
            self.unless(attribute, self.PyExc_AttributeError)
        }
    }

    /// Converts this exception to `None` and clears it.
    ///
    /// # Safety
    /// The GIL is held; `exception` is a `PyExc_…`.
    unsafe fn unless<'lib>(
        &'lib self,
        found: Result<Owned<'lib>, Raised>,
        exception: Object,
    ) -> Result<Option<Owned<'lib>>, Raised> {
        // SAFETY: the caller's obligation.
        unsafe {
            match found {
                Err(Raised) if (self.PyErr_ExceptionMatches)(self.class(exception)) != 0 => {
                    (self.PyErr_Clear)();
                    Ok(None)
                }
                found => found.map(Some),
            }
        }
    }

    /// The class of a `PyExc_…`, which is a variable that points to the class.
    pub fn class(&self, exception: Object) -> Object {
        // SAFETY: a variable of libpython, which the initialisation has set.
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

    /// Raises NameError for a name.
    ///
    /// # Safety
    /// The GIL is held.
    unsafe fn undefined(&self, name: &str) -> Raised {
        // SAFETY: the caller's obligation.
        unsafe {
            if let Ok(message) = self.object(Value::Text(format!("name '{name}' is not defined"))) {
                (self.PyErr_SetObject)(self.class(self.PyExc_NameError), message.get());
            }
        }
        Raised
    }

    /// Flushes `sys.stdout` and `sys.stderr`. Ignores errors, because nobody could handle them any more.
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
