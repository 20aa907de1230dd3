//! Every form of C++'s `operator new` and `operator delete`, as libstdc++ has them: on the process's `malloc` and `free`.
//!
//! Without them another allocator's might serve in their place, one that is preloaded too or that the program needs, and
//! its `delete` would be handed blocks of this library's `malloc`.
//!
//! What C++ says of a program that brings some of them itself ([new.delete]) holds: each form calls the form that it is
//! defined by through the loader's symbol, and finds the program's. In the same way they find the `malloc` of a
//! program that brings its own, as libstdc++'s do.
//!
//! What cannot be had is the C++ runtime's to tell: it is asked anew by its own function of the same name, which knows
//! the `new_handler`, throws `std::bad_alloc`, and for `nothrow` catches it. (A Rust function cannot stand between: no
//! exception may pass through one that is compiled to abort. So these are in assembler, and are left by a jump.)

use core::ffi::{CStr, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use malloc_backend::owner::{Object, definition_beside};
use malloc_backend_preload::report::write;

use crate::malloc_family::{aligned_alloc, free, malloc};

/// Whether the process uses all of this library's functions that these are defined by. Then each form allocates and frees
/// at once, as in the allocators' own libraries: a further jump or two cost a loop of `new[]` and `delete[]` a tenth.
static ALL_OWN: AtomicBool = AtomicBool::new(false);

/// A form that frees: at once, or by the function that it is defined by.
macro_rules! frees {
    ($($name:ident => $function:ident;)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "cmp byte ptr [rip + {all_own}], 0",
                "je 2f",
                "jmp {own_free}",
                "2:",
                "jmp qword ptr [rip + {function}@GOTPCREL]",
                all_own = sym ALL_OWN,
                own_free = sym own_free,
                function = sym $function,
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "adrp x16, {all_own}",
                "ldrb w16, [x16, :lo12:{all_own}]",
                "cbz w16, 2f",
                "b {own_free}",
                "2:",
                "b {function}",
                all_own = sym ALL_OWN,
                own_free = sym own_free,
                function = sym $function,
            );
        }
    )*};
}

/// A form that allocates: at once, or where that must not be or has nothing, by the form that it is defined by.
macro_rules! allocates {
    ($($name:ident => $form:ident;)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                ".cfi_startproc",
                "cmp byte ptr [rip + {all_own}], 0",
                "je 2f",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "call {own_malloc}",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "test rax, rax",
                "je 2f",
                "ret",
                "2:",
                "jmp qword ptr [rip + {form}@GOTPCREL]",
                ".cfi_endproc",
                all_own = sym ALL_OWN,
                own_malloc = sym own_malloc,
                form = sym $form,
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                ".cfi_startproc",
                "adrp x16, {all_own}",
                "ldrb w16, [x16, :lo12:{all_own}]",
                "cbz w16, 2f",
                "stp x30, x0, [sp, #-16]!",
                ".cfi_def_cfa_offset 16",
                ".cfi_offset 30, -16",
                "bl {own_malloc}",
                "mov x1, x0",
                "ldp x30, x0, [sp], #16",
                ".cfi_def_cfa_offset 0",
                ".cfi_restore 30",
                "cbz x1, 2f",
                "mov x0, x1",
                "ret",
                "2:",
                "b {form}",
                ".cfi_endproc",
                all_own = sym ALL_OWN,
                own_malloc = sym own_malloc,
                form = sym $form,
            );
        }
    )*};
}

