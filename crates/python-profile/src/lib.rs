//! A library to preload into CPython: a heap profile from the first line of the program. The profile is written to a file when
//! Python ends, and at a signal.
//!
//! The variables are those of `malloc-backend/profile` for Node (`src/profile/register.ts`): `MALLOC_BACKEND_PROFILE_FILE`,
//! `MALLOC_BACKEND_PROFILE_INTERVAL` and `MALLOC_BACKEND_PROFILE_SIGNAL`. In a program that is not Python, such as a shell that
//! will start Python, the library changes nothing. It works in the program that follows.
//!
//! The samples begin before `main`. At the first event of Python's audit hooks behind the initialisation, which comes before the
//! program's first line, the library looks for Python's frames, and registers the functions that write the profile
//! (`atexit`, `signal`).

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod file;
mod settings;

use std::ffi::{CString, c_char, c_int, c_void};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs};

use malloc_backend::owner::Object as Library;
use malloc_backend::shim;
use malloc_backend_profile::python::{self, Api, Method, Object};
use malloc_backend_profile::{self as profile, Options};
use malloc_backend_python::asks_for_dev_mode;

use file::File;
use settings::Settings;

/// The same as Node's default (`src/profile/heap-profile.ts`).
const MOST_SAMPLES: usize = 100_000;

struct Child {
    file: File,
    signal: Option<String>,
    /// A forked child has another one, and writes no profile.
    process: u32,
}

static CHILD: OnceLock<Child> = OnceLock::new();

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = start;

/// By this symbol the hook recognises the library (`crates/python-hook`).
#[unsafe(no_mangle)]
pub static MALLOC_BACKEND_PYTHON_PROFILE: u8 = 1;

extern "C" fn start() {
    let Some(api) = python::api() else { return };
    if let Some(setting) = debug_setting() {
        complain(&format!(
            "no heap profile of this Python, because of {setting}: Python's debug hooks free what they have not allocated"
        ));
        return;
    }
    if let Err(why) = begin(api) {
        fail(&why);
    }
}

/// The setting by which Python puts its debug hooks in front of the domains while it initialises. At its end, these hooks would
/// take the audit hook, which was allocated before, for damaged memory, and end the process. (It is the same for each program
/// that adds an audit hook as early as Python allows.)
fn debug_setting() -> Option<&'static str> {
    let get = |name: &str| env::var_os(name).unwrap_or_default();
    if get("PYTHONMALLOC").as_encoded_bytes().ends_with(b"debug") {
        return Some("PYTHONMALLOC");
    }
    if !get("PYTHONDEVMODE").is_empty() {
        return Some("PYTHONDEVMODE");
    }
    let words = fs::read("/proc/self/cmdline").unwrap_or_default();
    asks_for_dev_mode(words.split(|byte| *byte == 0).skip(1)).then_some("-X dev")
}

fn begin(api: &Api) -> Result<(), String> {
    type Event = unsafe extern "C" fn(*const c_char, *mut c_void, *mut c_void) -> c_int;
    let add_hook = python::address(c"PySys_AddAuditHook");
    if add_hook.is_null() || api.release() < (3, 8) {
        return Err(format!("Python {} is older than 3.8", api.version()));
    }
    let Settings { file, interval, signal } = Settings::from_environment()?;
    let file =
        File::new(&file).map_err(|error| format!("the folder of this process is not known: {error}"))?;
    let options = Options { interval, most_samples: MOST_SAMPLES, allocator: allocator() };
    profile::start(options, None).map_err(|refusal| refusal.message)?;
    CHILD.get_or_init(|| Child { file, signal, process: std::process::id() });
    watch_domains(api);
    // SAFETY: the functions stay. Python allows a hook to be added before it is initialised, and keeps it (c-api/sys).
    unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
        let add_hook: unsafe extern "C" fn(Event, *mut c_void) -> c_int = std::mem::transmute(add_hook);
        if add_hook(event, std::ptr::null_mut()) != 0 {
            return Err("Python has refused the hook that notices its start".to_owned());
        }
    }
    Ok(())
}

/// (Without its lock, Python's objects need its own mimalloc. Then `malloc` alone is seen.)
fn watch_domains(api: &Api) {
    if !api.is_free_threaded() {
        python::watch(python::Which::All);
    }
}

/// The name of the process's allocator, for the profile.
fn allocator() -> String {
    if let Some(backend) = shim::current().and_then(|shim| shim.backend()) {
        return backend.to_string();
    }
    let owner = Library::that_defines(c"malloc");
    match owner == Library::that_defines(c"__libc_start_main") {
        true => "default".to_owned(),
        false => owner.map(|owner| owner.path()).unwrap_or_default(),
    }
}

/// Called at each event of Python's audit hooks, by a thread that has the GIL.
unsafe extern "C" fn event(_: *const c_char, _: *mut c_void, _: *mut c_void) -> c_int {
    static IS_DONE: AtomicBool = AtomicBool::new(false);
    if IS_DONE.load(Ordering::Relaxed) {
        return 0;
    }
    let Some(api) = python::api().filter(|api| api.is_initialized()) else { return 0 };
    // What follows causes events, too.
    if !IS_DONE.swap(true, Ordering::Relaxed)
        && let Err(why) = prepare(api)
    {
        fail(&why);
    }
    0
}

fn prepare(api: &'static Api) -> Result<(), String> {
    static LAST: Method = Method::new(c"write_last", write_last);
    static NOW: Method = Method::new(c"write_now", write_now);
    let Some(child) = CHILD.get() else { return Ok(()) };
    // Python's own settings (PYTHONMALLOC, -X dev) may have replaced the tables.
    watch_domains(api);
    python::find_frames(api);
    let mut program = "import atexit\natexit.register(write_last)\n".to_owned();
    if let Some(signal) = &child.signal {
        program += &format!("import signal\nsignal.signal(signal.{signal}, write_now)\n");
    }
    let program = CString::new(program).map_err(|error| error.to_string())?;
    if api.run(&program, c"<malloc-backend>", &[&LAST, &NOW], true) {
        return Ok(());
    }
    let signal = child.signal.as_deref().unwrap_or_default();
    Err(format!(
        "Python has not registered what writes the heap profile (signal: {signal:?}); the reason is above"
    ))
}

/// Python calls it when it begins to end.
unsafe extern "C" fn write_last(_: Object, _: Object) -> Object {
    write(|| profile::stop().map(profile::Gathered::encode))
}

/// Python calls it at the signal.
unsafe extern "C" fn write_now(_: Object, _: Object) -> Object {
    write(|| profile::snapshot().map(profile::Gathered::encode))
}

fn write(profile: impl FnOnce() -> Result<Vec<u8>, profile::Refusal>) -> Object {
    let Some(api) = python::api() else { return std::ptr::null_mut() };
    if let Some(child) = CHILD.get().filter(|child| child.process == std::process::id()) {
        let written = api.without_gil(|| {
            let profile = profile().map_err(|refusal| refusal.message)?;
            child.file.write(&profile).map_err(|error| error.to_string())
        });
        // A failure must not change how the program ends.
        if let Err(why) = written {
            complain(&format!("cannot write the heap profile: {why}"));
        }
    }
    api.none()
}

/// A forked child writes no profile.
unsafe extern "C" fn in_child() {
    profile::stop_sampling();
}

fn complain(what: &str) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(std::io::stderr(), "malloc-backend: {what}");
}

/// Ends the process before the program's first line.
fn fail(why: &str) -> ! {
    complain(&format!("cannot profile Python: {why}"));
    // SAFETY: ends the process.
    unsafe { libc::_exit(126) }
}
