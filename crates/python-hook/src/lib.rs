//! A library to preload into CPython. Before `main`, it sets the interpreter's allocator domains to a backend, reads the
//! tables back and reports them.
//!
//! The hook does not replace `malloc`. In a program that is not Python, such as a shell that will start Python, the hook
//! reports this and changes nothing. It then works in the program that follows. Like the shims, it does not use std.

// `cargo check` and editors build all crates together, and some of them use std. The release build uses no std.
#![cfg_attr(not(debug_assertions), no_std)]

extern crate alloc;

mod global;
mod shared;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ffi::{CStr, c_int};

use malloc_backend::owner::Object;
use malloc_backend::variables::{
    PYTHON as CONFIG, PYTHON_CHILDREN as CHILDREN, PYTHON_COUNTERS as COUNTERS, PYTHON_REPORT as REPORT,
};
use malloc_backend::{MemoryAllocatorBackend, shim};
use malloc_backend_preload::background_threads;
use malloc_backend_preload::descriptor::{self, Descriptor};
use malloc_backend_preload::environment::{drop_preload, get, leave_preload, remove, restore, set};
use malloc_backend_preload::own;
use malloc_backend_preload::report::{json, write};
use malloc_backend_python::{
    AllocatorSymbols, Config, Counters, DOMAINS_COUNTED, Domain, Domains, Report, Served, asks_for_dev_mode,
};

const INHERIT: &[u8] = b"inherit";
const INHERITED: &[u8] = b"inherited";

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = start;

extern "C" fn start() {
    let Some(config) = get(CONFIG) else { return };
    let (report, counters) = (descriptor::find(REPORT), descriptor::find(COUNTERS));
    // SAFETY: the symbols of CPython are in the program or in libpython, and neither is unloaded.
    let symbols = unsafe { AllocatorSymbols::find(|name| libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr())) };
    let is_inherited = get(CHILDREN).is_some_and(|value| value == INHERITED);
    if is_inherited && own_choice().is_some() {
        // For example, a test of the program starts Python in dev mode. This Python keeps the allocators that it chose.
        return;
    }
    let Some(symbols) = symbols else {
        // (Standard error is for people. The many programs of a launcher would print too many lines there.)
        if let Descriptor::Ours(fd @ 3..) = report {
            write(fd, format!("{{\"notPython\":{}}}\n", json(&executable())).as_bytes());
        }
        return;
    };
    remove(REPORT);
    remove(COUNTERS);
    let config = String::from_utf8_lossy(&config);
    let outcome = match (&report, &counters) {
        // Without a report, the process that started Python would assume that Python did not start.
        (Descriptor::Replaced(fd), _) | (_, Descriptor::Replaced(fd)) => Err(replaced(*fd)),
        (_, Descriptor::Ours(fd)) => apply(&config, symbols, shared::map(*fd)),
        (_, Descriptor::None) => apply(&config, symbols, None),
    };
    if let Descriptor::Ours(fd) = report {
        let line = match &outcome {
            Ok(report) => described(report, fd),
            Err(reason) => format!("{{\"error\":{}}}\n", json(reason)),
        };
        write(fd, line.as_bytes());
        if fd > libc::STDERR_FILENO {
            // SAFETY: the process that set the variable opened the descriptor for this library.
            unsafe { libc::close(fd) };
        }
    }
    if let Err(reason) = outcome {
        write(libc::STDERR_FILENO, format!("malloc-backend: {reason}\n").as_bytes());
        // SAFETY: ends the process before its `main`.
        unsafe { libc::_exit(126) }
    }
    let children = get(CHILDREN).unwrap_or_default();
    if children == INHERIT {
        set(CHILDREN, INHERITED);
    }
    let wants = |what: &[u8]| children.split(|byte| *byte == b',').any(|word| word == what);
    if !wants(INHERIT) && !is_inherited {
        remove(CONFIG);
        remove(CHILDREN);
        leave_preload();
        if let Some(profiler) = Object::that_defines(c"MALLOC_BACKEND_PYTHON_PROFILE") {
            drop_preload(&profiler.path());
        }
        if wants(b"restore") {
            restore();
        }
        if let Some(shim) = wants(b"unswitch").then(shim::current).flatten() {
            drop_preload(&shim.path());
        }
    }
}