/// A form that allocates by a function, and where that has nothing leaves it to the C++ runtime's own. Its arguments are
/// at most two.
macro_rules! asks {
    ($($form:literal: $symbol:literal $(#[$attribute:meta])? $name:ident => $function:ident;)*) => {
        const NAMES: [&CStr; [$($form),*].len()] = {
            let mut names = [c""; _];
            $(names[$form] = $symbol;)*
            names
        };
        $(
        #[cfg(target_arch = "x86_64")]
        #[unsafe(naked)]
        $(#[$attribute])?
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "push rdi",
                "push rsi",
                "push rax",
                ".cfi_adjust_cfa_offset 24",
                "call qword ptr [rip + {function}@GOTPCREL]",
                "test rax, rax",
                "je 2f",
                "add rsp, 24",
                ".cfi_adjust_cfa_offset -24",
                "ret",
                ".cfi_adjust_cfa_offset 24",
                "2:",
                "mov edi, {form}",
                "call {of_runtime}",
                "add rsp, 8",
                "pop rsi",
                "pop rdi",
                ".cfi_adjust_cfa_offset -24",
                "jmp rax",
                ".cfi_endproc",
                function = sym $function,
                form = const $form,
                of_runtime = sym of_runtime,
            )
        }

        #[cfg(target_arch = "aarch64")]
        #[unsafe(naked)]
        $(#[$attribute])?
        unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                "stp x29, x30, [sp, #-32]!",
                ".cfi_def_cfa_offset 32",
                ".cfi_offset 29, -32",
                ".cfi_offset 30, -24",
                "stp x0, x1, [sp, #16]",
                "bl {function}",
                "cbz x0, 2f",
                "ldp x29, x30, [sp], #32",
                "ret",
                "2:",
                "mov w0, #{form}",
                "bl {of_runtime}",
                "mov x16, x0",
                "ldp x0, x1, [sp, #16]",
                "ldp x29, x30, [sp], #32",
                "br x16",
                ".cfi_endproc",
                function = sym $function,
                form = const $form,
                of_runtime = sym of_runtime,
            )
        }
        )*
    };
}

asks! {
    0: c"_Znwm" plain => malloc;
    1: c"_ZnwmSt11align_val_t" #[unsafe(no_mangle)] _ZnwmSt11align_val_t => aligned;
    2: c"_ZnwmRKSt9nothrow_t" #[unsafe(no_mangle)] _ZnwmRKSt9nothrow_t => or_null;
    3: c"_ZnamRKSt9nothrow_t" #[unsafe(no_mangle)] _ZnamRKSt9nothrow_t => array_or_null;
    4: c"_ZnwmSt11align_val_tRKSt9nothrow_t" #[unsafe(no_mangle)] _ZnwmSt11align_val_tRKSt9nothrow_t => aligned_or_null;
    5: c"_ZnamSt11align_val_tRKSt9nothrow_t" #[unsafe(no_mangle)] _ZnamSt11align_val_tRKSt9nothrow_t => aligned_array_or_null;
}

/// The first of them that does not throw.
const NOTHROW: usize = 2;

