//! The options that a launcher gives to an allocator of ours.
//!
//! They come in variables that no other allocator reads: a program that the switched one starts may bring another
//! release of the same allocator, which would complain of what it does not know. What the user says in the allocator's
//! public variables stays there.

use core::ffi::{CStr, c_char};

/// What a variable says: `key:value` with commas between, first the preset's, and behind a `;` those that win over
/// what the user says.
#[derive(Clone, Copy)]
pub struct Options {
    text: &'static CStr,
}

impl Options {
    /// Looks into the variable, without an allocation: an allocator asks during its first.
    pub fn of(variable: &CStr) -> Self {
        // SAFETY: a C string. No C library frees the strings that a process was started with, and these are never
        // changed, only taken out of the list.
        let value: *const c_char = unsafe { libc::getenv(variable.as_ptr()) };
        // SAFETY: as above.
        Self { text: if value.is_null() { c"" } else { unsafe { CStr::from_ptr(value) } } }
    }

    /// Those of the preset.
    pub fn preset(self) -> &'static [u8] {
        self.text.to_bytes().split(|byte| *byte == b';').next().unwrap_or_default()
    }

    /// Those that win over the user's.
    pub fn over_users(self) -> &'static CStr {
        match self.text.to_bytes().iter().position(|byte| *byte == b';') {
            Some(at) => {
                CStr::from_bytes_with_nul(&self.text.to_bytes_with_nul()[at + 1..]).unwrap_or_default()
            }
            None => c"",
        }
    }

    /// Whether an option of this package's own is on: a 1.
    pub fn is_on(self, key: &str) -> bool {
        let all = pairs(self.preset()).chain(pairs(self.over_users().to_bytes()));
        all.filter(|(name, _)| *name == key).last().is_some_and(|(_, value)| value == "1")
    }
}

/// The keys and values in a part.
pub fn pairs(part: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    part.split(|byte| *byte == b',').filter_map(|pair| str::from_utf8(pair).ok()?.split_once(':'))
}
