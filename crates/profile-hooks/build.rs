//! Compiles the functions that stand in for `malloc` and its family while a profile runs.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=src/hooks.c");
    println!("cargo:rerun-if-changed=src/domains.c");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ARCH", "x86_64") {
        // A call of the original function at the end of a hook must be a jump at every level of optimisation of the crate:
        // dlsym and dlopen look at their return address. Without builtins, calloc stays calloc.
        cc::Build::new()
            .flags(["-O2", "-foptimize-sibling-calls", "-fno-builtin", "-fvisibility=hidden"])
            .warnings_into_errors(true)
            .file("src/hooks.c")
            .compile("malloc_backend_profile_hooks_c");
    }
}
