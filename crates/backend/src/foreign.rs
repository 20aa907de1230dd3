//! Recognises allocators that do not come from this package. Each has a function that no other allocator exports.

/// Functions that identify an allocator, the most specific function first, and the allocator's name.
pub const SIGNATURES: [(&str, &str); 9] = [
    ("__asan_init", "asan"),
    ("mallctl", "jemalloc"),
    ("mi_malloc", "mimalloc"),
    ("tc_version", "tcmalloc"),
    ("MallocExtension_Internal_GetNumericProperty", "tcmalloc"),
    ("rpmalloc", "rpmalloc"),
    ("scalable_malloc", "tbbmalloc"),
    ("__scudo_print_stats", "scudo"),
    ("sn_malloc", "snmalloc"),
];

#[cfg(target_os = "linux")]
pub use linux::{collect_thread, release, serving, stats, version};

#[cfg(target_os = "linux")]
mod linux {
    use alloc::ffi::CString;
    use alloc::format;
    use alloc::string::{String, ToString};
    use core::ffi::{CStr, c_char, c_int, c_void};
    use core::{mem, ptr};

    use super::SIGNATURES;
    use crate::Stats;
    use crate::owner::Object;

    /// The function of this name, if the object that serves this process's `malloc` defines it. The function of another
    /// object would report another heap.
    fn of_owner(name: &CStr) -> Option<*mut c_void> {
        // SAFETY: looks up a valid name in the global scope.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!address.is_null() && Object::that_defines(name)? == Object::that_defines(c"malloc")?)
            .then_some(address)
    }

