//! An interpreter in this process: libpython opened by name, its domains set, and one thread that it runs on.
//!
//! There is one per process and for as long as the process lives: CPython does not survive to be initialised twice
//! with other allocators, and finalising it takes what other threads still use.

mod child;
mod convert;
mod exception;
mod initialize;
mod job;
mod library;
mod options;
mod owned_bytes;
mod state;
mod value;

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use job::{Job, Outcome, Request};
use library::{Library, Object};
pub use options::{Options, StartError};
pub use owned_bytes::OwnedBytes;
use owned_bytes::{GIVE_BACK, Reference};
use state::{COUNTERS, in_forked_child, is_forked_child, set_free_threaded};
pub use value::{Bytes, Failure, MAX_DEPTH, Value};

use crate::counters::DomainCounters;
use crate::{Domains, Report};

/// Threads of Python recurse deeper than the 2 MiB allow that Rust gives a thread.
const STACK: usize = 16 << 20;
/// How long other threads of Python may have to wait for one job after another: `sys.getswitchinterval()`.
const SWITCH_INTERVAL: Duration = Duration::from_millis(5);

static RUNNING: OnceLock<Interpreter> = OnceLock::new();
/// The interpreter of this process.
pub struct Interpreter {
    options: Options,
    library: Library,
    domains: Domains,
    queue: Sender<Message>,
    /// The number of the last job. Locked while that is queued: jobs are numbered in their order.
    jobs: Mutex<u64>,
    /// As Python names the thread.
    thread: u64,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// The job that runs, or 0.
    current: u64,
    /// Whether it was interrupted.
    interrupted: bool,
    /// Jobs that are not to begin.
    cancelled: HashSet<u64>,
}

enum Message {
    Job(u64, Job),
    Free(Reference),
}

