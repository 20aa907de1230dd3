//! Starts and stops the profile of this process.

use std::mem;
use std::sync::Once;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use crate::gather::{Gathered, Mark};
use crate::lock::Lock;
use crate::options::{Options, Probe, State};
use crate::refusal::{Refusal, refusal};
use crate::rules::MODULES;
use crate::tables::Tables;
use crate::v8::V8;
use crate::{got, hooks, memory, python, queued, rules, sampler, session, stacks, thread};

/// A running profile.
#[derive(Clone)]
struct Running {
    number: u32,
    options: Options,
    started: SystemTime,
    why_no_javascript: Option<String>,
}

/// The profile of this process, held by who starts, reads or stops it.
static PROFILE: Lock<Option<Running>> = Lock::new(None);
/// Held by who starts or stops a profile, or copies its tables, and taken before [`PROFILE`]: a copy takes some time, in which
/// [`state`] must not wait.
static TABLES: Lock<()> = Lock::new(());

/// Starts a profile. Without a probe there is no JavaScript in this process.
///
/// # Errors
/// A profile runs; or the process's allocations cannot be seen.
pub fn start(options: Options, probe: Option<&Probe>) -> Result<(), Refusal> {
    // Before the lock: a library that is being opened on another thread may fork in its constructor, and a fork waits for it.
    open_hooks()?;
    let _tables = TABLES.hold();
    let mut profile = PROFILE.hold();
    if profile.is_some() {
        return Err(refusal("ERR_PROFILE_RUNNING", "a heap profile is running already; stop it first"));
    }
    let cannot = |why: String| refusal("ERR_CANNOT_PROFILE", why);
    let tables =
        Tables::get_or_make().map_err(|error| cannot(format!("there is no room for the tables: {error}")))?;
    if !is_quiet_soon() {
        return Err(cannot("a thread is still taking a sample of the last profile; try again".to_owned()));
    }
    if !watch_threads_and_forks() {
        return Err(cannot("the process has used up its keys of threads (pthread_key_create)".to_owned()));
    }
    tables.clear(options.most_samples);
    got::find_originals()?;
    let v8 = probe.map(|probe| (probe, V8::find(&probe.version)));
    if matches!(v8, Some((_, Ok(_)))) {
        rules::program_keeps_frame_pointers();
    }
    rules::forget_modules();
    rules::learn_modules();
    let number = session::next();
    let why_no_javascript = match v8 {
        None => None,
        Some((_, Err(why))) => Some(why),
        // SAFETY: this thread holds the lock of the profile.
        Some((probe, Ok(v8))) => unsafe {
            stacks::verify(v8, tables, number, &probe.function, &probe.file).err()
        },
    };
    if let Some(v8) = V8::get() {
        // SAFETY: JavaScript has called (`Probe`).
        unsafe { v8.watch_collections() };
    }
    let interval = options.interval;
    *profile = Some(Running { number, options, started: SystemTime::now(), why_no_javascript });
    session::start(number, interval);
    got::patch();
    Ok(())
}

/// Copies what the running profile has gathered. It runs on.
///
/// # Errors
/// No profile runs.
pub fn snapshot() -> Result<Gathered, Refusal> {
    copy().map(|(gathered, _)| gathered)
}

/// Notes what the running profile has, for [`snapshot_since`].
///
/// # Errors
/// No profile runs.
pub fn mark() -> Result<Mark, Refusal> {
    copy().map(|(gathered, number)| gathered.mark(number))
}

/// Copies what has changed in the running profile since the mark.
///
/// # Errors
/// The profile that had the mark does not run any more.
pub fn snapshot_since(mark: &Mark) -> Result<Gathered, Refusal> {
    let (gathered, number) = copy()?;
    if number != mark.session() {
        return Err(refusal(
            "ERR_NO_PROFILE",
            "that heap profile is not running any more; another one was started",
        ));
    }
    Ok(gathered.since(mark))
}

/// A copy of the running profile, and its number.
fn copy() -> Result<(Gathered, u32), Refusal> {
    let _tables = TABLES.hold();
    let running = PROFILE.hold().clone().ok_or_else(none_runs)?;
    got::look_for_modules();
    Ok((gather(&running), running.number))
}

