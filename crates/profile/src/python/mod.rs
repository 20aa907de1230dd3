//! Python frames, read from CPython's chain of frames. Nothing of CPython's is called within `malloc`.

mod api;
mod code;
mod cpython;
mod domains;
mod evaluator;
mod frames;
mod layout;
mod lines;
mod probe;

use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

pub use api::{Api, Method, Object, address};
pub use code::Place;
pub use cpython::Python;
pub use domains::{Which, watch};
pub use frames::Frames;

use crate::session;

static API: OnceLock<Api> = OnceLock::new();
/// Why no frames will be read.
static WHY_NOT: OnceLock<String> = OnceLock::new();

/// The CPython of this process, if there is one.
pub fn api() -> Option<&'static Api> {
    API.get().or_else(|| {
        let api = Api::find()?;
        Some(API.get_or_init(|| api))
    })
}

/// Makes Python frames readable, if they are not yet. The calling thread has the GIL of an interpreter that runs, and a profile
/// runs.
pub fn find_frames(api: &'static Api) {
    if Python::candidate().is_some() || WHY_NOT.get().is_some() {
        return;
    }
    let verified = Python::find(api).and_then(|python| probe::verify(python.keep()));
    match verified {
        Ok(()) => Python::set_verified(),
        Err(why) => {
            WHY_NOT.get_or_init(|| why);
        }
    }
}

/// Makes the frames and the domains of the Python in this process visible to the profile that runs, if there is a Python and a
/// profile. It waits for the GIL.
pub fn attach() {
    let Some(api) = api().filter(|api| api.is_initialized() && session::running() != 0) else { return };
    api.with_gil(|| {
        // Without its lock, Python's objects need its own mimalloc.
        if !api.is_free_threaded() {
            watch(Which::WithGil);
        }
        find_frames(api);
    });
}

/// The same on another thread, because the thread that has the GIL may keep it for long. Waits a moment for the end.
pub fn attach_soon() {
    const MOMENT: Duration = Duration::from_millis(100);
    if !api().is_some_and(Api::is_initialized) {
        return;
    }
    let (done, is_done) = channel();
    let spawned = thread::Builder::new().name("python-profile".to_owned()).spawn(move || {
        attach();
        // Nobody may wait any more.
        let _ = done.send(());
    });
    if spawned.is_ok() {
        // What takes longer happens later.
        let _ = is_done.recv_timeout(MOMENT);
    }
}

/// Why no Python frames were read, if that was tried.
pub fn why_not() -> Option<&'static str> {
    WHY_NOT.get().map(String::as_str)
}
