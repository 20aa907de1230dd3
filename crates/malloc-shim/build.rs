//! Link arguments that a `#[link]` attribute cannot say.

use std::env;
use std::path::Path;

/// What src/wrap.rs has. test/foreign.test.ts sees that nothing is called that is a system call and not in here.
const SYSTEM_CALLS: [&str; 23] = [
    "clock_gettime",
    "close",
    "fstat",
    "fsync",
    "getpid",
    "getrusage",
    "getsockopt",
    "gettimeofday",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "open",
    "prctl",
    "read",
    "sched_getaffinity",
    "sched_setaffinity",
    "sched_yield",
    "stat",
    "syscall",
    "sysinfo",
    "write",
    "writev",
];

/// The allocator's own functions, which are to be the library's (src/malloc_family.rs): one that jumps to them, or that
/// is before them to look at the size, costs a loop of `malloc` and `free` a tenth and more.
const OWN: [(&str, [(&str, &str); 3]); 3] = [
    ("JEMALLOC", [("malloc", "_rjem_malloc"), ("calloc", "_rjem_calloc"), ("free", "_rjem_free")]),
    (
        "MIMALLOC",
        [("malloc", "malloc_backend_mi_malloc"), ("calloc", "malloc_backend_mi_calloc"), ("free", "mi_free")],
    ),
    ("SNMALLOC", [("malloc", "sn_malloc"), ("calloc", "sn_calloc"), ("free", "sn_free")]),
];

/// The forms of C++'s operators that others are defined by (src/operators.rs).
const FORMS: [&str; 8] = [
    "_Znwm",
    "_Znam",
    "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t",
    "_ZdlPv",
    "_ZdaPv",
    "_ZdlPvSt11align_val_t",
    "_ZdaPvSt11align_val_t",
];

/// The wrapped functions whose stand-ins are in crates/preload. The others are in this crate, which is linked whole.
const IN_PRELOAD: [&str; 6] = [
    "_rjem_je_arena_reset",
    "_rjem_je_background_thread_create",
    "_rjem_je_pa_dalloc",
    "pthread_key_create",
    "readlink",
    "secure_getenv",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(idle_release)");
    // Without std nothing names the C library; before glibc 2.34 the last two were libraries of their own.
    for library in ["-lc", "-lpthread", "-ldl"] {
        println!("cargo:rustc-cdylib-link-arg={library}");
    }
    // See src/wrap.rs and crates/preload, and for jemalloc's own function src/size_classes.rs.
    let feature = |name: &str| env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
    // src/idle: for mimalloc, and beside glibc's malloc. jemalloc has threads of its own; snmalloc and musl have no way to
    // give back what they keep.
    let is_glibc = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu");
    let has_backend = ["JEMALLOC", "MIMALLOC", "SNMALLOC"].into_iter().any(feature);
    if feature("MIMALLOC") || is_glibc && !has_backend {
        println!("cargo:rustc-cfg=idle_release");
    }
    // See crates/preload/src/background_threads.rs, and for pthread_atfork src/fork.rs.
    let of_jemalloc = [
        "_rjem_je_arena_reset",
        "_rjem_je_background_thread_create",
        "_rjem_je_pa_dalloc",
        "_rjem_je_sz_boot",
        "pthread_atfork",
        "pthread_cond_init",
        "pthread_cond_timedwait",
        "readlink",
        "secure_getenv",
    ];
    let others: &[&str] = match (feature("JEMALLOC"), feature("MIMALLOC"), feature("SNMALLOC")) {
        (true, ..) => &of_jemalloc,
        (_, true, _) => &["pthread_key_create"],
        (.., true) => &["pthread_atfork"],
        _ => &[],
    };
    for function in SYSTEM_CALLS.iter().chain(others) {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap={function}");
    }
    // The allocator alone asks for these, and without link-time optimisation the linker has read the archive of crates/preload
    // by then: it would leave them undefined.
    for function in others.iter().filter(|name| IN_PRELOAD.contains(name)) {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--undefined=__wrap_{function}");
    }
    if has_backend {
        // See src/operators.rs.
        for name in FORMS {
            println!("cargo:rustc-cdylib-link-arg=-Wl,--defsym=own_{name}={name}");
        }
    }
    if feature("MIMALLOC") {
        compile_mimalloc_s();
    }
    for (name, function) in OWN.into_iter().filter(|(name, _)| feature(name)).flat_map(|(_, all)| all) {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--defsym={name}={function}");
        println!("cargo:rustc-cdylib-link-arg=-Wl,--defsym=own_{name}={function}");
    }
}

/// src/mimalloc.c and src/idle/event_loop.c, with the definitions and the TLS that libmimalloc-sys compiles mimalloc with.
fn compile_mimalloc_s() {
    println!("cargo:rerun-if-changed=src/mimalloc.c");
    println!("cargo:rerun-if-changed=src/idle/event_loop.c");
    let include = env::var("DEP_MIMALLOC_INCLUDE_DIR").expect("libmimalloc-sys says where its headers are");
    cc::Build::new()
        .file("src/mimalloc.c")
        .file("src/idle/event_loop.c")
        .include(&include)
        .include(Path::new(&include).with_file_name("src"))
        .flag("-ftls-model=initial-exec")
        .define("MI_DEBUG", "0")
        .define("MI_BUILD_RELEASE", None)
        .define("NDEBUG", None)
        .flag("-Wno-error=date-time")
        // Nothing in Rust names its functions.
        .link_lib_modifier("+whole-archive")
        .compile("malloc_backend_mimalloc");
}
