//! Link arguments that a `#[link]` attribute cannot say.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Without std nothing names the C library; before glibc 2.34 the last two were libraries of their own. The wrap is
    // explained in crates/preload/src/malloc_conf.rs.
    for argument in ["-lc", "-lpthread", "-ldl", "-Wl,--wrap=secure_getenv"] {
        println!("cargo:rustc-cdylib-link-arg={argument}");
    }
}
