//! What a library without std must bring itself.

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use malloc_backend::RawAllocator;

use crate::Backend;

/// For the few strings at start-up: the backend itself.
struct Own;

// SAFETY: blocks come from the backend, whose contract covers size and alignment.
unsafe impl GlobalAlloc for Own {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Backend::aligned_alloc(layout.align(), layout.size()).cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block came from `alloc`.
        unsafe { Backend::free(block.cast()) }
    }
}

#[global_allocator]
static OWN: Own = Own;

/// No panic crosses a C boundary: the process ends.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}

// The crates under this one were compiled to unwind, and name two functions of the unwinder that are never
// called, since a panic ends in `panic` above. They are not Rust functions, because rustc would export those, and
// a program that loads Rust's std as a shared library would find these first.
core::arch::global_asm!(
    ".pushsection .text.unwind, \"ax\"",
    ".globl rust_eh_personality, _Unwind_Resume",
    ".hidden rust_eh_personality, _Unwind_Resume",
    "rust_eh_personality:",
    "_Unwind_Resume:",
    #[cfg(target_arch = "x86_64")]
    "ud2",
    #[cfg(target_arch = "aarch64")]
    "udf #0",
    ".popsection",
);