    /// The name of the allocator that serves this process's `malloc`, if [`SIGNATURES`] contains it.
    pub fn serving() -> Option<&'static str> {
        let owns = |function: &str| CString::new(function).is_ok_and(|name| of_owner(&name).is_some());
        SIGNATURES.iter().find(|(function, _)| owns(function)).map(|(_, allocator)| *allocator)
    }

    /// jemalloc's `mallctl`, which reads and sets everything in jemalloc (jemalloc(3)).
    struct Mallctl(Function);

    type Function = unsafe extern "C" fn(*const c_char, *mut c_void, *mut usize, *mut c_void, usize) -> c_int;

    impl Mallctl {
        fn find() -> Option<Self> {
            let function = of_owner(c"mallctl")?;
            // SAFETY: jemalloc's mallctl has this type, and no other allocator has a function of this name.
            Some(Self(unsafe { mem::transmute::<*mut c_void, Function>(function) }))
        }

        /// # Safety
        /// `T` is the type of the key's value in jemalloc's documentation.
        unsafe fn read<T: Copy + Default>(&self, key: &CStr) -> Option<T> {
            let mut value = T::default();
            let mut size = size_of::<T>();
            // SAFETY: the value has room for `size` bytes. The caller guarantees the type. The call writes nothing to
            // jemalloc.
            let failed =
                unsafe { (self.0)(key.as_ptr(), (&raw mut value).cast(), &mut size, ptr::null_mut(), 0) };
            (failed == 0 && size == size_of::<T>()).then_some(value)
        }

        /// Reads a key of type `size_t`.
        fn bytes(&self, key: &CStr) -> Option<u64> {
            // SAFETY: the callers pass `stats.*`, which have this type.
            unsafe { self.read::<usize>(key) }.map(|bytes| bytes as u64)
        }

        /// Executes a key that has no argument and no result.
        fn command(&self, key: &CStr) -> bool {
            // SAFETY: a valid key, with null and 0 for the missing values.
            unsafe { (self.0)(key.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) == 0 }
        }

        /// Makes a new snapshot of the statistics.
        fn advance(&self) {
            let mut epoch = 1_u64;
            let size = size_of_val(&epoch);
            // SAFETY: "epoch" takes a `uint64_t`.
            unsafe {
                (self.0)(c"epoch".as_ptr(), ptr::null_mut(), ptr::null_mut(), (&raw mut epoch).cast(), size)
            };
        }
    }

    /// The statistics of the allocator that [`serving`] returns.
    pub fn stats() -> Stats {
        match serving() {
            Some("jemalloc") => Mallctl::find().map(of_jemalloc),
            Some("mimalloc") => of_mimalloc(),
            _ => None,
        }
        .unwrap_or_default()
    }

    fn of_jemalloc(mallctl: Mallctl) -> Stats {
        mallctl.advance();
        Stats {
            allocated: mallctl.bytes(c"stats.allocated"),
            active: mallctl.bytes(c"stats.active"),
            metadata: mallctl.bytes(c"stats.metadata"),
            resident: mallctl.bytes(c"stats.resident"),
            mapped: mallctl.bytes(c"stats.mapped"),
            retained: mallctl.bytes(c"stats.retained"),
        }
    }

    /// The same as for `crate::Mimalloc`: only the committed bytes.
    fn of_mimalloc() -> Option<Stats> {
        type Place = *mut usize;
        type ProcessInfo = unsafe extern "C" fn(Place, Place, Place, Place, Place, Place, Place, Place);
        let mut committed = 0;
        let none = ptr::null_mut();
        // SAFETY: mimalloc's mi_process_info has this type, and writes only to pointers that are not null.
        unsafe {
            let ask: ProcessInfo = mem::transmute(of_owner(c"mi_process_info")?);
            ask(none, none, none, none, none, &mut committed, none, none);
        }
        Some(Stats { mapped: Some(committed as u64), ..Stats::default() })
    }

    /// Makes the allocator that [`serving`] returns release free memory to the system. Returns whether this is possible.
    pub fn release() -> bool {
        match serving() {
            Some("jemalloc") => Mallctl::find().is_some_and(|mallctl| {
                mallctl.command(c"thread.tcache.flush");
                // 4096 is MALLCTL_ARENAS_ALL, since jemalloc 5.
                mallctl.command(c"arena.4096.purge")
            }),
            Some("mimalloc") => collect(true),
            _ => false,
        }
    }

    /// The same as [`RawAllocator::collect_thread`](crate::RawAllocator::collect_thread).
    pub fn collect_thread(purge: bool) {
        match serving() {
            Some("jemalloc") => {
                Mallctl::find().map(|mallctl| mallctl.command(c"thread.tcache.flush"));
            }
            Some("mimalloc") => {
                collect(purge);
            }
            _ => {}
        }
    }

    /// mimalloc's `mi_collect`.
    fn collect(force: bool) -> bool {
        let Some(function) = of_owner(c"mi_collect") else { return false };
        // SAFETY: mimalloc's mi_collect has this type, and may be called at any time.
        let collect: extern "C" fn(bool) = unsafe { mem::transmute(function) };
        collect(force);
        true
    }

    /// The version of the allocator that serves this process's `malloc`, if the allocator has a function for it.
    pub fn version(allocator: &str) -> Option<String> {
        match allocator {
            "jemalloc" => {
                #[derive(Clone, Copy)]
                #[repr(transparent)]
                struct Text(*const c_char);
                impl Default for Text {
                    fn default() -> Self {
                        Self(ptr::null())
                    }
                }
                // SAFETY: "version" returns a pointer to a static string.
                let text = unsafe {
                    let Text(text) = Mallctl::find()?.read(c"version")?;
                    CStr::from_ptr(text).to_str().ok()?
                };
                text.split('-').next().map(ToString::to_string)
            }
            "mimalloc" => {
                let function = of_owner(c"mi_version")?;
                // SAFETY: mimalloc's mi_version has this type.
                let version = unsafe { mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(function) }();
                // Before 2.1 and 1.8 the number had one digit for the minor version and one for the patch.
                match version {
                    10_000.. => {
                        Some(format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100))
                    }
                    _ => Some(format!("{}.{}.{}", version / 100, version / 10 % 10, version % 10)),
                }
            }
            "tcmalloc" => {
                type Version =
                    unsafe extern "C" fn(*mut c_int, *mut c_int, *mut *const c_char) -> *const c_char;
                let (mut major, mut minor, mut patch) = (0, 0, ptr::null());
                // SAFETY: gperftools' tc_version has this type and sets all three.
                unsafe {
                    let version: Version = mem::transmute(of_owner(c"tc_version")?);
                    version(&mut major, &mut minor, &mut patch);
                }
                Some(format!("{major}.{minor}"))
            }
            _ => None,
        }
    }
}
