//! Link arguments that a `#[link]` attribute cannot say.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Without std nothing names the C library; before glibc 2.34 the last two were libraries of their own. The wraps are
    // explained in crates/preload.
    let wraps = "-Wl,--wrap=secure_getenv,--wrap=readlink,--wrap=pthread_key_create";
    for argument in ["-lc", "-lpthread", "-ldl", wraps] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    for function in ["background_thread_create", "pa_dalloc", "arena_reset"] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=_rjem_je_{function}");
    }
}
