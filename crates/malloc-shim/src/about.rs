//! glibc's functions about `malloc`, answered with what the backend knows: programs read `mallinfo2`, and call `malloc_trim`
//! where they have freed much.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use core::ffi::c_int;
use core::sync::atomic::Ordering;

use malloc_backend::{MallInfo2, RawAllocator, Stats};
use malloc_backend_preload::report::write;

use crate::backend::Backend;
use crate::given_back::GIVEN_BACK;

/// Gives free memory back to the system, as the backend does (malloc_trim(3)): 1 where some went back, else 0. None of
/// them can keep so many bytes.
#[unsafe(no_mangle)]
extern "C" fn malloc_trim(_keep: usize) -> c_int {
    let state = || (GIVEN_BACK.load(Ordering::Relaxed), Backend::stats().resident);
    let (before, resident_before) = state();
    if Backend::release().is_err() {
        return 0;
    }
    let (after, resident_after) = state();
    // (Where memory must not be overcommitted jemalloc gives it back in another way than the one that is counted.)
    c_int::from(after != before || resident_after < resident_before)
}

/// See [`MallInfo2`].
#[unsafe(no_mangle)]
extern "C" fn mallinfo2() -> MallInfo2 {
    Backend::stats().into()
}

/// [`MallInfo2`] of `int`.
#[repr(C)]
struct MallInfo {
    arena: c_int,
    ordblks: c_int,
    smblks: c_int,
    hblks: c_int,
    hblkhd: c_int,
    usmblks: c_int,
    fsmblks: c_int,
    uordblks: c_int,
    fordblks: c_int,
    keepcost: c_int,
}

/// `mallinfo2` for old programs. What is more than an `int` is its largest, where glibc wraps.
#[unsafe(no_mangle)]
extern "C" fn mallinfo() -> MallInfo {
    let int = |bytes: usize| c_int::try_from(bytes).unwrap_or(c_int::MAX);
    let all = mallinfo2();
    MallInfo {
        arena: int(all.arena),
        ordblks: int(all.ordblks),
        smblks: int(all.smblks),
        hblks: int(all.hblks),
        hblkhd: int(all.hblkhd),
        usmblks: int(all.usmblks),
        fsmblks: int(all.fsmblks),
        uordblks: int(all.uordblks),
        fordblks: int(all.fordblks),
        keepcost: int(all.keepcost),
    }
}

/// glibc's parameters are none of the backends', whose options are set before they start: 0, for nothing was changed.
#[unsafe(no_mangle)]
extern "C" fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
    0
}

/// The backend's figures in XML (malloc_info(3)). `options` must be 0.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 {
        return libc::EINVAL;
    }
    let MallInfo2 { arena, uordblks, fordblks, .. } = mallinfo2();
    let figures = figures(|name, bytes| format!("<{name} size=\"{bytes}\"/>\n"));
    let text = format!(
        "<malloc version=\"1\">\n<backend name=\"{}\" version=\"{}\"/>\n<total type=\"used\" size=\"{uordblks}\"/>\n\
         <total type=\"rest\" size=\"{fordblks}\"/>\n<system type=\"current\" size=\"{arena}\"/>\n{figures}</malloc>\n",
        Backend::BACKEND,
        Backend::version().unwrap_or_default(),
    );
    let Ok(text) = CString::new(text) else { return 0 };
    // SAFETY: a C string, and the caller's stream.
    unsafe { libc::fputs(text.as_ptr(), stream) };
    0
}

/// The backend's figures on standard error (malloc_stats(3)).
#[unsafe(no_mangle)]
extern "C" fn malloc_stats() {
    let figures = figures(|name, bytes| format!("{name:<9} = {bytes:>16}\n"));
    let (name, version) = (Backend::BACKEND, Backend::version().unwrap_or_default());
    write(libc::STDERR_FILENO, format!("{name} {version}, bytes:\n{figures}").as_bytes());
}

/// Each figure that the backend has, written down.
fn figures(one: impl Fn(&str, u64) -> String) -> String {
    let Stats { allocated, active, metadata, resident, mapped, retained } = Backend::stats();
    let all = [
        ("allocated", allocated),
        ("active", active),
        ("metadata", metadata),
        ("resident", resident),
        ("mapped", mapped),
        ("retained", retained),
    ];
    all.into_iter().filter_map(|(name, bytes)| Some(one(name, bytes?))).collect()
}
