//! System calls, made without the C library's functions.

use core::arch::asm;
use core::ffi::c_long;

use malloc_backend_preload::errno::set_errno;

/// Makes one, of up to six arguments. What it returns is its result, or an error as a negative number.
///
/// # Safety
/// As the system call has it. There may be more arguments than it takes.
#[inline(always)]
pub unsafe fn system_call(number: c_long, given: &[usize]) -> isize {
    let mut arguments = [0; 6];
    arguments[..given.len()].copy_from_slice(given);
    // SAFETY: the caller's obligation.
    unsafe { enter(number, arguments) }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn enter(number: c_long, arguments: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel keeps all registers but these two and that of the result; what it does to memory is the caller's.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn enter(number: c_long, arguments: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel keeps all registers but that of the result; what it does to memory is the caller's.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
            options(nostack),
        );
    }
    result
}

/// As C has it: an error is -1, and in `errno`.
pub fn in_c(result: isize) -> isize {
    match result {
        -4095..=-1 => {
            set_errno(-result as i32);
            -1
        }
        _ => result,
    }
}
