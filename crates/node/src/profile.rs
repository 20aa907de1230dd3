use std::cell::Cell;
use std::sync::Arc;

use malloc_backend_profile::{self as profile, Gathered, Mark, Options, Probe, Refusal};
use napi::bindgen_prelude::{AsyncTask, Uint8ArraySlice};
use napi::{Env, Result, ScopedTask};
use napi_derive::napi;

use crate::errors::{self, error, rejection};

fn refused(Refusal { code, message }: Refusal) -> errors::Error {
    error(code, message)
}

/// How a heap profile is taken.
#[napi(object)]
pub struct HeapProfileSettings {
    /// The mean distance of two samples, in bytes.
    pub interval: f64,
    /// The most samples of blocks in use that are kept.
    pub max_samples: f64,
    /// The name of the process's allocator.
    pub allocator: String,
    /// `process.versions.v8`.
    pub v8: String,
    /// The name of the function that calls this one.
    pub caller: String,
    /// The file of that function.
    pub file: String,
}

/// Starts a heap profile of this process.
#[napi(namespace = "linux")]
pub fn start_heap_profile(env: &Env, settings: HeapProfileSettings) -> errors::Result<()> {
    watch_end(env)?;
    let HeapProfileSettings { interval, max_samples, allocator, v8, caller, file } = settings;
    let options = Options { interval: interval as u64, most_samples: max_samples as usize, allocator };
    profile::start(options, Some(&Probe { version: v8, function: caller, file })).map_err(refused)?;
    profile::attach_python_soon();
    Ok(())
}

thread_local! {
    /// Whether the profiler will know of the end of this thread's JavaScript.
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// The profiler adds to the thread's isolate what must be gone before the isolate is.
fn watch_end(env: &Env) -> errors::Result<()> {
    if !IS_WATCHED.get() {
        env.add_env_cleanup_hook((), |()| profile::isolate_ends())
            .map_err(|failed| error("ERR_CANNOT_PROFILE", failed.reason.to_string()))?;
        IS_WATCHED.set(true);
    }
    Ok(())
}

/// Makes the file of a heap profile on a thread of libuv's pool.
pub struct EncodeHeapProfile {
    source: Source,
}

/// Of what the file is made.
enum Source {
    /// Of the running profile.
    Running,
    /// Of what has changed in it.
    Since(Arc<Mark>),
    /// Of one that was stopped; `None` once it is made.
    Stopped(Option<Box<Gathered>>),
}

impl<'task> ScopedTask<'task> for EncodeHeapProfile {
    type Output = std::result::Result<Vec<u8>, Refusal>;
    type JsValue = Uint8ArraySlice<'task>;

    fn compute(&mut self) -> Result<Self::Output> {
        let gathered = match &mut self.source {
            Source::Running => profile::snapshot(),
            Source::Since(mark) => profile::snapshot_since(mark),
            // A task is computed once.
            Source::Stopped(gathered) => {
                gathered.take().map_or_else(profile::snapshot, |gathered| Ok(*gathered))
            }
        };
        Ok(gathered.map(Gathered::encode))
    }

    fn resolve(&mut self, env: &'task Env, encoded: Self::Output) -> Result<Self::JsValue> {
        let bytes = encoded.map_err(|refusal| rejection(env, refused(refusal)))?;
        Uint8ArraySlice::copy_from(env, bytes)
    }
}

/// The running heap profile so far: a gzipped file in the format of pprof.
#[napi(namespace = "linux", ts_return_type = "Promise<Uint8Array>")]
pub fn snapshot_heap_profile() -> AsyncTask<EncodeHeapProfile> {
    AsyncTask::new(EncodeHeapProfile { source: Source::Running })
}

/// What a heap profile had at a moment.
#[napi(namespace = "linux")]
pub struct HeapProfileMark {
    mark: Arc<Mark>,
}

#[napi(namespace = "linux")]
impl HeapProfileMark {
    /// The number of the profile in this process.
    #[napi(getter)]
    pub fn session(&self) -> u32 {
        self.mark.session()
    }
}

/// Notes what a heap profile has, on a thread of libuv's pool.
pub struct MarkHeapProfile;

impl<'task> ScopedTask<'task> for MarkHeapProfile {
    type Output = std::result::Result<Mark, Refusal>;
    type JsValue = HeapProfileMark;

    fn compute(&mut self) -> Result<Self::Output> {
        Ok(profile::mark())
    }

    fn resolve(&mut self, env: &'task Env, mark: Self::Output) -> Result<Self::JsValue> {
        mark.map(|mark| HeapProfileMark { mark: Arc::new(mark) })
            .map_err(|refusal| rejection(env, refused(refusal)))
    }
}

/// Notes what the running heap profile has.
#[napi(namespace = "linux", ts_return_type = "Promise<HeapProfileMark>")]
pub fn mark_heap_profile() -> AsyncTask<MarkHeapProfile> {
    AsyncTask::new(MarkHeapProfile)
}

/// What has changed in the heap profile since it was marked: a gzipped file in the format of pprof.
#[napi(namespace = "linux", ts_return_type = "Promise<Uint8Array>")]
pub fn heap_profile_since(mark: &HeapProfileMark) -> AsyncTask<EncodeHeapProfile> {
    AsyncTask::new(EncodeHeapProfile { source: Source::Since(Arc::clone(&mark.mark)) })
}

/// Stops the heap profile. The promise is for its file.
#[napi(namespace = "linux", ts_return_type = "Promise<Uint8Array>")]
pub fn stop_heap_profile() -> errors::Result<AsyncTask<EncodeHeapProfile>> {
    let gathered = profile::stop().map_err(refused)?;
    Ok(AsyncTask::new(EncodeHeapProfile { source: Source::Stopped(Some(Box::new(gathered))) }))
}

/// The same at once, for a process that is about to end.
#[napi(namespace = "linux", ts_return_type = "Uint8Array")]
pub fn stop_heap_profile_now(env: &Env) -> errors::Result<Uint8ArraySlice<'_>> {
    let bytes = profile::stop().map_err(refused)?.encode();
    Uint8ArraySlice::copy_from(env, bytes)
        .map_err(|failed| error("ERR_OUT_OF_MEMORY", failed.reason.to_string()))
}

/// The state of a heap profile.
#[napi(object)]
pub struct HeapProfileState {
    pub interval: f64,
    pub samples: f64,
    pub live: f64,
    pub dropped: f64,
    pub dropped_stacks: f64,
    pub seconds: f64,
    pub why_no_javascript: Option<String>,
}

/// The state of the running heap profile. Nothing if none runs.
#[napi(namespace = "linux")]
pub fn heap_profile_state() -> Option<HeapProfileState> {
    profile::state().map(|state| HeapProfileState {
        interval: state.interval as f64,
        samples: state.samples as f64,
        live: state.live as f64,
        dropped: state.dropped as f64,
        dropped_stacks: state.dropped_stacks as f64,
        seconds: state.time.as_secs_f64(),
        why_no_javascript: state.why_no_javascript,
    })
}

/// How many slots of this process's modules hold a function of the heap profile.
#[napi(namespace = "linux")]
pub fn heap_profile_slots() -> u32 {
    profile::hooked_slots() as u32
}
