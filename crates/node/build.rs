//! The link arguments of an addon, and its one piece of C++.

fn main() {
    napi_build::setup();
    if std::env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|os| os == "linux") {
        println!("cargo:rerun-if-changed=src/backing_store.cc");
        // As V8 is compiled. Without a C++ library, which not every runtime brings along, and sized `delete` is of one.
        cc::Build::new()
            .cpp(true)
            .cpp_link_stdlib(None)
            .std("c++17")
            .flags(["-fno-exceptions", "-fno-rtti", "-fno-sized-deallocation"])
            .warnings_into_errors(true)
            .file("src/backing_store.cc")
            .compile("malloc_backend_v8");
    }
}
