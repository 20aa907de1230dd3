//! Tests the search for dev mode in Python's arguments.

use malloc_backend_python::asks_for_dev_mode;

fn asks(words: &[&str]) -> bool {
    asks_for_dev_mode(words.iter().map(|word| word.as_bytes()))
}

#[test]
fn is_found_wherever_python_finds_it() {
    for words in [
        &["-X", "dev"][..],
        &["-Xdev", "script.py"],
        &["-bXdev"],
        &["-W", "ignore", "-X", "dev"],
        &["-uX", "dev=1"],
        &["--check-hash-based-pycs", "always", "-Xdev"],
    ] {
        assert!(asks(words), "{words:?}");
    }
}

#[test]
fn is_not_what_the_program_is_given() {
    for words in [
        &[][..],
        &["-"],
        &["-", "-Xdev"],
        &["--", "-Xdev"],
        &["script.py", "-Xdev"],
        &["-c", "print()", "-X", "dev"],
        &["-X", "utf8", "-c", "print()"],
        &["-W", "-Xdev", "-c", "print()"],
        &["-mXdev"],
        &["-X", "developer"],
        &["-X"],
    ] {
        assert!(!asks(words), "{words:?}");
    }
}
