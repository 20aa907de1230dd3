//! Link arguments that a `#[link]` attribute cannot say.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Without std nothing names the C library; before glibc 2.34 the last two were libraries of their own.
    for library in ["-lc", "-lpthread", "-ldl"] {
        println!("cargo:rustc-cdylib-link-arg={library}");
    }
    // See src/wrap.rs and crates/preload, and for jemalloc's own function src/size_classes.rs.
    let feature = |name: &str| std::env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
    if feature("JEMALLOC") {
        println!(
            "cargo:rustc-cdylib-link-arg=-Wl,--wrap=secure_getenv,--wrap=readlink,--wrap=_rjem_je_sz_boot"
        );
    }
    if feature("MIMALLOC") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=pthread_key_create");
    }
    if ["JEMALLOC", "MIMALLOC", "SNMALLOC"].into_iter().any(feature) {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=madvise,--wrap=munmap");
    }
}