allocates! {
    _Znwm => plain;
    _Znam => _Znwm;
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _ZnamSt11align_val_t() {
    core::arch::naked_asm!(
        #[cfg(target_arch = "x86_64")]
        "jmp qword ptr [rip + {form}@GOTPCREL]",
        #[cfg(target_arch = "aarch64")]
        "b {form}",
        form = sym _ZnwmSt11align_val_t,
    )
}

frees! {
    _ZdlPv => free;
    _ZdlPvm => _ZdlPv;
    _ZdlPvRKSt9nothrow_t => _ZdlPv;
    _ZdaPv => _ZdlPv;
    _ZdaPvm => _ZdaPv;
    _ZdaPvRKSt9nothrow_t => _ZdaPv;

    _ZdlPvSt11align_val_t => free;
    _ZdlPvmSt11align_val_t => _ZdlPvSt11align_val_t;
    _ZdlPvSt11align_val_tRKSt9nothrow_t => _ZdlPvSt11align_val_t;
    _ZdaPvSt11align_val_t => _ZdlPvSt11align_val_t;
    _ZdaPvmSt11align_val_t => _ZdaPvSt11align_val_t;
    _ZdaPvSt11align_val_tRKSt9nothrow_t => _ZdaPvSt11align_val_t;
}

/// The function that the process has under the name of one in here.
struct Used<F>(F);

impl<F: Copy> Used<F> {
    fn get(&self) -> F {
        // SAFETY: a reference. The loader has written what is there, which the compiler takes for the one in here.
        unsafe { ptr::read_volatile(&self.0) }
    }
}

type Form = unsafe extern "C" fn();

static MALLOC: Used<extern "C" fn(usize) -> *mut c_void> = Used(malloc);
static FREE: Used<unsafe extern "C" fn(*mut c_void)> = Used(free);
static ALIGNED_ALLOC: Used<extern "C" fn(usize, usize) -> *mut c_void> = Used(aligned_alloc);
/// The forms that others are defined by.
static FORMS: [Used<Form>; 8] = [
    Used(_Znwm),
    Used(_Znam),
    Used(_ZnwmSt11align_val_t),
    Used(_ZnamSt11align_val_t),
    Used(_ZdlPv),
    Used(_ZdaPv),
    Used(_ZdlPvSt11align_val_t),
    Used(_ZdaPvSt11align_val_t),
];

// The ones in here, whichever the process uses (build.rs).
unsafe extern "C" {
    fn own_malloc(size: usize) -> *mut c_void;
    fn own_free(block: *mut c_void);
    fn own__Znwm();
    fn own__Znam();
    fn own__ZnwmSt11align_val_t();
    fn own__ZnamSt11align_val_t();
    fn own__ZdlPv();
    fn own__ZdaPv();
    fn own__ZdlPvSt11align_val_t();
    fn own__ZdaPvSt11align_val_t();
}

/// Whether the process uses the form of [`FORMS`] in here: then what it does may be done without it.
fn is_own(form: usize) -> bool {
    let own: [Form; FORMS.len()] = [
        own__Znwm,
        own__Znam,
        own__ZnwmSt11align_val_t,
        own__ZnamSt11align_val_t,
        own__ZdlPv,
        own__ZdaPv,
        own__ZdlPvSt11align_val_t,
        own__ZdaPvSt11align_val_t,
    ];
    FORMS[form].get() as *const () == own[form] as *const ()
}

/// Looks at what the loader has bound: a program that has forms of its own has them from here on.
pub fn prepare() {
    let functions = MALLOC.get() as *const () == own_malloc as *const ()
        && FREE.get() as *const () == own_free as *const ();
    ALL_OWN.store(functions && (0..FORMS.len()).all(is_own), Ordering::Relaxed);
}

extern "C" fn or_null(size: usize) -> *mut c_void {
    if is_own(0) { MALLOC.get()(size) } else { ptr::null_mut() }
}

extern "C" fn array_or_null(size: usize) -> *mut c_void {
    if is_own(1) { or_null(size) } else { ptr::null_mut() }
}

/// C's function wants a multiple of the alignment.
extern "C" fn aligned(size: usize, alignment: usize) -> *mut c_void {
    match size.max(1).checked_add(alignment.wrapping_sub(1)) {
        Some(size) if alignment.is_power_of_two() => ALIGNED_ALLOC.get()(alignment, size & !(alignment - 1)),
        _ => ptr::null_mut(),
    }
}

extern "C" fn aligned_or_null(size: usize, alignment: usize) -> *mut c_void {
    if is_own(2) { aligned(size, alignment) } else { ptr::null_mut() }
}

extern "C" fn aligned_array_or_null(size: usize, alignment: usize) -> *mut c_void {
    if is_own(3) { aligned_or_null(size, alignment) } else { ptr::null_mut() }
}

/// The C++ runtime's function of that form. It calls the process's `malloc` itself, and so asks once more.
extern "C" fn of_runtime(form: usize) -> *const c_void {
    static FOUND: [AtomicPtr<c_void>; NAMES.len()] = [const { AtomicPtr::new(ptr::null_mut()) }; _];
    let found = FOUND[form].load(Ordering::Acquire);
    if !found.is_null() {
        return found;
    }
    match runtime_s(NAMES[form]) {
        Some(function) => {
            FOUND[form].store(function.cast_mut(), Ordering::Release);
            function
        }
        None if form >= NOTHROW => nothing as *const c_void,
        None => cannot_throw as *const c_void,
    }
}

/// The runtime is the library that knows the `new_handler`. Mostly every library sees it, and is found without a block
/// being asked for, of which there may be none left; what loads a library for itself alone (Python, an extension module
/// in C++) shows its runtime to nobody else.
fn runtime_s(name: &CStr) -> Option<*const c_void> {
    const BESIDE: &CStr = c"_ZSt15get_new_handlerv";
    // SAFETY: a C string, looked up behind this library.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }.cast_const();
    let is_runtime_s = !next.is_null() && Object::of(next) == Object::that_defines(BESIDE);
    if is_runtime_s { Some(next) } else { definition_beside(name, BESIDE) }
}

extern "C" fn nothing() -> *mut c_void {
    ptr::null_mut()
}

/// There is nobody who could catch it.
extern "C" fn cannot_throw() -> ! {
    write(
        libc::STDERR_FILENO,
        b"malloc-backend: operator new: there is no memory left, and no C++ library to tell\n",
    );
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}
