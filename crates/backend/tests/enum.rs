//! Tests the enum: its strings, its default, and the backends of this build.

use std::collections::HashSet;
use std::error::Error;

use malloc_backend::{
    CannotRelease, GLOBAL_ALLOCATOR, MemoryAllocatorBackend, ParseBackendError, Unavailable,
};

use MemoryAllocatorBackend::{Default, Jemalloc, Mimalloc, Rust, Snmalloc};

const NAMES: [(MemoryAllocatorBackend, &str); 5] = [
    (Default, "default"),
    (Jemalloc, "jemalloc"),
    (Mimalloc, "mimalloc"),
    (Snmalloc, "snmalloc"),
    (Rust, "rust"),
];

#[test]
fn all_lists_the_five_in_order() {
    assert_eq!(MemoryAllocatorBackend::ALL, NAMES.map(|(backend, _)| backend));
}

#[test]
fn every_way_to_a_string_gives_the_name() {
    for (backend, name) in NAMES {
        assert_eq!(backend.as_str(), name);
        assert_eq!(backend.to_string(), name);
        assert_eq!(format!("[{backend:>10}|{backend:<10}|{backend:.3}]"), {
            format!("[{name:>10}|{name:<10}|{name:.3}]")
        });
    }
    assert_eq!(format!("{Default:?} {Jemalloc:?} {Rust:?}"), "Default Jemalloc Rust");
}

#[test]
fn every_name_is_parsed() {
    for (backend, name) in NAMES {
        assert_eq!(name.parse(), Ok(backend));
        assert_eq!(MemoryAllocatorBackend::try_from(name), Ok(backend));
    }
}

#[test]
fn an_unknown_name_is_an_error_that_names_it_and_lists_the_five_or_the_nearest() {
    const ALL: &str = "; it must be one of: default, jemalloc, mimalloc, snmalloc, rust";
    for (name, rest) in [
        ("dlmalloc", ALL),
        ("", ALL),
        ("Jemalloc", ". Did you mean jemalloc?"),
        ("JEMALLOC", ALL),
        (" rust", ". Did you mean rust?"),
        ("rust\n", ". Did you mean rust?"),
        ("default\0", ". Did you mean default?"),
        ("snmalloc2", ". Did you mean snmalloc?"),
        ("mi", ALL),
    ] {
        let error = name.parse::<MemoryAllocatorBackend>().unwrap_err();
        assert_eq!(error, ParseBackendError { name: name.to_owned() });
        assert_eq!(MemoryAllocatorBackend::try_from(name), Err(error.clone()));
        assert_eq!(error.to_string(), format!("unknown memory allocator backend {name:?}{rest}"));
        let _: &dyn Error = &error;
    }
}

#[test]
fn the_default_is_jemalloc_where_that_exists() {
    let expected = if cfg!(windows) { Default } else { Jemalloc };
    assert_eq!(<MemoryAllocatorBackend as std::default::Default>::default(), expected);
}

#[test]
fn it_is_a_value_to_copy_compare_and_hash() {
    fn is_value<T: Copy + Eq + std::hash::Hash + Send + Sync + 'static>() {}
    is_value::<MemoryAllocatorBackend>();
    let set: HashSet<MemoryAllocatorBackend> =
        MemoryAllocatorBackend::ALL.into_iter().chain(MemoryAllocatorBackend::ALL).collect();
    assert_eq!(set.len(), 5);
    assert_ne!(Default, Rust);
}

#[test]
fn available_is_what_the_features_and_the_platform_say() {
    let built = |backend| match backend {
        Default | Rust => Ok(()),
        Jemalloc if cfg!(windows) => Err(Unavailable::Platform(backend)),
        Jemalloc if cfg!(feature = "jemalloc") => Ok(()),
        Mimalloc if cfg!(feature = "mimalloc") => Ok(()),
        Snmalloc if cfg!(feature = "snmalloc") => Ok(()),
        _ => Err(Unavailable::Feature(backend)),
    };
    for backend in MemoryAllocatorBackend::ALL {
        assert_eq!(backend.available(), built(backend));
        assert_eq!(backend.functions().map(|functions| functions.backend), built(backend).map(|()| backend));
    }
}

#[test]
fn errors_say_why() {
    assert_eq!(
        Unavailable::Feature(Snmalloc).to_string(),
        "this build does not contain snmalloc: the cargo feature `snmalloc` was off"
    );
    assert_eq!(Unavailable::Platform(Jemalloc).to_string(), "jemalloc does not exist on this platform");
    assert!(CannotRelease(Snmalloc).to_string().starts_with("snmalloc has no way"));
    let _: [&dyn Error; 2] = [&Unavailable::Feature(Snmalloc), &CannotRelease(Snmalloc)];
}

#[test]
fn the_global_allocator_is_the_feature_s() {
    let expected = if cfg!(all(feature = "global-jemalloc", not(windows))) {
        Jemalloc
    } else if cfg!(feature = "global-mimalloc") {
        Mimalloc
    } else if cfg!(feature = "global-snmalloc") {
        Snmalloc
    } else {
        Default
    };
    assert_eq!(GLOBAL_ALLOCATOR, expected);
    assert_eq!(GLOBAL_ALLOCATOR.available(), Ok(()));
}

#[cfg(feature = "serde")]
mod serde {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_is_its_name() {
        for (backend, name) in NAMES {
            let json = format!("\"{name}\"");
            assert_eq!(serde_json::to_string(&backend).unwrap(), json);
            assert_eq!(serde_json::from_str::<MemoryAllocatorBackend>(&json).unwrap(), backend);
            // Strings that serde cannot borrow from the input: with an escape, and from a stream.
            let escaped = json.replace('l', "\\u006c");
            assert_eq!(serde_json::from_str::<MemoryAllocatorBackend>(&escaped).unwrap(), backend);
            assert_eq!(
                serde_json::from_reader::<_, MemoryAllocatorBackend>(json.as_bytes()).unwrap(),
                backend
            );
        }
    }

    #[test]
    fn it_is_a_key() {
        let sizes: HashMap<MemoryAllocatorBackend, u32> =
            MemoryAllocatorBackend::ALL.into_iter().zip(1..).collect();
        let json = serde_json::to_string(&sizes).unwrap();
        assert_eq!(serde_json::from_str::<HashMap<MemoryAllocatorBackend, u32>>(&json).unwrap(), sizes);
    }

    #[test]
    fn an_unknown_name_is_the_error_of_parse() {
        let error = serde_json::from_str::<MemoryAllocatorBackend>("\"dlmalloc\"").unwrap_err().to_string();
        assert!(error.contains(&"dlmalloc".parse::<MemoryAllocatorBackend>().unwrap_err().to_string()));
    }

    #[test]
    fn what_is_no_string_is_refused() {
        for json in ["1", "null", "true", "[\"rust\"]", "{\"rust\":null}"] {
            let error = serde_json::from_str::<MemoryAllocatorBackend>(json).unwrap_err().to_string();
            assert!(error.contains("the name of a memory allocator backend"), "{error}");
        }
    }
}
