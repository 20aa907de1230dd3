use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_python::interpreter::{Interpreter, Job, Options, Outcome, Request, StartError};
use malloc_backend_python::{Config, Domain, Refusal, Served};
use napi::bindgen_prelude::{AsyncTask, FnArgs, Function, Task};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status, sys};
use napi_derive::napi;

use crate::backend::Backend;
use crate::errors::{Error, Result, error, rejection};
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

/// Starts the interpreter on a thread of the pool.
pub struct Start {
    options: Options,
    libpython: String,
}

#[napi]
impl Task for Start {
    type Output = std::result::Result<(), StartError>;
    type JsValue = ();

    fn compute(&mut self) -> napi::Result<Self::Output> {
        let started = Interpreter::start(self.options.clone()).map(drop);
        // A heap profile that runs shows Python from here on.
        if started.is_ok() {
            malloc_backend_profile::attach_python();
        }
        Ok(started)
    }

    fn resolve(&mut self, env: Env, started: Self::Output) -> napi::Result<()> {
        started.map_err(|why| rejection(&env, start_error(&why, &self.libpython)))
    }
}

fn start_error(why: &StartError, libpython: &str) -> Error {
    match why {
        StartError::Running => error(
            "ERR_PYTHON_RUNNING",
            "an interpreter with other options already runs in this process, and a process can have only one; use the \
             same options, or start another process with spawnPython",
        ),
        StartError::Foreign => error(
            "ERR_PYTHON_RUNNING",
            "this process runs a Python that malloc-backend did not start, so its domains can no longer be set; use \
             spawnPython",
        ),
        StartError::Library(why) => {
            error("ERR_LIBPYTHON_NOT_FOUND", format!("cannot load {libpython}: {why}"))
        }
        StartError::Initialization(why) => error("ERR_PYTHON_START", format!("Python did not start: {why}")),
        StartError::Refused(refusal) => error(
            match refusal {
                Refusal::TooOld(_) | Refusal::FreeThreaded(_) => "ERR_PYTHON_UNSUPPORTED",
                Refusal::Unavailable(_) | Refusal::NotApplied(_) => "ERR_NOT_APPLIED",
            },
            refusal.to_string(),
        ),
    }
}

/// Starts the interpreter of this process, or finds that it runs.
#[napi(namespace = "linux")]
pub fn python_start(options: PythonOptions) -> Result<AsyncTask<Start>> {
    let PythonOptions { libpython, executable, isolated, deep_bind, env, config } = options;
    let config = config
        .parse::<Config>()
        .map_err(|why| start_error(&StartError::Initialization(why.to_string()), &libpython))?;
    let options = Options {
        libpython: libpython.clone().into(),
        executable: executable.into(),
        isolated,
        deep_bind,
        env,
        config,
    };
    Ok(AsyncTask::new(Start { options, libpython }))
}

/// A domain of Python's memory, or the arenas under pymalloc.
#[napi(string_enum = "lowercase")]
pub enum PythonDomain {
    Raw,
    Mem,
    Obj,
    Arena,
}

impl From<Domain> for PythonDomain {
    fn from(domain: Domain) -> Self {
        match domain {
            Domain::Raw => Self::Raw,
            Domain::Mem => Self::Mem,
            Domain::Obj => Self::Obj,
            Domain::Arena => Self::Arena,
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
    pub backend: Backend,
    pub backend_version: Option<String>,
    pub domains: Vec<PythonDomain>,
    /// Domains of which it cannot be told any more who serves them.
    pub unknown: Vec<PythonDomain>,
    pub debug: bool,
    /// For each of the four domains, the counters in their order.
    pub counters: Option<Vec<Vec<f64>>>,
}

/// The interpreter that runs in this process, if one does.
#[napi(namespace = "linux")]
pub fn python_info() -> Option<PythonInfo> {
    let interpreter = Interpreter::running()?;
    let report = interpreter.report();
    let options = interpreter.options();
    let of = |who| {
        let domains = Domain::ALL.into_iter().filter(|domain| report.domains[*domain as usize] == who);
        domains.map(PythonDomain::from).collect()
    };
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    Some(PythonInfo {
        version: report.version.number,
        free_threaded: report.version.free_threaded,
        executable: path(&options.executable),
        libpython: path(&options.libpython),
        backend: report.backend.into(),
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

/// What a job is.
#[napi(string_enum = "lowercase")]
pub enum PythonJob {
    /// Statements.
    Exec,
    /// An expression.
    Eval,
    /// A function's name.
    Call,
}

/// Where one JavaScript thread gets the outcomes of its jobs.
#[napi(namespace = "linux")]
pub struct PythonPort {
    arrived: Arc<Mutex<Vec<(u64, Outcome)>>>,
    notify: Arc<Notify>,
}

#[napi(namespace = "linux")]
impl PythonPort {
    /// `callback` is called with what has arrived since the last time. `maxBuffer` is the most bytes that a buffer can have
    /// here.
    #[napi(
        constructor,
        ts_args_type = "callback: (outcomes: Array<PythonOutcome>) => void, maxBuffer: number"
    )]
    pub fn new(callback: Function<FnArgs<(Outcomes,)>, ()>, max_buffer: f64) -> napi::Result<Self> {
        MAX_BUFFER.store(max_buffer as usize, Ordering::Relaxed);
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let mailbox = Arc::clone(&arrived);
        let notify = callback.build_threadsafe_function::<()>().weak::<true>().build_callback(move |_| {
            let arrived = std::mem::take(&mut *mailbox.lock().unwrap_or_else(PoisonError::into_inner));
            Ok(FnArgs::from((Outcomes(arrived),)))
        })?;
        Ok(Self { arrived, notify: Arc::new(notify) })
    }

    /// Whether the port keeps its event loop alive: as long as something is to arrive.
    #[napi]
    pub fn hold(&self, env: Env, hold: bool) {
        let function = self.notify.raw();
        // SAFETY: called on the thread that the function was made on, while the port, and so the function, lives.
        unsafe {
            match hold {
                true => sys::napi_ref_threadsafe_function(env.raw(), function),
                false => sys::napi_unref_threadsafe_function(env.raw(), function),
            };
        }
    }

    /// Puts a job behind those that wait, and gives its number; nothing where no interpreter runs. `text` is the code or the
    /// name, `orRepr` whether a result that has no equivalent comes as its `repr`.
    #[napi(
        ts_args_type = "job: PythonJob, text: string, args: Array<PythonValue>, kwargs: PythonValue | undefined, orRepr: boolean"
    )]
    pub fn submit(
        &self,
        job: PythonJob,
        text: String,
        arguments: Vec<FromJs>,
        named: Option<FromJs>,
        or_repr: bool,
    ) -> Option<f64> {
        let interpreter = Interpreter::running()?;
        let request = match job {
            PythonJob::Exec => Request::Exec(text),
            PythonJob::Eval => Request::Eval(text),
            PythonJob::Call => Request::Call(
                text,
                arguments.into_iter().map(|argument| argument.0).collect(),
                named.map(FromJs::into_entries).unwrap_or_default(),
            ),
        };
        let (arrived, notify) = (Arc::clone(&self.arrived), Arc::clone(&self.notify));
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
}

/// Calls a job off.
#[napi(namespace = "linux")]
pub fn python_interrupt(number: f64) {
    if let Some(interpreter) = Interpreter::running() {
        interpreter.interrupt(number as u64);
    }
}