/// Stops the profile, and returns what it has gathered. From here on no slot holds a hook.
///
/// # Errors
/// No profile runs.
pub fn stop() -> Result<Gathered, Refusal> {
    let _tables = TABLES.hold();
    let running = PROFILE.hold().take().ok_or_else(none_runs)?;
    got::look_for_modules();
    session::stop();
    got::restore();
    isolate_ends();
    Ok(gather(&running))
}

/// Gives up what a profile has added to the calling thread's isolate. It must be called before the isolate ends.
pub fn isolate_ends() {
    if let Some(v8) = V8::get() {
        // SAFETY: JavaScript has called, or the thread ends its isolate.
        unsafe { v8.forget_collections() };
    }
}

/// The state of the running profile, if one runs.
pub fn state() -> Option<State> {
    let profile = PROFILE.hold();
    let (Running { options, why_no_javascript, .. }, tables) = profile.as_ref().zip(Tables::get())?;
    Some(State {
        interval: options.interval,
        samples: tables.samples.load(Ordering::Relaxed),
        live: tables.live.len() as u64,
        dropped: tables.live.dropped(),
        dropped_stacks: tables.stacks.dropped(),
        time: Duration::from_nanos(tables.nanoseconds.load(Ordering::Relaxed)),
        why_no_javascript: why_no_javascript.clone(),
    })
}

/// How many slots of this process hold a hook, whether a profile runs or not.
pub fn hooked_slots() -> usize {
    got::count_hooked()
}

/// Opens the library of the hooks, which lies beside the one that has this code.
fn open_hooks() -> Result<(), Refusal> {
    const LIBRARY: &str = "libmalloc_backend_profile_hooks.so";
    let functions = hooks::Functions {
        sample: sampler::sample,
        adopt: sampler::adopt,
        forget: sampler::forget,
        look_for_modules: got::before_loader,
        queued: queued::queued,
        created: queued::created,
        deleted: queued::deleted,
        run: queued::run,
        done: queued::done,
    };
    let library = hooks::own_folder().unwrap_or_default().join(LIBRARY);
    hooks::open(&library, &functions).map_err(|why| {
        refusal(
            "ERR_BINARY_MISSING",
            format!("the library of heap profiles does not load: {why}; install malloc-backend again"),
        )
    })
}

fn none_runs() -> Refusal {
    refusal("ERR_NO_PROFILE", "no heap profile is running; start one first")
}

fn gather(running: &Running) -> Gathered {
    let Running { options, started, why_no_javascript, .. } = running;
    // `start` has made them.
    let tables = Tables::get().expect("the profile was started");
    let mut gathered = Gathered::new(tables, options.allocator.clone(), options.interval, *started);
    if let Some(why) = why_no_javascript {
        gathered.comments.push(format!("JavaScript frames were not read: {why}"));
    }
    if let Some(why) = python::why_not() {
        gathered.comments.push(format!("Python frames were not read: {why}"));
    }
    gathered
}

/// For a forked child that will not write a profile: takes no more samples.
pub fn stop_sampling() {
    session::stop();
}

fn is_quiet_soon() -> bool {
    (0..1000).any(|_| {
        let quiet = session::is_quiet();
        if !quiet {
            sleep(Duration::from_millis(1));
        }
        quiet
    })
}

fn watch_threads_and_forks() -> bool {
    static FORKS: Once = Once::new();
    FORKS.call_once(|| {
        // SAFETY: the functions below, which stay as long as the process: an addon is never unloaded.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
    });
    thread::watch_ends()
}

/// A fork waits until nobody is in the middle of a change: the child would never see its end.
unsafe extern "C" fn before_fork() {
    mem::forget((TABLES.hold(), PROFILE.hold(), got::SLOTS.hold(), MODULES.hold()));
}

unsafe extern "C" fn after_fork() {
    // SAFETY: `before_fork` has taken them, on this thread.
    unsafe {
        MODULES.open();
        got::SLOTS.open();
        PROFILE.open();
        TABLES.open();
    }
}

unsafe extern "C" fn in_child() {
    V8::forget();
    memory::forget_pid();
    session::forget_threads();
    // SAFETY: as above.
    unsafe { after_fork() };
}
