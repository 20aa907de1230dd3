//! The interface of the shim: this package's preloaded library that serves the process's `malloc`.
//!
//! `crates/malloc-shim` implements the interface. Its `include/malloc_backend_shim.h` declares the interface for C.

use alloc::string::{String, ToString};
use core::ffi::{CStr, c_char, c_int};
use core::mem::offset_of;

use crate::{CannotRelease, MemoryAllocatorBackend, RawAllocator, Stats};

/// The version of the structure below. New fields are only added at its end. An incompatible structure has another
/// number.
pub const ABI: u32 = 1;

/// [`Stats`] for C. [`ABSENT`] stands for an absent figure.
#[repr(C)]
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug)]
pub struct RawStats {
    pub allocated: u64,
    pub active: u64,
    pub metadata: u64,
    pub resident: u64,
    pub mapped: u64,
    pub retained: u64,
}

/// The backend does not know this figure.
pub const ABSENT: u64 = u64::MAX;

impl From<Stats> for RawStats {
    fn from(stats: Stats) -> Self {
        let raw = |figure: Option<u64>| figure.unwrap_or(ABSENT);
        Self {
            allocated: raw(stats.allocated),
            active: raw(stats.active),
            metadata: raw(stats.metadata),
            resident: raw(stats.resident),
            mapped: raw(stats.mapped),
            retained: raw(stats.retained),
        }
    }
}

impl From<RawStats> for Stats {
    fn from(raw: RawStats) -> Self {
        let figure = |raw: u64| (raw != ABSENT).then_some(raw);
        Self {
            allocated: figure(raw.allocated),
            active: figure(raw.active),
            metadata: figure(raw.metadata),
            resident: figure(raw.resident),
            mapped: figure(raw.mapped),
            retained: figure(raw.retained),
        }
    }
}

/// The backend of the library, and the library's functions.
#[repr(C)]
pub struct Shim {
    abi: u32,
    size: u32,
    backend: *const c_char,
    version: *const c_char,
    path: extern "C" fn() -> *const c_char,
    stats: unsafe extern "C" fn(*mut RawStats),
    release: extern "C" fn() -> c_int,
    collect_thread: extern "C" fn(c_int),
}

// SAFETY: the pointers point to static strings, and any thread may call the functions.
unsafe impl Sync for Shim {}
// SAFETY: as above.
unsafe impl Send for Shim {}

impl Shim {
    /// Makes the structure for the library of allocator `A`.
    pub const fn new<A: RawAllocator>(
        backend: &'static CStr,
        version: &'static CStr,
        path: extern "C" fn() -> *const c_char,
    ) -> Self {
        /// # Safety
        /// `stats` is writable.
        unsafe extern "C" fn stats<A: RawAllocator>(stats: *mut RawStats) {
            // SAFETY: the caller's obligation.
            unsafe { stats.write(A::stats().into()) }
        }
        extern "C" fn release<A: RawAllocator>() -> c_int {
            if A::release().is_ok() { 0 } else { -1 }
        }
        extern "C" fn collect_thread<A: RawAllocator>(purge: c_int) {
            A::collect_thread(purge != 0);
        }
        Self {
            abi: ABI,
            size: size_of::<Self>() as u32,
            backend: backend.as_ptr(),
            version: version.as_ptr(),
            path,
            stats: stats::<A>,
            release: release::<A>,
            collect_thread: collect_thread::<A>,
        }
    }

    /// The backend of the library. `None` if a newer release has added this backend.
    pub fn backend(&self) -> Option<MemoryAllocatorBackend> {
        // SAFETY: a static string, by the interface.
        unsafe { CStr::from_ptr(self.backend) }.to_str().ok()?.parse().ok()
    }

    /// The backend's version.
    pub fn version(&self) -> String {
        // SAFETY: a static string, by the interface.
        unsafe { CStr::from_ptr(self.version) }.to_string_lossy().to_string()
    }

    /// The library's file, as named by the dynamic loader.
    pub fn path(&self) -> String {
        // SAFETY: a static string, by the interface.
        unsafe { CStr::from_ptr((self.path)()) }.to_string_lossy().to_string()
    }

    /// The statistics of the process's `malloc`.
    pub fn stats(&self) -> Stats {
        let mut raw = RawStats::from(Stats::default());
        // SAFETY: writable.
        unsafe { (self.stats)(&mut raw) };
        raw.into()
    }

    /// Calls [`RawAllocator::collect_thread`].
    pub fn collect_thread(&self, purge: bool) {
        // The library of an older release has a shorter structure.
        if self.size as usize > offset_of!(Self, collect_thread) {
            (self.collect_thread)(c_int::from(purge));
        }
    }

    /// Returns free memory of the process's `malloc` to the system.
    ///
    /// # Errors
    /// If the backend has no function that releases memory.
    pub fn release(&self) -> Result<(), CannotRelease> {
        match (self.release)() {
            0 => Ok(()),
            _ => Err(CannotRelease(self.backend().unwrap_or(MemoryAllocatorBackend::Default))),
        }
    }
}

/// The shim that serves this process's `malloc`. Ignores a loaded library that does not serve `malloc`, such as the probe
/// for `default`.
#[cfg(target_os = "linux")]
pub fn current() -> Option<&'static Shim> {
    use crate::owner::Object;

    // SAFETY: looks up a valid name in the global scope.
    let entry = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc_backend_shim".as_ptr()) };
    if entry.is_null() || Object::of(entry)? != Object::that_defines(c"malloc")? {
        return None;
    }
    // SAFETY: only this package defines this name. The function has this type and returns a static structure, whose first
    // field is its version.
    let shim = unsafe {
        let entry: extern "C" fn() -> *const Shim = core::mem::transmute(entry);
        entry().as_ref()?
    };
    (shim.abi == ABI).then_some(shim)
}

/// The shim that serves this process's `malloc`. This platform has no shim yet.
#[cfg(not(target_os = "linux"))]
pub fn current() -> Option<&'static Shim> {
    None
}
