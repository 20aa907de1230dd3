//! A process's environment as the C library keeps it: entries such as `name=value`, to the byte.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsString, c_char};
use std::os::unix::ffi::OsStringExt;

/// Variables by their names. Bytes, as the system has them.
pub type Environment = BTreeMap<Vec<u8>, Vec<u8>>;

/// The strings of an array that ends in null.
///
/// # Safety
/// It is one, of C strings.
pub unsafe fn strings(mut array: *const *const c_char) -> Vec<OsString> {
    let mut all = Vec::new();
    if array.is_null() {
        return all;
    }
    // SAFETY: the array goes on until a null.
    while let Some(string) = unsafe { array.read().as_ref() } {
        // SAFETY: the caller says that it is a C string.
        all.push(OsString::from_vec(unsafe { CStr::from_ptr(string) }.to_bytes().to_vec()));
        // SAFETY: this was not the last element.
        array = unsafe { array.add(1) };
    }
    all
}

/// The environment as it came, in entries such as `name=value`. There may be some without a name, and some twice.
pub fn entries() -> Vec<Vec<u8>> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library's own. The command has one thread; in Node this is called where JavaScript sets variables too.
    unsafe { strings(environ) }.into_iter().map(OsString::into_vec).collect()
}

/// The variables in these entries. Of a name that is there twice the first counts.
pub fn environment(entries: &[Vec<u8>]) -> Environment {
    let pairs = entries.iter().rev().filter_map(|entry| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        Some((entry[..at].to_vec(), entry[at + 1..].to_vec()))
    });
    pairs.filter(|(name, _)| !name.is_empty()).collect()
}

/// The entries as they came, to the byte, but for what has changed since. A variable that switches stands there once: of a
/// name that is there twice the dynamic loader takes the last, and the C library the first.
pub fn changed_entries(entries: Vec<Vec<u8>>, before: &Environment, after: &Environment) -> Vec<Vec<u8>> {
    let same: BTreeSet<&[u8]> = after
        .iter()
        .filter(|(name, value)| before.get(*name) == Some(value))
        .map(|(name, _)| &name[..])
        .collect();
    let mut seen = BTreeSet::new();
    let is_kept = |entry: &Vec<u8>| match entry.iter().position(|byte| *byte == b'=') {
        None | Some(0) => true,
        Some(at) => {
            let name = &entry[..at];
            same.contains(name) && (!switches(name) || seen.insert(name.to_vec()))
        }
    };
    let new = after.iter().filter(|(name, _)| !same.contains(&name[..]));
    let new = new.map(|(name, value)| [&name[..], value].join(&b'='));
    entries.into_iter().filter(is_kept).chain(new).collect()
}

/// Whether the variable is one that the loader, a preloaded library or an allocator reads.
fn switches(name: &[u8]) -> bool {
    name == b"LD_PRELOAD" || name == b"GLIBC_TUNABLES" || name.starts_with(b"MALLOC_") || {
        let prefix = b"MIMALLOC_";
        name.len() > prefix.len() && name[..prefix.len()].eq_ignore_ascii_case(prefix)
    }
}
