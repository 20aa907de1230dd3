use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_python::interpreter::{Interpreter, Job, Options, Outcome, Request, StartError};
use malloc_backend_python::{Config, Domain, Refusal, Served};
use napi::bindgen_prelude::{AsyncTask, External, FnArgs, Function, Result, Task};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status, sys};
use napi_derive::napi;

use crate::python_value::{FromJs, MAX_BUFFER, Outcomes};

/// How the interpreter is to be started.
#[napi(object)]
pub struct PythonOptions {
    pub libpython: String,
    pub executable: String,
    pub isolated: bool,
    pub deep_bind: bool,
    /// The variables that were set for it, `name=value`, in order.
    pub env: Vec<String>,
    /// As the hook's: a backend, then what is on.
    pub config: String,
}

/// Why it was not; nothing where it was.
#[napi(object)]
pub struct PythonStart {
    /// `running`, `foreign`, `library`, `free-threaded`, `too-old`, `not-applied` or `initialization`.
    pub failure: Option<String>,
    pub message: Option<String>,
}

pub struct Start(Option<Options>, String);

impl Task for Start {
    type Output = PythonStart;
    type JsValue = PythonStart;

    fn compute(&mut self) -> Result<PythonStart> {
        let failed = |kind: &str, message: String| {
            Ok(PythonStart { failure: Some(kind.to_owned()), message: Some(message) })
        };
        let Some(options) = self.0.take() else {
            return failed("initialization", std::mem::take(&mut self.1));
        };
        match Interpreter::start(options) {
            Ok(_) => Ok(PythonStart { failure: None, message: None }),
            Err(StartError::Running) => failed("running", String::new()),
            Err(StartError::Foreign) => failed("foreign", String::new()),
            Err(StartError::Library(why)) => failed("library", why),
            Err(StartError::Initialization(why)) => failed("initialization", why),
            Err(StartError::Refused(refusal)) => {
                let kind = match refusal {
                    Refusal::TooOld(_) => "too-old",
                    Refusal::FreeThreaded(_) => "free-threaded",
                    Refusal::Unavailable(_) | Refusal::NotApplied(_) => "not-applied",
                };
                failed(kind, refusal.to_string())
            }
        }
    }

    fn resolve(&mut self, _env: Env, start: PythonStart) -> Result<PythonStart> {
        Ok(start)
    }
}

/// Starts the interpreter of this process, or finds that it runs.
#[napi]
pub fn python_start(options: PythonOptions) -> AsyncTask<Start> {
    let PythonOptions { libpython, executable, isolated, deep_bind, env, config } = options;
    match config.parse::<Config>() {
        Err(error) => AsyncTask::new(Start(None, error.to_string())),
        Ok(config) => {
            let (libpython, executable) = (libpython.into(), executable.into());
            let options = Options { libpython, executable, isolated, deep_bind, env, config };
            AsyncTask::new(Start(Some(options), String::new()))
        }
    }
}

/// The interpreter, as read back from it now.
#[napi(object)]
pub struct PythonInfo {
    pub version: String,
    pub free_threaded: bool,
    pub executable: String,
    pub libpython: String,
    pub backend: String,
    pub backend_version: Option<String>,
    pub domains: Vec<String>,
    /// Domains of which it cannot be told any more who serves them.
    pub unknown: Vec<String>,
    pub debug: bool,
    /// For each of the four domains, the counters in their order.
    pub counters: Option<Vec<Vec<f64>>>,
}

/// Asks for it.
#[napi]
pub fn python_info() -> Option<PythonInfo> {
    let interpreter = Interpreter::running()?;
    let report = interpreter.report();
    let options = interpreter.options();
    let of = |who| {
        let domains = Domain::ALL.into_iter().filter(|domain| report.domains[*domain as usize] == who);
        domains.map(|domain| domain.as_str().to_owned()).collect()
    };
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    Some(PythonInfo {
        version: report.version.number,
        free_threaded: report.version.free_threaded,
        executable: path(&options.executable),
        libpython: path(&options.libpython),
        backend: report.backend.to_string(),
        backend_version: report.backend_version.filter(|_| report.backend != MemoryAllocatorBackend::Default),
        domains: of(Served::ByBackend),
        unknown: of(Served::Unknown),
        debug: report.debug,
        counters: interpreter.counters().map(|domains| {
            domains.iter().map(|counters| counters.values().map(|value| value as f64).into()).collect()
        }),
    })
}

type Notify = ThreadsafeFunction<(), (), FnArgs<(Outcomes,)>, Status, false, true>;

/// Where one JavaScript thread gets the outcomes of its jobs.
pub struct Port {
    arrived: Arc<Mutex<Vec<(u64, Outcome)>>>,
    notify: Arc<Notify>,
}

/// Makes one. The function is called with what has arrived since the last time. `max_buffer` is the most bytes that a
/// buffer can have here.
#[napi]
pub fn python_port(callback: Function<FnArgs<(Outcomes,)>, ()>, max_buffer: f64) -> Result<External<Port>> {
    MAX_BUFFER.store(max_buffer as usize, Ordering::Relaxed);
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let mailbox = Arc::clone(&arrived);
    let notify = callback.build_threadsafe_function::<()>().weak::<true>().build_callback(move |_| {
        let arrived = std::mem::take(&mut *mailbox.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(FnArgs::from((Outcomes(arrived),)))
    })?;
    Ok(External::new(Port { arrived, notify: Arc::new(notify) }))
}

/// Whether the port keeps its event loop alive: as long as something is to arrive.
#[napi]
pub fn python_hold(env: Env, port: &External<Port>, hold: bool) {
    let function = port.notify.raw();
    // SAFETY: called on the thread that the function was made on, while the port, and so the function, lives.
    unsafe {
        match hold {
            true => sys::napi_ref_threadsafe_function(env.raw(), function),
            false => sys::napi_unref_threadsafe_function(env.raw(), function),
        };
    }
}

/// Puts a job behind those that wait, and gives its number; nothing where no interpreter runs. `kind` is `exec`,
/// `eval` or `call`.
#[napi]
pub fn python_submit(
    port: &External<Port>,
    kind: String,
    text: String,
    arguments: Vec<FromJs>,
    named: Option<FromJs>,
    or_repr: bool,
) -> Option<f64> {
    let interpreter = Interpreter::running()?;
    let request = match kind.as_str() {
        "exec" => Request::Exec(text),
        "eval" => Request::Eval(text),
        _ => Request::Call(
            text,
            arguments.into_iter().map(|argument| argument.0).collect(),
            named.map(FromJs::into_entries).unwrap_or_default(),
        ),
    };
    let (arrived, notify) = (Arc::clone(&port.arrived), Arc::clone(&port.notify));
    let done = Box::new(move |number, outcome| {
        let first = {
            let mut arrived = arrived.lock().unwrap_or_else(PoisonError::into_inner);
            arrived.push((number, outcome));
            arrived.len() == 1
        };
        if first {
            // Where the thread is gone nobody waits.
            notify.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    });
    Some(interpreter.submit(Job { request, or_repr, done }) as f64)
}

/// Calls a job off.
#[napi]
pub fn python_interrupt(number: f64) {
    if let Some(interpreter) = Interpreter::running() {
        interpreter.interrupt(number as u64);
    }
}
