//! Allocators that others preload or link, told apart by a function that only the one exports.

/// The functions by which an allocator is known, most telling first, and the allocator's name.
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

/// The version of the allocator of that name that owns this process's `malloc`, where it can be asked.
#[cfg(target_os = "linux")]
pub fn version(allocator: &str) -> Option<alloc::string::String> {
    use alloc::format;
    use alloc::string::ToString;
    use core::ffi::{CStr, c_char, c_int, c_void};
    use core::{mem, ptr};

    fn symbol(name: &CStr) -> Option<*mut c_void> {
        // SAFETY: a valid name, looked up in the global scope.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!address.is_null()).then_some(address)
    }

    match allocator {
        "jemalloc" => {
            type Mallctl =
                unsafe extern "C" fn(*const c_char, *mut c_void, *mut usize, *mut c_void, usize) -> c_int;
            let mut version: *const c_char = ptr::null();
            let mut size = size_of_val(&version);
            // SAFETY: jemalloc's mallctl has this type; "version" gives a static string.
            let text = unsafe {
                let mallctl: Mallctl = mem::transmute(symbol(c"mallctl")?);
                let place = (&raw mut version).cast();
                if mallctl(c"version".as_ptr(), place, &mut size, ptr::null_mut(), 0) != 0 {
                    return None;
                }
                CStr::from_ptr(version).to_str().ok()?
            };
            text.split('-').next().map(ToString::to_string)
        }
        "mimalloc" => {
            // SAFETY: mimalloc's mi_version has this type.
            let version =
                unsafe { mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(symbol(c"mi_version")?) }();
            // Before 2.1 and 1.8 the number had one digit for the minor version and one for the patch.
            match version {
                10_000.. => Some(format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100)),
                _ => Some(format!("{}.{}.{}", version / 100, version / 10 % 10, version % 10)),
            }
        }
        "tcmalloc" => {
            type Version = unsafe extern "C" fn(*mut c_int, *mut c_int, *mut *const c_char) -> *const c_char;
            let (mut major, mut minor, mut patch) = (0, 0, ptr::null());
            // SAFETY: gperftools' tc_version has this type and fills all three in.
            unsafe {
                let version: Version = mem::transmute(symbol(c"tc_version")?);
                version(&mut major, &mut minor, &mut patch);
            }
            Some(format!("{major}.{minor}"))
        }
        _ => None,
    }
}
