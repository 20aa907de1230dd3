//! What a library without std must bring itself.

use core::alloc::{GlobalAlloc, Layout};
use core::marker::PhantomData;

use malloc_backend::RawAllocator;

/// Rust's global allocator, for the few strings at start-up: the allocator `A`. Of a `malloc` that is not ours it asks
/// as little as can be, because that one's constructors may not have run yet.
pub struct Global<A>(PhantomData<A>);

impl<A> Global<A> {
    /// For `#[global_allocator]`.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

// SAFETY: there is nothing in it.
unsafe impl<A> Sync for Global<A> {}

// SAFETY: blocks come from the allocator, whose contract covers size and alignment.
unsafe impl<A: RawAllocator> GlobalAlloc for Global<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        A::aligned_alloc(layout.align(), layout.size()).cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block came from `alloc`.
        unsafe { A::free(block.cast()) }
    }
}

/// No panic crosses a C boundary: the process ends.
#[cfg(not(debug_assertions))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
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
