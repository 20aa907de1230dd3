//! The environment variables with which a launcher configures this package's preloaded libraries. A library reads its
//! variables before `main` and then removes them from the environment.

use alloc::vec::Vec;
use core::ffi::CStr;

/// The libraries that the dynamic loader preloads (ld.so(8)).
pub const PRELOAD: &CStr = c"LD_PRELOAD";
/// A file descriptor. The library writes the proof there, as one line of JSON, and closes it.
pub const REPORT: &CStr = c"MALLOC_BACKEND_REPORT";
/// If this variable is not empty and the process's `malloc` is not the backend's, the process ends with status 126.
pub const REQUIRE: &CStr = c"MALLOC_BACKEND_REQUIRE";
/// With `none`, the program's children run without the library and without its options.
pub const CHILDREN: &CStr = c"MALLOC_BACKEND_CHILDREN";
/// The variables that the launcher has set for the library, for their restoration. Each entry is `name|new value|old value`,
/// without the last part if the variable was not set before. `;` separates the entries. [`encode`] encodes each part.
pub const RESTORE: &CStr = c"MALLOC_BACKEND_RESTORE";
/// `malloc-backend/register` sets this variable in the process that it restarts.
pub const REGISTERED: &CStr = c"MALLOC_BACKEND_REGISTERED";
/// The options of jemalloc: `key:value`, separated by commas. First the options of the preset, then a `;`, then the
/// options that override the user's variables.
pub const JEMALLOC: &CStr = c"MALLOC_BACKEND_JEMALLOC";
/// The options of mimalloc, in the same form.
pub const MIMALLOC: &CStr = c"MALLOC_BACKEND_MIMALLOC";
/// For `default`: the one option of this package's own, [`IDLE_RELEASE`], likewise. glibc's options have glibc's variables.
pub const DEFAULT: &CStr = c"MALLOC_BACKEND_DEFAULT";

/// An option of this package's own, in the two variables above: free memory goes back while the program is idle.
pub const IDLE_RELEASE: &str = "idle_release";

/// For the hook, which sets Python's domains: the backend and the domains (`jemalloc,raw,mem,debug`).
pub const PYTHON: &CStr = c"MALLOC_BACKEND_PYTHON";
/// A file descriptor. Each program on the way to Python, and Python itself, writes one line of JSON there. Python's hook
/// closes it.
pub const PYTHON_REPORT: &CStr = c"MALLOC_BACKEND_PYTHON_REPORT";
/// A file descriptor of the file with the counters.
pub const PYTHON_COUNTERS: &CStr = c"MALLOC_BACKEND_PYTHON_COUNTERS";
/// Configures the programs that Python starts:
///
/// - `inherit`: these programs get the same domains. The hook then changes the value to `inherited`. With `inherited`, a
///   Python that chooses its own allocators (dev mode, `PYTHONMALLOC`) keeps them, and no error occurs.
/// - Otherwise these programs do not get the domains. The value may then contain two words, separated by a comma:
///   `restore` restores the previous values of the variables in [`RESTORE`]. `unswitch` removes the library that serves
///   the whole process from `LD_PRELOAD`.
pub const PYTHON_CHILDREN: &CStr = c"MALLOC_BACKEND_PYTHON_CHILDREN";

/// The file of a heap profile, in which `%p` stands for the process id. `malloc-backend/profile` and the library that profiles
/// Python read the variable.
pub const PROFILE_FILE: &CStr = c"MALLOC_BACKEND_PROFILE_FILE";

/// Encodes a part of [`RESTORE`]: percent-encodes separators and white space.
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

/// Undoes [`encode`]. A `%` without two hexadecimal digits stays unchanged.
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
