//! The functions that stand in for `malloc` and its family while a heap profile runs (`hooks.c`).
//!
//! They are a library of their own, which the addon opens for its first profile, because of thread-local storage. The first
//! access of a thread to the addon's own storage allocates memory, so a hook would call itself for ever. The storage of this
//! library is so small that it is a part of each thread from its start (the initial-exec model), which is also the fastest.

// As crates/python-hook: `cargo check` and editors build all crates together, and some of them use std.
#![cfg_attr(not(debug_assertions), no_std)]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use core::ffi::c_void;

unsafe extern "C" {
    fn hooks_of(functions: *const c_void) -> *const c_void;
    fn domain_of(functions: *const c_void) -> *const c_void;
}

/// Gives the hooks the functions of the profiler, and returns the table of the hooks. Both types are in `hooks.c` and in
/// `crates/profile/src/hooks.rs`.
///
/// # Safety
/// The functions are those of that type, and stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_backend_profile_hooks(functions: *const c_void) -> *const c_void {
    // SAFETY: the caller's obligation.
    unsafe { hooks_of(functions) }
}

/// The same for CPython's domains: gives them the functions of the profiler, and returns the table for a domain. Both types are in
/// `domains.c` and in `crates/profile/src/python/domains.rs`.
///
/// # Safety
/// The functions are those of that type, and stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_backend_profile_domain(functions: *const c_void) -> *const c_void {
    // SAFETY: the caller's obligation.
    unsafe { domain_of(functions) }
}

/// Nothing here panics.
#[cfg(not(debug_assertions))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
