//! The files of the preloadable libraries.

use alloc::format;
use alloc::string::String;

use crate::MemoryAllocatorBackend;

const PREFIX: &str = "libmalloc_backend_";
const SUFFIX: &str = ".so";

/// The name of the library that sets Python's domains.
pub const PYTHON_HOOK: &str = "libmalloc_backend_python_hook.so";

/// The name of the library that profiles Python.
pub const PYTHON_PROFILE: &str = "libmalloc_backend_python_profile.so";

/// The file name of the backend's library. For `default`, the file name of its probe.
pub fn shim_name(backend: MemoryAllocatorBackend) -> String {
    format!("{PREFIX}{backend}{SUFFIX}")
}

/// The backend of the library with this file name. `None` for any other file.
pub fn shim_backend(name: &str) -> Option<MemoryAllocatorBackend> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}
