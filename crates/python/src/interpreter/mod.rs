//! An interpreter in this process. It opens libpython, sets the domains, and runs on one thread.
//!
//! A process has one interpreter, which runs until the process ends. CPython cannot be initialised twice with different
//! allocators. Its finalisation would free memory that other threads still use.

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

/// Stack size of the interpreter's thread. Python recurses deeper than the 2 MiB of a Rust thread allow.
const STACK: usize = 16 << 20;
/// The longest time for which jobs keep the GIL without a break: `sys.getswitchinterval()`.
const SWITCH_INTERVAL: Duration = Duration::from_millis(5);

static RUNNING: OnceLock<Interpreter> = OnceLock::new();
/// The interpreter of this process.
pub struct Interpreter {
    options: Options,
    library: Library,
    domains: Domains,
    queue: Sender<Message>,
    /// The number of the last job. Locked while the job is queued, so that the numbers have the order of the queue.
    jobs: Mutex<u64>,
    /// Python's identifier of the thread.
    thread: u64,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// The number of the running job, or 0.
    current: u64,
    /// Whether the running job was interrupted.
    interrupted: bool,
    /// Jobs that must not start.
    cancelled: HashSet<u64>,
}

enum Message {
    Job(u64, Job),
    Free(Reference),
}

impl Interpreter {
    /// Starts the interpreter. If an interpreter with the same options runs, returns it. Blocks until Python has started.
    ///
    /// # Errors
    /// A [`StartError`]. Then no interpreter runs, but libpython may stay loaded.
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
                    // SAFETY: the first function may run at any fork, and the second at the end of the process.
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

    /// The running interpreter.
    pub fn running() -> Option<&'static Self> {
        RUNNING.get()
    }

    /// The options of the start.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Reads the tables back and reports the allocator of each domain.
    pub fn report(&self) -> Report {
        self.domains.report()
    }

    /// The counters of the domains, if the options enable them.
    pub fn counters(&self) -> Option<&'static DomainCounters> {
        self.options.config.counters.then_some(&COUNTERS)
    }

    /// Adds a job to the queue and returns its number.
    pub fn submit(&self, job: Job) -> u64 {
        let mut number = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        // The receiver belongs to a thread that never ends, so `send` cannot fail.
        let _ = self.queue.send(Message::Job(*number, job));
        *number
    }

    /// Cancels a job. A waiting job does not start. In a running job, Python raises `KeyboardInterrupt` at its next
    /// instruction. Returns at once.
    pub fn interrupt(&'static self, number: u64) {
        {
            let mut progress = self.progress();
            if progress.current != number {
                progress.cancelled.insert(number);
                return;
            }
        }
        // Waiting for the GIL takes time, and the caller must not block.
        let _ = thread::Builder::new().name("python-interrupt".to_owned()).spawn(move || {
            // SAFETY: this thread acquires the GIL and releases it. The job cannot end in between, because it needs the GIL.
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

    /// The loop of the interpreter's thread. The thread holds the GIL except while it waits for a job.
    fn serve(&self, jobs: &Receiver<Message>) {
        let mut since = Instant::now();
        loop {
            let next = match jobs.try_recv() {
                Ok(message) if since.elapsed() < SWITCH_INTERVAL => Ok(message),
                // SAFETY: this thread holds the GIL, releases it, and acquires it again.
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
                // SAFETY: the reference is owned, and the GIL is held.
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
            // Earlier jobs were cancelled too late.
            progress.cancelled.retain(|other| *other > number);
            !called_off
        };
        let outcome = match begins {
            // SAFETY: this thread holds the GIL.
            true => unsafe { self.library.perform(job.request, job.or_repr) },
            false => Err(Failure::Cancelled),
        };
        if is_forked_child() {
            // The conversion of the result has forked.
            // SAFETY: the GIL is held.
            unsafe { self.library.end_child(Ok(())) }
        }
        {
            let mut progress = self.progress();
            progress.current = 0;
            if std::mem::take(&mut progress.interrupted) {
                // SAFETY: the GIL is held. The call removes an exception that Python has not raised yet.
                unsafe { (self.library.PyThreadState_SetAsyncExc)(self.thread, std::ptr::null_mut()) };
            }
        }
        (job.done)(number, outcome);
    }
}

/// Sends a reference to the interpreter's thread. At the end of the process, nobody receives it.
fn give_back(reference: Reference) {
    if let Some(interpreter) = RUNNING.get() {
        let _ = interpreter.queue.send(Message::Free(reference));
    }
}

/// Flushes Python's standard streams at the end of the process, and then stops Python, because the process now frees
/// resources that Python uses. A forked child ends here at once: Node's own exit functions would wait for threads that the
/// child does not have.
extern "C" fn at_exit() {
    const PATIENCE: Duration = Duration::from_secs(2);
    let Some(interpreter) = RUNNING.get() else { return };
    if is_forked_child() {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) }
    }
    let (done, flushed) = channel();
    // On another thread, because the thread that holds the GIL may never release it.
    let spawned = thread::Builder::new().spawn(move || {
        // SAFETY: this thread acquires the GIL and keeps it until the process ends.
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
