//! What the allocators and this library call of libc and get from here instead (build.rs, `--wrap`): functions that are
//! system calls.
//!
//! Other preloaded libraries stand in for such functions too: fakechroot, torsocks, uid_wrapper, libfaketime. They prepare
//! themselves when the first of theirs is called, and ask for memory then. Called by an allocator that is itself preparing,
//! they would wait for it and it for them. So it calls none of them, and nor does the little that runs before `main`.

use core::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};
use core::{mem, ptr};

use malloc_backend::owner::Object;
use malloc_backend_preload::wrap;

use crate::given_back::system_call_without_errno;
use crate::system_calls::{in_c, system_call};

/// Defines functions, each by a system call and its arguments.
macro_rules! system_calls {
    ($($label:literal fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty = $number:ident($($value:expr),*);)*) => {$(
        unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            // SAFETY: the caller's obligations are those of libc's function.
            in_c(unsafe { system_call(libc::$number, &[$($value as usize),*]) }) as $result
        }

        wrap!($label, $name);
    )*};
}

system_calls! {
    "__wrap_close" fn close(fd: c_int) -> c_int = SYS_close(fd);
    "__wrap_fsync" fn fsync(fd: c_int) -> c_int = SYS_fsync(fd);
    "__wrap_getpid" fn getpid() -> c_int = SYS_getpid();
    "__wrap_getrusage" fn getrusage(who: c_int, usage: *mut c_void) -> c_int = SYS_getrusage(who, usage);
    "__wrap_getsockopt" fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, size: *mut c_uint) -> c_int
        = SYS_getsockopt(fd, level, name, value, size);
    "__wrap_gettimeofday" fn gettimeofday(time: *mut c_void, zone: *mut c_void) -> c_int = SYS_gettimeofday(time, zone);
    "__wrap_mprotect" fn mprotect(address: *mut c_void, length: usize, protection: c_int) -> c_int
        = SYS_mprotect(address, length, protection);
    "__wrap_open" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int
        = SYS_openat(libc::AT_FDCWD, path, flags, mode);
    "__wrap_prctl" fn prctl(option: c_int, a: usize, b: usize, c: usize, d: usize) -> c_int = SYS_prctl(option, a, b, c, d);
    "__wrap_read" fn read(fd: c_int, buffer: *mut c_void, size: usize) -> isize = SYS_read(fd, buffer, size);
    "__wrap_sched_setaffinity" fn sched_setaffinity(pid: c_int, size: usize, set: *const c_void) -> c_int
        = SYS_sched_setaffinity(pid, size, set);
    "__wrap_sched_yield" fn sched_yield() -> c_int = SYS_sched_yield();
    "__wrap_stat" fn stat(path: *const c_char, status: *mut c_void) -> c_int
        = SYS_newfstatat(libc::AT_FDCWD, path, status, 0);
    "__wrap_fstat" fn fstat(fd: c_int, status: *mut c_void) -> c_int = SYS_fstat(fd, status);
    "__wrap_sysinfo" fn sysinfo(info: *mut c_void) -> c_int = SYS_sysinfo(info);
    "__wrap_write" fn write(fd: c_int, buffer: *const c_void, size: usize) -> isize = SYS_write(fd, buffer, size);
    "__wrap_writev" fn writev(fd: c_int, parts: *const c_void, count: c_int) -> isize = SYS_writev(fd, parts, count);
}

unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    let given = [address as usize, length, protection as usize, flags as usize, fd as usize, offset as usize];
    // SAFETY: the caller's obligations are those of libc's function.
    let memory = in_c(unsafe { system_call(libc::SYS_mmap, &given) });
    #[cfg(feature = "mimalloc")]
    if memory != -1 && protection == libc::PROT_NONE {
        crate::idle::mimalloc::reserve(memory as usize, length);
    }
    memory as *mut c_void
}

wrap!("__wrap_mmap", mmap);

/// It takes as many arguments as the system call has. Those behind them are whatever the registers hold.
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    // SAFETY: the caller's obligations are those of libc's function.
    in_c(unsafe { system_call(number, &[a, b, c, d, e, f]) }) as c_long
}

wrap!("__wrap_syscall", syscall);

/// The kernel fills in as much of the set as it has processors.
unsafe extern "C" fn sched_getaffinity(pid: c_int, size: usize, set: *mut c_void) -> c_int {
    // SAFETY: the caller gives a place of that size.
    let result = unsafe {
        set.write_bytes(0, size);
        system_call(libc::SYS_sched_getaffinity, &[pid as usize, size, set as usize])
    };
    in_c(result.min(0)) as c_int
}

