//! Tests the configuration in the form that the hook and the addon get.

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_python::{Config, Domain};

fn parsed(text: &str) -> Config {
    text.parse().expect(text)
}

#[test]
fn names_a_backend_and_what_is_on() {
    let config = parsed("rust,raw,obj,counters");
    assert_eq!(config.backend, MemoryAllocatorBackend::Rust);
    assert_eq!(config.domains, [true, false, true, false]);
    assert_eq!((config.debug, config.counters), (false, true));
    let config = parsed("rust,arena,debug");
    assert_eq!(Domain::ALL.map(|domain| config.serves(domain)), [false, false, false, true]);
    assert!(config.debug);
}

#[test]
fn is_written_as_it_is_read() {
    for text in ["default", "rust,raw,obj,counters", "jemalloc,raw,mem,obj,debug", "mimalloc,arena"] {
        assert_eq!(parsed(text).to_string(), text);
    }
}

#[test]
fn default_serves_nothing() {
    let config = parsed("default,raw,mem,obj");
    assert_eq!(Domain::ALL.map(|domain| config.serves(domain)), [false; 4]);
    assert!(!config.chooses());
    assert!(parsed("default,debug").chooses());
    assert!(parsed("rust,raw").chooses());
}

#[test]
fn another_word_is_an_error_that_names_it() {
    for (text, word) in
        [("", ""), ("tcmalloc,raw", "tcmalloc"), ("rust,RAW", "RAW"), ("rust,", ""), ("rust raw", "rust raw")]
    {
        let error = text.parse::<Config>().expect_err(text);
        assert_eq!(error.0, word);
        assert!(error.to_string().contains(&format!("{word:?}")));
    }
}
