use malloc_backend_profile::{self as profile, Gathered, Options, Probe, Refusal};
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
pub fn start_heap_profile(settings: HeapProfileSettings) -> errors::Result<()> {
    let HeapProfileSettings { interval, max_samples, allocator, v8, caller, file } = settings;
    let options = Options { interval: interval as u64, most_samples: max_samples as usize, allocator };
    profile::start(options, Some(&Probe { version: v8, function: caller, file })).map_err(refused)?;
    profile::attach_python_soon();
    Ok(())
}

/// Makes the file of a heap profile on a thread of libuv's pool.
pub struct EncodeHeapProfile {
    /// Missing for a profile that runs on.
    gathered: Option<Gathered>,
}

impl<'task> ScopedTask<'task> for EncodeHeapProfile {
    type Output = std::result::Result<Vec<u8>, Refusal>;
    type JsValue = Uint8ArraySlice<'task>;

    fn compute(&mut self) -> Result<Self::Output> {
        let gathered = self.gathered.take().map_or_else(profile::snapshot, Ok);
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
    AsyncTask::new(EncodeHeapProfile { gathered: None })
}

/// Stops the heap profile. The promise is for its file.
#[napi(namespace = "linux", ts_return_type = "Promise<Uint8Array>")]
pub fn stop_heap_profile() -> errors::Result<AsyncTask<EncodeHeapProfile>> {
    let gathered = profile::stop().map_err(refused)?;
    Ok(AsyncTask::new(EncodeHeapProfile { gathered: Some(gathered) }))
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
        why_no_javascript: state.why_no_javascript,
    })
}

/// How many slots of this process's modules hold a function of the heap profile.
#[napi(namespace = "linux")]
pub fn heap_profile_slots() -> u32 {
    profile::hooked_slots() as u32
}