impl Interpreter {
    /// Starts it, or gives the one that runs, if it is of the same options. Takes as long as Python takes to start.
    ///
    /// # Errors
    /// A [`StartError`]. Nothing runs then, but libpython may stay loaded.
    pub fn start(options: Options) -> Result<&'static Self, StartError> {
        static STARTING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = RUNNING.get() {
            return if running.options == options { Ok(running) } else { Err(StartError::Running) };
        }
        let (started, start) = channel();
        let spawned = thread::Builder::new().name("python".to_owned()).stack_size(STACK).spawn(move || {
            let (queue, jobs) = channel();
            match initialize::initialize(&options) {
                Err(error) => drop(started.send(Err(error))),
                Ok((library, domains)) => {
                    set_free_threaded(library.allocators.version().free_threaded);
                    // SAFETY: this thread holds the GIL.
                    let thread = unsafe { (library.PyThread_get_thread_ident)() };
                    let _ = GIVE_BACK.set(give_back);
                    let interpreter = RUNNING.get_or_init(|| Self {
                        options,
                        library,
                        domains,
                        queue,
                        jobs: Mutex::default(),
                        thread,
                        progress: Mutex::default(),
                    });
                    // SAFETY: a function that may be called at any fork, and one for the end of the process.
                    unsafe {
                        libc::pthread_atfork(None, None, Some(in_forked_child));
                        libc::atexit(at_exit);
                    }
                    let _ = started.send(Ok(()));
                    interpreter.serve(&jobs);
                }
            }
        });
        if let Err(error) = spawned {
            return Err(StartError::Initialization(format!("there is no thread for it: {error}")));
        }
        let gone = || StartError::Initialization("its thread ended".to_owned());
        start.recv().map_err(|_| gone())??;
        RUNNING.get().ok_or_else(gone)
    }

    /// The one that runs.
    pub fn running() -> Option<&'static Self> {
        RUNNING.get()
    }

    /// How it was started.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Who serves each domain, as read back now.
    pub fn report(&self) -> Report {
        self.domains.report()
    }

    /// What went through the domains, if that is counted.
    pub fn counters(&self) -> Option<&'static DomainCounters> {
        self.options.config.counters.then_some(&COUNTERS)
    }

    /// Puts a job behind those that wait, and gives its number.
    pub fn submit(&self, job: Job) -> u64 {
        let mut number = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        // The other end is kept by a thread that never ends.
        let _ = self.queue.send(Message::Job(*number, job));
        *number
    }

    /// Calls a job off: one that waits does not begin, and in one that runs `KeyboardInterrupt` is raised, at the next
    /// instruction of Python's that it comes to. Returns at once.
    pub fn interrupt(&'static self, number: u64) {
        {
            let mut progress = self.progress();
            if progress.current != number {
                progress.cancelled.insert(number);
                return;
            }
        }
        // To get the GIL takes time, which the caller has not got.
        let _ = thread::Builder::new().name("python-interrupt".to_owned()).spawn(move || {
            // SAFETY: this thread gets the GIL and gives it back. The job cannot end in between: that takes the GIL.
            unsafe {
                let state = (self.library.PyGILState_Ensure)();
                let mut progress = self.progress();
                if progress.current == number {
                    progress.interrupted = true;
                    (self.library.PyThreadState_SetAsyncExc)(
                        self.thread,
                        self.library.PyExc_KeyboardInterrupt.cast::<Object>().read(),
                    );
                }
                drop(progress);
                (self.library.PyGILState_Release)(state);
            }
        });
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The interpreter's thread. It has the GIL, but while there is nothing to do.
    fn serve(&self, jobs: &Receiver<Message>) {
        let mut since = Instant::now();
        loop {
            let next = match jobs.try_recv() {
                Ok(message) if since.elapsed() < SWITCH_INTERVAL => Ok(message),
                // SAFETY: this thread holds the GIL, and has it again afterwards.
                next => unsafe {
                    let state = (self.library.PyEval_SaveThread)();
                    let next = match next {
                        Err(TryRecvError::Empty) => jobs.recv().map_err(|_| TryRecvError::Disconnected),
                        next => next,
                    };
                    (self.library.PyEval_RestoreThread)(state);
                    since = Instant::now();
                    next
                },
            };
            match next {
                Ok(Message::Job(number, job)) => self.run(number, job),
                // SAFETY: the reference is owned, and the GIL held.
                Ok(Message::Free(reference)) => unsafe { (self.library.Py_DecRef)(reference.0) },
                Err(_) => return,
            }
        }
    }

    fn run(&self, number: u64, job: Job) {
        let begins = {
            let mut progress = self.progress();
            progress.current = number;
            let called_off = progress.cancelled.contains(&number);
            // Those before it were called off too late.
            progress.cancelled.retain(|other| *other > number);
            !called_off
        };
        let outcome = match begins {
            // SAFETY: this thread holds the GIL.
            true => unsafe { self.library.perform(job.request, job.or_repr) },
            false => Err(Failure::Cancelled),
        };
        if is_forked_child() {
            // To convert the result forked.
            // SAFETY: the GIL is held.
            unsafe { self.library.end_child(Ok(())) }
        }
        {
            let mut progress = self.progress();
            progress.current = 0;
            if std::mem::take(&mut progress.interrupted) {
                // SAFETY: the GIL is held; it takes back what has not been raised yet.
                unsafe { (self.library.PyThreadState_SetAsyncExc)(self.thread, std::ptr::null_mut()) };
            }
        }
        (job.done)(number, outcome);
    }
}

/// At the process's end nobody listens any more.
fn give_back(reference: Reference) {
    if let Some(interpreter) = RUNNING.get() {
        let _ = interpreter.queue.send(Message::Free(reference));
    }
}

/// What Python has buffered for its standard streams is written. Python stays still from then on: what comes after
/// takes away what it stands on. In a forked child, whose last thread has ended, nothing comes after: the host's own
/// functions for its end want threads that are not there.
extern "C" fn at_exit() {
    const PATIENCE: Duration = Duration::from_secs(2);
    let Some(interpreter) = RUNNING.get() else { return };
    if is_forked_child() {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) }
    }
    let (done, flushed) = channel();
    // Another thread, because whoever has the GIL may never give it back.
    let spawned = thread::Builder::new().spawn(move || {
        // SAFETY: this thread gets the GIL, and keeps it to the end of the process.
        unsafe {
            (interpreter.library.PyGILState_Ensure)();
            interpreter.library.flush();
        }
        let _ = done.send(());
        loop {
            thread::park();
        }
    });
    if spawned.is_ok() {
        let _ = flushed.recv_timeout(PATIENCE);
    }
}