/// A setting that makes Python replace the backend's allocators without a message (c-api/init_config, `allocator`).
enum OwnChoice {
    Variable(&'static CStr),
    DevMode,
}

fn own_choice() -> Option<OwnChoice> {
    let is_set = |name: &&CStr| get(name).is_some_and(|value| !value.is_empty());
    let variable = [c"PYTHONMALLOC", c"PYTHONDEVMODE"].into_iter().find(is_set).map(OwnChoice::Variable);
    let is_dev_mode = || asks_for_dev_mode(arguments().split(|byte| *byte == 0).skip(1));
    variable.or_else(|| is_dev_mode().then_some(OwnChoice::DevMode))
}

fn replaced(fd: c_int) -> String {
    format!(
        "Python must report through file descriptor {fd}, but a launcher closed it or put another file in its place; let \
         the launcher use another descriptor"
    )
}

fn apply(
    config: &str,
    symbols: AllocatorSymbols,
    shared: Option<&'static [Counters; DOMAINS_COUNTED]>,
) -> Result<Report, String> {
    static OWN: [Counters; DOMAINS_COUNTED] = [const { Counters::new() }; DOMAINS_COUNTED];
    let config: Config = config.parse().map_err(|error| format!("{error}"))?;
    match own_choice().filter(|_| config.chooses()) {
        Some(OwnChoice::Variable(name)) => {
            return Err(format!(
                "{} is set, so Python would replace the chosen allocators; unset the variable",
                name.to_string_lossy()
            ));
        }
        Some(OwnChoice::DevMode) => {
            return Err("a launcher or the first line of a script started Python with -X dev, so Python would replace the \
                 chosen allocators; omit -X dev, or turn on only the debug hooks with allocatorDebug"
                .to_string());
        }
        None => {}
    }
    let domains =
        Domains::install(symbols, config, shared.unwrap_or(&OWN)).map_err(|refusal| refusal.to_string())?;
    let report = domains.report();
    if report.backend == MemoryAllocatorBackend::Jemalloc {
        background_threads::allow();
    }
    Ok(report)
}

fn described(report: &Report, fd: c_int) -> String {
    let served: Vec<String> = Domain::ALL
        .into_iter()
        .filter(|domain| report.domains[*domain as usize] == Served::ByBackend)
        .map(|domain| json(domain.as_str()))
        .collect();
    let malloc = Object::that_defines(c"malloc").map(|object| object.path()).unwrap_or_default();
    let library = own().map(|object| object.path()).unwrap_or_default();
    // The process that started this process compares them, to recognise the right Python. (People do not need them.)
    let given = match fd > libc::STDERR_FILENO {
        true => format!(",\"arguments\":{}", json(&String::from_utf8_lossy(&arguments()))),
        false => String::new(),
    };
    format!(
        "{{\"pid\":{},\"version\":{},\"freeThreaded\":{},\"executable\":{},\"backend\":\"{}\",\
         \"backendVersion\":{},\"domains\":[{}],\"debug\":{},\"malloc\":{},\"library\":{}{given}}}\n",
        // SAFETY: has no arguments and cannot fail.
        unsafe { libc::getpid() },
        json(&report.version.number),
        report.version.free_threaded,
        json(&executable()),
        report.backend,
        report.backend_version.as_deref().map_or_else(|| "null".to_string(), json),
        served.join(","),
        report.debug,
        json(&malloc),
        json(&library),
    )
}

/// The name and the arguments of this program, each followed by a zero byte.
fn arguments() -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0_u8; 4096];
    // SAFETY: a C string, a writable buffer with its length, and a descriptor that is closed once.
    unsafe {
        let fd = libc::open(c"/proc/self/cmdline".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        while let read @ 1.. = libc::read(fd, piece.as_mut_ptr().cast(), piece.len()) {
            all.extend_from_slice(&piece[..read as usize]);
        }
        libc::close(fd);
    }
    all
}

/// The file of this program.
fn executable() -> String {
    let mut path = [0_u8; 4096];
    // SAFETY: a C string, and a writable buffer with its length.
    let length = unsafe { libc::readlink(c"/proc/self/exe".as_ptr(), path.as_mut_ptr().cast(), path.len()) };
    String::from_utf8_lossy(&path[..length.max(0) as usize]).into_owned()
}
