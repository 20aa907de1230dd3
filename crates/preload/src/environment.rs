//! The environment, before `main`: what a library is asked is taken out of it again, so that neither the program nor
//! its children see it. Where it is asked nothing, nothing is changed.
//!
//! C has no safe way to change it while other threads look, and there may be some: a program's constructors run one after
//! another on its first thread, but those that ran before may have started others (a profiler, an allocator's background
//! thread), and a library that is opened later starts on whichever thread opens it. What is relied on:
//! - No other thread changes the environment meanwhile.
//! - What is changed or removed here stands there since the process began, and no C library frees those strings: who
//!   holds one reads on. Values are given to variables that are there already, so that the list does not grow and move.
//! - A removal moves what is behind it up by one. Another thread's look-up may miss an entry meanwhile, and no more.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};

use malloc_backend::variables::{DEFAULT, JEMALLOC, MIMALLOC, PRELOAD, RESTORE, decode};

use crate::own;

/// Those need no record: they go, unless one says what an outer switch had in it.
const OWN: [&CStr; 3] = [DEFAULT, JEMALLOC, MIMALLOC];

/// The value of a variable.
pub fn get(name: &CStr) -> Option<Vec<u8>> {
    // SAFETY: a C string; the value is not changed until it is copied, as said above.
    unsafe {
        let value: *const c_char = libc::getenv(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value).to_bytes().to_vec())
    }
}

/// Takes a variable away.
pub fn remove(name: &CStr) {
    // SAFETY: a C string; other threads at most read, as said above.
    unsafe { libc::unsetenv(name.as_ptr()) };
}

/// Gives a variable a value, unless that has a zero in it.
pub fn set(name: &CStr, value: &[u8]) {
    let Ok(value) = CString::new(value) else { return };
    // SAFETY: see `remove`; both are copied.
    unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) };
}

/// The value of a variable, which is taken away.
pub fn take(name: &CStr) -> Option<Vec<u8>> {
    let value = get(name)?;
    remove(name);
    Some(value)
}

/// Takes this library out of `LD_PRELOAD`; what else is in there stays. A library that came another way changes nothing.
pub fn leave_preload() {
    if let Some(own) = own() {
        drop_preload(&own.path());
    }
}

/// Takes the library of that file out of `LD_PRELOAD`.
pub fn drop_preload(file: &str) {
    let Some(preload) = get(PRELOAD) else { return };
    // ld.so(8): separated by spaces or colons.
    let entries = || preload.split(|byte| b" :".contains(byte)).filter(|entry| !entry.is_empty());
    let others: Vec<&[u8]> = entries().filter(|entry| !names(entry, file.as_bytes())).collect();
    if others.len() == entries().count() {
        return;
    }
    match others.is_empty() {
        true => remove(PRELOAD),
        false => set(PRELOAD, &others.join(&b':')),
    }
}

/// Whether the entry led the loader to that file: a path is the file's, and a name is looked for in folders.
fn names(entry: &[u8], file: &[u8]) -> bool {
    match file.strip_suffix(entry) {
        Some(folder) => folder.is_empty() || folder.ends_with(b"/") && !entry.contains(&b'/'),
        None => false,
    }
}

/// Gives the variables that came with the library the values that they had, unless someone has changed them, and takes
/// its own away.
pub fn restore() {
    let mut own = OWN.map(Some);
    for change in take(RESTORE).unwrap_or_default().split(|byte| *byte == b';') {
        let mut fields = change.split(|byte| *byte == b'|').map(decode);
        let (Some(name), Some(ours)) = (fields.next(), fields.next()) else { continue };
        let Ok(name) = CString::new(name) else { continue };
        own.iter_mut().filter(|own| **own == Some(&name)).for_each(|own| *own = None);
        if get(&name).as_ref() != Some(&ours) {
            continue;
        }
        match fields.next() {
            Some(before) => set(&name, &before),
            None => remove(&name),
        }
    }
    own.into_iter().flatten().for_each(remove);
}
