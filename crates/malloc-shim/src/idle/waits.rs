//! libc's functions in which a program waits. Where one is called, the program may be about to do nothing for long: a
//! process of one thread has no better time to start another. A program that makes threads starts ours then.
//!
//! Each of them jumps to libc's own: the arguments stay where they are, and a cancellation finds no frame in between. On
//! the way it looks at one byte, which says whether somebody wants to know.

use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use core::{mem, ptr};

use malloc_backend_preload::errno::{errno, set_errno};

/// Whether [`called`] is to be called; at first it is, because libc's own functions are not looked up yet.
static WATCHED: AtomicBool = AtomicBool::new(true);

macro_rules! waits {
    ($($name:ident)*) => {
        /// The names, and libc's functions once they are looked up.
        static OWN: [(&CStr, AtomicPtr<c_void>); [$(stringify!($name)),*].len()] = [$((
            // SAFETY: a name without a zero, and one behind it.
            unsafe { CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            AtomicPtr::new(ptr::null_mut()),
        )),*];

        /// The places of the names in [`OWN`].
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum At { $($name),* }

        $(
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name() {
                #[cfg(target_arch = "x86_64")]
                core::arch::naked_asm!(
                    ".cfi_startproc",
                    "cmp byte ptr [rip + {watched}], 0",
                    "je 2f",
                    "push rdi",
                    ".cfi_adjust_cfa_offset 8",
                    "push rsi",
                    ".cfi_adjust_cfa_offset 8",
                    "push rdx",
                    ".cfi_adjust_cfa_offset 8",
                    "push rcx",
                    ".cfi_adjust_cfa_offset 8",
                    "push r8",
                    ".cfi_adjust_cfa_offset 8",
                    "push r9",
                    ".cfi_adjust_cfa_offset 8",
                    "sub rsp, 8",
                    ".cfi_adjust_cfa_offset 8",
                    "call {called}",
                    "add rsp, 8",
                    ".cfi_adjust_cfa_offset -8",
                    "pop r9",
                    ".cfi_adjust_cfa_offset -8",
                    "pop r8",
                    ".cfi_adjust_cfa_offset -8",
                    "pop rcx",
                    ".cfi_adjust_cfa_offset -8",
                    "pop rdx",
                    ".cfi_adjust_cfa_offset -8",
                    "pop rsi",
                    ".cfi_adjust_cfa_offset -8",
                    "pop rdi",
                    ".cfi_adjust_cfa_offset -8",
                    "2:",
                    "jmp qword ptr [rip + {own} + {at}]",
                    ".cfi_endproc",
                    watched = sym WATCHED,
                    called = sym called,
                    own = sym OWN,
                    at = const At::$name as usize * ENTRY + ADDRESS,
                );
                #[cfg(target_arch = "aarch64")]
                core::arch::naked_asm!(
                    ".cfi_startproc",
                    "adrp x16, {watched}",
                    "ldrb w16, [x16, :lo12:{watched}]",
                    "cbz w16, 2f",
                    "stp x29, x30, [sp, -64]!",
                    ".cfi_def_cfa_offset 64",
                    ".cfi_offset x29, -64",
                    ".cfi_offset x30, -56",
                    "stp x0, x1, [sp, 16]",
                    "stp x2, x3, [sp, 32]",
                    "stp x4, x5, [sp, 48]",
                    "bl {called}",
                    "ldp x0, x1, [sp, 16]",
                    "ldp x2, x3, [sp, 32]",
                    "ldp x4, x5, [sp, 48]",
                    "ldp x29, x30, [sp], 64",
                    ".cfi_def_cfa_offset 0",
                    ".cfi_restore x29",
                    ".cfi_restore x30",
                    "2:",
                    "adrp x16, {own} + {at}",
                    "add x16, x16, :lo12:{own} + {at}",
                    "ldr x16, [x16]",
                    "br x16",
                    ".cfi_endproc",
                    watched = sym WATCHED,
                    called = sym called,
                    own = sym OWN,
                    at = const At::$name as usize * ENTRY + ADDRESS,
                );
            }
        )*
    };
}

const ENTRY: usize = size_of::<(&CStr, AtomicPtr<c_void>)>();
const ADDRESS: usize = mem::offset_of!((&CStr, AtomicPtr<c_void>), 1);

#[cfg(target_env = "gnu")]
waits! {
    nanosleep clock_nanosleep sleep usleep
    poll __poll_chk ppoll __ppoll_chk select pselect epoll_wait epoll_pwait
    read __read_chk recv __recv_chk recvfrom __recvfrom_chk recvmsg accept accept4
    pause sigsuspend sigwait sigwaitinfo sigtimedwait
    wait waitpid wait3 wait4 waitid
    sem_wait sem_timedwait sem_clockwait
}
#[cfg(not(target_env = "gnu"))]
waits! {
    nanosleep clock_nanosleep sleep usleep
    poll ppoll select pselect epoll_wait epoll_pwait
    read recv recvfrom recvmsg accept accept4
    pause sigsuspend sigwait sigwaitinfo sigtimedwait
    wait waitpid wait3 wait4 waitid
    sem_wait sem_timedwait
}

/// What is to be called: a `fn()`.
static CALLS: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Looks libc's functions up, in the library's constructor: later the first call would, in a signal handler perhaps.
pub fn prepare() {
    look_up();
    watch(false);
}

/// Says what to call where the program waits, as long as that is watched.
pub fn call(function: fn()) {
    CALLS.store(function as *mut c_void, Ordering::Release);
}

/// Whether it is to be called.
pub fn watch(watched: bool) {
    WATCHED.store(watched, Ordering::Relaxed);
}

/// Looks libc's functions up.
fn look_up() {
    /// In place of a function that this libc does not have.
    extern "C" fn missing() -> c_int {
        set_errno(libc::ENOSYS);
        -1
    }
    for (name, own) in &OWN {
        // SAFETY: a C string.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        #[cfg(feature = "mimalloc")]
        let found = super::event_loop::in_front_of(name, found);
        own.store(if found.is_null() { missing as *mut c_void } else { found }, Ordering::Relaxed);
    }
}

extern "C" fn called() {
    let error = errno();
    let function = CALLS.load(Ordering::Acquire);
    if function.is_null() {
        // Another library's constructor is before this one's.
        look_up();
        watch(false);
    } else {
        // SAFETY: `call` has put a function there.
        unsafe { mem::transmute::<*mut c_void, fn()>(function)() }
    }
    set_errno(error);
}
