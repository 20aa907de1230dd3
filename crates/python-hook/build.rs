//! Link arguments that a `#[link]` attribute cannot express.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Without std, nothing else links the C library. Before glibc 2.34, pthread and dl were separate libraries.
    // crates/preload explains the wraps.
    let wraps = "-Wl,--wrap=secure_getenv,--wrap=readlink,--wrap=pthread_key_create";
    for argument in ["-lc", "-lpthread", "-ldl", wraps] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
    for function in ["background_thread_create", "pa_dalloc", "arena_reset"] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=_rjem_je_{function}");
    }
}
