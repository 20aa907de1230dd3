//! Standing in for a function that a C library in here calls of libc: the linker (`--wrap`) sends its `NAME` to
//! `__wrap_NAME`, and knows libc's as `__real_NAME`.

/// Puts a function where the linker looks for it. rustc would export one of that name, so it is an assembler's
/// label that jumps there.
#[macro_export]
macro_rules! wrap {
    ($label:literal, $function:path) => {
        core::arch::global_asm!(
            concat!(".pushsection .text.", $label, ", \"ax\""),
            concat!(".globl ", $label),
            concat!(".hidden ", $label),
            concat!($label, ":"),
            #[cfg(target_arch = "x86_64")]
            "jmp {function}",
            #[cfg(target_arch = "aarch64")]
            "b {function}",
            ".popsection",
            function = sym $function,
        );
    };
}
