//! Link arguments that a `#[link]` attribute cannot say.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Without std nothing names the C library; before glibc 2.34 the last two were libraries of their own.
    for library in ["-lc", "-lpthread", "-ldl"] {
        println!("cargo:rustc-cdylib-link-arg={library}");
    }
    if std::env::var_os("CARGO_FEATURE_JEMALLOC").is_some() {
        // See src/jemalloc.rs.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=secure_getenv");
    }
}
