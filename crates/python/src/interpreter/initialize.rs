//! Starts an interpreter: first the pre-initialisation, then the domains, then the initialisation (c-api/init_config).

use std::ffi::{CString, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;
use std::{mem, ptr};

use malloc_backend::owner::Object;

use super::library::{Library, deep};
use super::options::{Options, StartError};
use super::state::COUNTERS;
use crate::Domains;

/// From 3.8 on, `PyPreConfig` has ten ints, and `PyConfig` has a few hundred bytes. This module knows only the fields below.
type PreConfig = [c_int; 32];
type Config = [c_int; 1024];

mod preconfig {
    pub const CONFIGURE_LOCALE: usize = 4;
    pub const COERCE_C_LOCALE: usize = 5;
    pub const UTF8_MODE: usize = 7;
}

mod config {
    pub const INSTALL_SIGNAL_HANDLERS: usize = 4;
}

/// The reason of a failed start. A failed start leaves libpython half set up, and libpython cannot be set up again.
static FAILED: OnceLock<String> = OnceLock::new();

/// Starts the interpreter. The calling thread then holds the GIL.
pub fn initialize(options: &Options) -> Result<(Library, Domains), StartError> {
    if let Some(why) = FAILED.get() {
        return Err(StartError::Initialization(format!(
            "it failed to start in this process before, and cannot be started again: {why}"
        )));
    }
    let library = Library::open(&options.libpython, options.deep_bind).map_err(StartError::Library)?;
    // SAFETY: this function may be called at any time.
    if unsafe { (library.Py_IsInitialized)() } != 0 {
        return Err(StartError::Foreign);
    }
    Domains::check(&library.allocators, &options.config).map_err(StartError::Refused)?;
    let argument = CString::new(options.executable.as_os_str().as_bytes())
        .map_err(|error| failed("the path of the interpreter", error.to_string()))?;
    // SAFETY: the library is not initialised, as checked above. Only one start runs at a time.
    let domains = unsafe { set_up(&library, options, &argument) }.inspect_err(|error| {
        let _ = FAILED.set(match error {
            StartError::Initialization(why) => why.clone(),
            StartError::Refused(refusal) => refusal.to_string(),
            other => format!("{other:?}"),
        });
    })?;
    Ok((library, domains))
}

fn failed(step: &str, error: String) -> StartError {
    StartError::Initialization(format!("{step}: {error}"))
}

/// # Safety
/// The library was never initialised or set up, and no other code sets it up at the same time.
unsafe fn set_up(library: &Library, options: &Options, argument: &CString) -> Result<Domains, StartError> {
    // SAFETY: the structures are larger than Python's, and Python initialises them. The calls are in the order that Python
    // requires, on the thread that becomes Python's main thread.
    unsafe {
        let mut preconfig: PreConfig = [0; 32];
        match options.isolated {
            true => (library.PyPreConfig_InitIsolatedConfig)(preconfig.as_mut_ptr()),
            false => (library.PyPreConfig_InitPythonConfig)(preconfig.as_mut_ptr()),
        }
        // Python must not change the locale of the process. File names are UTF-8, as in Node.
        preconfig[preconfig::CONFIGURE_LOCALE] = 0;
        preconfig[preconfig::COERCE_C_LOCALE] = 0;
        preconfig[preconfig::UTF8_MODE] = 1;
        if let Some(error) = (library.Py_PreInitialize)(preconfig.as_ptr()).error() {
            return Err(failed("Py_PreInitialize", error));
        }
        let domains =
            Domains::install(library.allocators, options.config, &COUNTERS).map_err(StartError::Refused)?;

        let mut config: Config = [0; 1024];
        match options.isolated {
            true => (library.PyConfig_InitIsolatedConfig)(config.as_mut_ptr()),
            false => (library.PyConfig_InitPythonConfig)(config.as_mut_ptr()),
        }
        // Python must not change the handler of SIGINT.
        config[config::INSTALL_SIGNAL_HANDLERS] = 0;
        let arguments = [argument.as_ptr()];
        let status = (library.PyConfig_SetBytesArgv)(config.as_mut_ptr(), 1, arguments.as_ptr());
        let before = exchange_sigint(None);
        let status = match status.error() {
            None => (library.Py_InitializeFromConfig)(config.as_ptr()).error(),
            error => error,
        };
        (library.PyConfig_Clear)(config.as_mut_ptr());
        if let Some(error) = status {
            return Err(failed("Py_InitializeFromConfig", error));
        }
        leave_sigint(library, &before);
        if options.deep_bind {
            // Python opens the extension modules later. They need the same flag.
            let code = format!("import sys\nsys.setdlopenflags(sys.getdlopenflags() | {})\n", deep());
            library
                .run_apart(&code)
                .map_err(|_| failed("sys.setdlopenflags", format!("{:?}", library.exception())))?;
        }
        Ok(domains)
    }
}

/// Keeps the handler of SIGINT. The first import of `_signal` installs Python's handler if SIGINT has the default handler
/// (Modules/signalmodule.c). So this function imports `_signal` while SIGINT is ignored. If the start has already imported
/// `_signal`, the function restores the handler from before the start.
///
/// # Safety
/// The GIL is held.
unsafe fn leave_sigint(library: &Library, before: &libc::sigaction) {
    // SAFETY: all zero is a valid sigaction. Ignoring a signal runs no code, and the other handlers were in force before.
    // The address of the handler is only looked up. `sys.modules` keeps the module.
    unsafe {
        let mut ignored: libc::sigaction = mem::zeroed();
        ignored.sa_sigaction = libc::SIG_IGN;
        let now = exchange_sigint(Some(&ignored));
        let module = (library.PyImport_ImportModule)(c"_signal".as_ptr());
        match module.is_null() {
            true => (library.PyErr_Clear)(),
            false => (library.Py_DecRef)(module),
        }
        let handler = Object::of(ptr::with_exposed_provenance::<c_void>(now.sa_sigaction));
        let is_pythons =
            handler.is_some() && handler == Object::of(library.Py_IsInitialized as *const c_void);
        exchange_sigint(Some(if is_pythons { before } else { &now }));
    }
}

/// Returns the action of SIGINT. Sets a new action if `action` is given.
///
/// # Safety
/// `action` was in force before, or runs no code.
unsafe fn exchange_sigint(action: Option<&libc::sigaction>) -> libc::sigaction {
    // SAFETY: all zero is a valid sigaction, and the call fills it; the caller's obligation.
    unsafe {
        let mut before: libc::sigaction = mem::zeroed();
        libc::sigaction(libc::SIGINT, action.map_or(ptr::null(), ptr::from_ref), &mut before);
        before
    }
}

/// `Py_file_input`: statements.
pub const FILE_INPUT: c_int = 257;
/// `Py_eval_input`: an expression.
pub const EVAL_INPUT: c_int = 258;