wrap!("__wrap_sched_getaffinity", sched_getaffinity);

unsafe extern "C" fn munmap(address: *mut c_void, length: usize) -> c_int {
    #[cfg(feature = "mimalloc")]
    crate::idle::mimalloc::forget(address as usize, length);
    // SAFETY: the caller's obligations are those of libc's function.
    unsafe { system_call_without_errno(libc::SYS_munmap, &[address as usize, length]) }
}

wrap!("__wrap_munmap", munmap);

/// mimalloc takes a result that is not 0 for a reason to read `errno`, and would now read the caller's, as long as it
/// is EAGAIN. What it did after an error is done here instead: it tried the older advice, and otherwise went on.
unsafe extern "C" fn madvise(address: *mut c_void, length: usize, advice: c_int) -> c_int {
    // SAFETY: the caller's obligations are those of libc's function.
    let advise = |advice: c_int| unsafe {
        system_call_without_errno(libc::SYS_madvise, &[address as usize, length, advice as usize])
    };
    let result = advise(advice);
    if cfg!(not(feature = "mimalloc")) {
        return result;
    }
    if result != 0 && advice == libc::MADV_FREE {
        advise(libc::MADV_DONTNEED);
    }
    0
}

wrap!("__wrap_madvise", madvise);

/// A function of libc's own, once it is known.
struct Own(AtomicPtr<c_void>);

impl Own {
    const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Looks for it. In a constructor all libraries are in place.
    fn find(&self, libc: Object, name: &CStr) {
        self.0.store(libc.function(name).unwrap_or(ptr::null()).cast_mut(), Ordering::Relaxed);
    }

    /// # Safety
    /// `Function` is the type of the function.
    unsafe fn get<Function>(&self) -> Option<Function> {
        let function = self.0.load(Ordering::Relaxed);
        // SAFETY: the caller's word; libc is not unloaded.
        (!function.is_null()).then(|| unsafe { mem::transmute_copy(&function) })
    }
}

/// Finds libc's own functions, for what is better not done by a system call.
pub fn find_own() {
    let Some(libc) = Object::that_defines(c"__libc_start_main") else { return };
    CLOCK_GETTIME.find(libc, c"clock_gettime");
    #[cfg(feature = "jemalloc")]
    conditions::TIMEDWAIT.find(libc, c"pthread_cond_timedwait");
}

/// It asks the kernel's own page, in a fraction of the time.
static CLOCK_GETTIME: Own = Own::new();

unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut libc::timespec) -> c_int {
    type Function = unsafe extern "C" fn(c_int, *mut libc::timespec) -> c_int;
    // SAFETY: the type is that function's, and the caller's obligations as well.
    unsafe {
        match CLOCK_GETTIME.get::<Function>() {
            Some(own) => own(clock, time),
            None => in_c(system_call(libc::SYS_clock_gettime, &[clock as usize, time as usize])) as c_int,
        }
    }
}

wrap!("__wrap_clock_gettime", clock_gettime);

/// What jemalloc's background threads wait by. libfaketime has functions of these names, and another idea of the time.
#[cfg(feature = "jemalloc")]
mod conditions {
    use super::{Own, c_int, c_void, wrap};

    /// For no attributes, as jemalloc has it, that is `PTHREAD_COND_INITIALIZER` in glibc and in musl: zeros.
    unsafe extern "C" fn init(condition: *mut libc::pthread_cond_t, _attributes: *const c_void) -> c_int {
        // SAFETY: the caller gives a place for it.
        unsafe { condition.write_bytes(0, 1) };
        0
    }

    wrap!("__wrap_pthread_cond_init", init);

    type TimedWait = unsafe extern "C" fn(*mut c_void, *mut c_void, *const libc::timespec) -> c_int;

    unsafe extern "C" {
        fn __real_pthread_cond_timedwait(
            condition: *mut c_void,
            mutex: *mut c_void,
            until: *const libc::timespec,
        ) -> c_int;
    }

    pub static TIMEDWAIT: Own = Own::new();

    unsafe extern "C" fn timedwait(
        condition: *mut c_void,
        mutex: *mut c_void,
        until: *const libc::timespec,
    ) -> c_int {
        // SAFETY: the type is that function's, and the caller's obligations as well.
        unsafe {
            TIMEDWAIT.get::<TimedWait>().unwrap_or(__real_pthread_cond_timedwait)(condition, mutex, until)
        }
    }

    wrap!("__wrap_pthread_cond_timedwait", timedwait);
}
