//! The start of an interpreter: pre-initialisation, then the domains, then the rest (c-api/init_config).

use std::ffi::{CString, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;
use std::{mem, ptr};

use malloc_backend::owner::Object;

use super::library::{Library, deep};
use super::options::{Options, StartError};
use super::state::COUNTERS;
use crate::Domains;

/// `PyPreConfig` is ten ints from 3.8 on, `PyConfig` a few hundred bytes; neither is known here beyond these fields.
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

/// Why a start came to nothing on its way. What it has set up by then is not taken back, and libpython does not survive
/// to be set up again.
static FAILED: OnceLock<String> = OnceLock::new();

/// The calling thread has the GIL afterwards.
pub fn initialize(options: &Options) -> Result<(Library, Domains), StartError> {
    if let Some(why) = FAILED.get() {
        return Err(StartError::Initialization(format!(
            "it failed to start in this process before, and cannot be started again: {why}"
        )));
    }
    let library = Library::open(&options.libpython, options.deep_bind).map_err(StartError::Library)?;
    // SAFETY: it may be called at any time.
    if unsafe { (library.Py_IsInitialized)() } != 0 {
        return Err(StartError::Foreign);
    }
    Domains::check(&library.allocators, &options.config).map_err(StartError::Refused)?;
    let argument = CString::new(options.executable.as_os_str().as_bytes())
        .map_err(|error| failed("the path of the interpreter", error.to_string()))?;
    // SAFETY: checked above, and one start at a time comes here.
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
/// The library was neither initialised nor set up before, and nobody else does it meanwhile.
unsafe fn set_up(library: &Library, options: &Options, argument: &CString) -> Result<Domains, StartError> {
    // SAFETY: the structures are larger than Python's, and set up by it. The calls come in the order in which Python
    // wants them, on the thread that is to be its first.
    unsafe {
        let mut preconfig: PreConfig = [0; 32];
        match options.isolated {
            true => (library.PyPreConfig_InitIsolatedConfig)(preconfig.as_mut_ptr()),
            false => (library.PyPreConfig_InitPythonConfig)(preconfig.as_mut_ptr()),
        }
        // The locale is the process's and not Python's to choose; file names are UTF-8, as they are to Node.
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
        // SIGINT stays the host's.
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
            // The extension modules, which Python opens later, too.
            let code = format!("import sys\nsys.setdlopenflags(sys.getdlopenflags() | {})\n", deep());
            library
                .run_apart(&code)
                .map_err(|_| failed("sys.setdlopenflags", format!("{:?}", library.exception())))?;
        }
        Ok(domains)
    }
}

/// Whatever imports `_signal` first gets Python's handler for SIGINT installed, if the disposition is the default then
/// (Modules/signalmodule.c). So that is done now, while it is not, unless it was done on the way: then what was before
/// comes back.
///
/// # Safety
/// The GIL is held.
unsafe fn leave_sigint(library: &Library, before: &libc::sigaction) {
    // SAFETY: all zero is a valid sigaction; to ignore a signal runs no code, and the others were in force before.
    // An address is only looked up. The module is kept by `sys.modules`.
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

/// Sets what SIGINT does, or leaves it, and gives what it did.
///
/// # Safety
/// `action` is one that was in force, or runs no code.
unsafe fn exchange_sigint(action: Option<&libc::sigaction>) -> libc::sigaction {
    // SAFETY: all zero is a valid sigaction, which the call fills in; and the caller's obligation.
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
