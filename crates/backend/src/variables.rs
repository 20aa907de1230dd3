//! The environment variables by which a launcher tells a preloaded library of this package, before `main`, how it is to
//! serve. The library takes them out of the environment again.

use alloc::vec::Vec;
use core::ffi::CStr;

/// The libraries that the dynamic loader preloads (ld.so(8)).
pub const PRELOAD: &CStr = c"LD_PRELOAD";
/// A file descriptor: one line of JSON goes there, the proof, and it is closed.
pub const REPORT: &CStr = c"MALLOC_BACKEND_REPORT";
/// Non-empty: the process ends, with status 126, when its `malloc` is not the backend's.
pub const REQUIRE: &CStr = c"MALLOC_BACKEND_REQUIRE";
/// `none`: the program's children are to run without the library and the options that came with it.
pub const CHILDREN: &CStr = c"MALLOC_BACKEND_CHILDREN";
/// The variables that came with the library, to be restored: `name|value as set|value before` each, the last only if there
/// was one, with `;` between them. [`encode`] has encoded each.
pub const RESTORE: &CStr = c"MALLOC_BACKEND_RESTORE";
/// Set by `malloc-backend/register` in a process that it has started again.
pub const REGISTERED: &CStr = c"MALLOC_BACKEND_REGISTERED";
/// The options of jemalloc: `key:value` with commas between, first the preset's, and behind a `;` those that win over
/// the user's.
pub const JEMALLOC: &CStr = c"MALLOC_BACKEND_JEMALLOC";
/// The options of mimalloc, likewise.
pub const MIMALLOC: &CStr = c"MALLOC_BACKEND_MIMALLOC";

/// For the library that sets Python's domains: which of them it gives to which backend (`jemalloc,raw,mem,debug`).
pub const PYTHON: &CStr = c"MALLOC_BACKEND_PYTHON";
/// A file descriptor: one line of JSON from each program on the way to Python, and from that. Python closes it.
pub const PYTHON_REPORT: &CStr = c"MALLOC_BACKEND_PYTHON_REPORT";
/// A file descriptor, likewise, open on the counters' memory.
pub const PYTHON_COUNTERS: &CStr = c"MALLOC_BACKEND_PYTHON_COUNTERS";
/// What is to become of the programs that Python starts. `inherit`: they are to have the same domains; in these it is
/// `inherited`, which says that nobody has asked for them by name. Otherwise they are not, and `restore` gives the variables
/// that came with the library their values of before, and `unswitch` takes the library that serves the whole process out of
/// `LD_PRELOAD` too.
pub const PYTHON_CHILDREN: &CStr = c"MALLOC_BACKEND_PYTHON_CHILDREN";

/// A part of [`RESTORE`]: percent-encodes the separators and white space.
pub fn encode(text: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut encoded = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'%' | b';' | b'|' | b' ' | b'\t'..=b'\r' => {
                encoded.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            _ => encoded.push(byte),
        }
    }
    encoded
}

/// Undoes [`encode`]. A `%` that two hexadecimal digits do not follow stays.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%');
        let byte = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (1..=255).collect();
        let encoded = encode(&all);
        assert!(!encoded.iter().any(|byte| b";| \t\n".contains(byte)));
        assert_eq!(decode(&encoded), all);
        assert_eq!(encode(b"a;b|c%d e"), b"a%3bb%7cc%25d%20e");
    }

    #[test]
    fn what_is_not_encoded_stays() {
        for text in [&b"100%"[..], b"%", b"%2", b"%zz", b"a%g0", b""] {
            assert_eq!(decode(text), text);
        }
    }
}
