//! Link arguments that a `#[link]` attribute cannot say.

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

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Without std nothing names the C library; before glibc 2.34 the last two were libraries of their own.
    for library in ["-lc", "-lpthread", "-ldl"] {
        println!("cargo:rustc-cdylib-link-arg={library}");
    }
    // See src/wrap.rs and crates/preload, and for jemalloc's own function src/size_classes.rs.
    let feature = |name: &str| std::env::var_os(format!("CARGO_FEATURE_{name}")).is_some();
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
    if ["JEMALLOC", "MIMALLOC", "SNMALLOC"].into_iter().any(feature) {
        // See src/operators.rs.
        for (own, name) in [
            ("own_new", "_Znwm"),
            ("own_new_array", "_Znam"),
            ("own_new_aligned", "_ZnwmSt11align_val_t"),
            ("own_new_aligned_array", "_ZnamSt11align_val_t"),
        ] {
            println!("cargo:rustc-cdylib-link-arg=-Wl,--defsym={own}={name}");
        }
    }
}
