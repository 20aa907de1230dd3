//! The start of an interpreter: pre-initialisation, then the domains, then the rest (c-api/init_config).

use std::ffi::{CString, c_int};
use std::os::unix::ffi::OsStrExt;

use super::library::{Library, deep};
use super::{COUNTERS, Options, StartError};
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

/// The calling thread has the GIL afterwards.
pub fn initialize(options: &Options) -> Result<(Library, Domains), StartError> {
    let library = Library::open(&options.libpython, options.deep_bind).map_err(StartError::Library)?;
    let failed = |step: &str, error: String| StartError::Initialization(format!("{step}: {error}"));
    let argument = CString::new(options.executable.as_os_str().as_bytes())
        .map_err(|error| failed("the path of the interpreter", error.to_string()))?;
    // SAFETY: the structures are larger than Python's, and set up by it. The calls come in the order in which Python
    // wants them, on the thread that is to be its first.
    unsafe {
        if (library.Py_IsInitialized)() != 0 {
            return Err(StartError::Foreign);
        }
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
        let status = match status.error() {
            None => (library.Py_InitializeFromConfig)(config.as_ptr()).error(),
            error => error,
        };
        (library.PyConfig_Clear)(config.as_mut_ptr());
        if let Some(error) = status {
            return Err(failed("Py_InitializeFromConfig", error));
        }
        if options.deep_bind {
            // The extension modules, which Python opens later, too.
            let code = format!("import sys\nsys.setdlopenflags(sys.getdlopenflags() | {})\n", deep());
            library
                .run_apart(&code)
                .map_err(|_| failed("sys.setdlopenflags", format!("{:?}", library.exception())))?;
        }
        Ok((library, domains))
    }
}

/// `Py_file_input`: statements.
pub const FILE_INPUT: c_int = 257;
/// `Py_eval_input`: an expression.
pub const EVAL_INPUT: c_int = 258;
