//! What the library does before `main`: it looks who owns `malloc`, reports that or insists on it, and keeps
//! the program's children out of it, each when asked to. It asks the environment, and takes the question out
//! of it again: neither the program nor its children see it.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use malloc_backend::owner::Object;
use malloc_backend::shim::Shim;
use malloc_backend::{MemoryAllocatorBackend, RawAllocator};

use crate::Backend;
use crate::errno::errno;

/// A file descriptor: one line of JSON goes there, and it is closed.
const REPORT: &CStr = c"MALLOC_BACKEND_REPORT";
/// Non-empty: the process ends, with status 126, when its `malloc` is not the backend's.
const REQUIRE: &CStr = c"MALLOC_BACKEND_REQUIRE";
/// `none`: the program's children are to run without the library and the options that came with it.
const CHILDREN: &CStr = c"MALLOC_BACKEND_CHILDREN";
/// The variables that came with the library: `name|value as set|value before` each, the last only if there was one,
/// with `;` between them. What would be taken for a separator is percent-encoded.
const RESTORE: &CStr = c"MALLOC_BACKEND_RESTORE";

const PRELOAD: &CStr = c"LD_PRELOAD";

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = start;

extern "C" fn start() {
    #[cfg(feature = "mimalloc")]
    Backend::set_errno_on_failure();
    let report = take(REPORT);
    let require = take(REQUIRE).is_some_and(|value| !value.is_empty());
    if report.is_some() || require {
        let owner = Object::that_defines(c"malloc");
        let applied = owner.is_some_and(serves);
        let owner = owner.map(|object| object.path()).unwrap_or_default();
        if let Some(fd) = report.and_then(|fd| str::from_utf8(&fd).ok()?.parse().ok()) {
            send(fd, &owner, applied);
        }
        if require && !applied {
            let name = Backend::BACKEND;
            let message =
                format!("malloc-backend: {name} was not applied: this program's malloc is that of {owner}\n");
            write(libc::STDERR_FILENO, message.as_bytes());
            // SAFETY: ends the process at once, before its `main`.
            unsafe { libc::_exit(126) }
        }
    }
    let alone = get(CHILDREN).is_some_and(|value| value == b"none");
    if alone {
        remove(CHILDREN);
        restore();
    }
    if alone || Backend::BACKEND == MemoryAllocatorBackend::Default {
        leave_preload();
    }
}

/// This library.
fn own() -> Option<Object> {
    static HERE: u8 = 0;
    Object::of((&raw const HERE).cast())
}

/// This library's file, for the C interface.
extern "C" fn own_path() -> *const c_char {
    own().map_or(c"".as_ptr(), |library| library.raw_path())
}

/// Whether the object is the one that the backend's `malloc` is in: this one or, for `default`, libc.
fn serves(owner: Object) -> bool {
    let expected = match Backend::BACKEND {
        MemoryAllocatorBackend::Default => Object::that_defines(c"__libc_start_main"),
        _ => own(),
    };
    expected == Some(owner)
}

fn send(fd: c_int, owner: &str, applied: bool) {
    if fd <= libc::STDERR_FILENO {
        return;
    }
    let version = Backend::version().unwrap_or_default();
    let library = own().map(|object| object.path()).unwrap_or_default();
    let line = format!(
        "{{\"pid\":{},\"backend\":\"{}\",\"version\":{},\"library\":{},\"owner\":{},\"applied\":{applied}}}\n",
        // SAFETY: takes nothing, cannot fail.
        unsafe { libc::getpid() },
        Backend::BACKEND,
        json(&version),
        json(&library),
        json(owner),
    );
    write(fd, line.as_bytes());
    // SAFETY: whoever set the variable opened the descriptor for this library.
    unsafe { libc::close(fd) };
}

/// Writes it all, unless nobody listens any more: then there is nobody to tell, and the program is not to end of it.
fn write(fd: c_int, bytes: &[u8]) {
    // SAFETY: to ignore a signal, and to go back to what it did, runs no code.
    unsafe {
        let before = libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        write_all(fd, bytes);
        libc::signal(libc::SIGPIPE, before);
    }
}

fn write_all(fd: c_int, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the bytes are readable. (A descriptor that is not open is an error, not a hazard.)
        match unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } {
            written @ 1.. => bytes = &bytes[written as usize..],
            _ if errno() == libc::EINTR => {}
            _ => return,
        }
    }
}

/// The text as a JSON string.
fn json(text: &str) -> String {
    let mut string = String::with_capacity(text.len() + 2);
    string.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => string.extend(['\\', character]),
            '\0'..='\x1f' => string.push_str(&format!("\\u{:04x}", character as u32)),
            _ => string.push(character),
        }
    }
    string.push('"');
    string
}

fn get(name: &CStr) -> Option<Vec<u8>> {
    // SAFETY: constructors run on the process's only thread, so that nothing changes the environment between
    // the look-up and the copy, nor while `remove` and `set` do.
    unsafe {
        let value: *const c_char = libc::getenv(name.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value).to_bytes().to_vec())
    }
}

fn remove(name: &CStr) {
    // SAFETY: see `get`.
    unsafe { libc::unsetenv(name.as_ptr()) };
}

fn set(name: &CStr, value: &[u8]) {
    let Ok(value) = CString::new(value) else { return };
    // SAFETY: see `get`; both are copied.
    unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) };
}

fn take(name: &CStr) -> Option<Vec<u8>> {
    let value = get(name)?;
    remove(name);
    Some(value)
}

/// Takes this library out of `LD_PRELOAD`; what else is in there stays.
fn leave_preload() {
    let (Some(preload), Some(own)) = (get(PRELOAD), own()) else { return };
    let own = own.path();
    // ld.so(8): separated by spaces or colons.
    let others: Vec<&[u8]> = preload
        .split(|byte| b" :".contains(byte))
        .filter(|entry| !entry.is_empty() && !names(entry, own.as_bytes()))
        .collect();
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

/// Gives the variables that came with the library the values that they had, unless someone has changed them.
fn restore() {
    for change in take(RESTORE).unwrap_or_default().split(|byte| *byte == b';') {
        let mut fields = change.split(|byte| *byte == b'|').map(decode);
        let (Some(name), Some(ours)) = (fields.next(), fields.next()) else { continue };
        let Ok(name) = CString::new(name) else { continue };
        if get(&name).as_ref() != Some(&ours) {
            continue;
        }
        match fields.next() {
            Some(before) => set(&name, &before),
            None => remove(&name),
        }
    }
}

/// Percent-decoding, of any byte.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let encoded = (*first == b'%')
            .then(|| tail.get(..2).and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok()))
            .flatten();
        bytes.push(encoded.unwrap_or(*first));
        rest = if encoded.is_some() { &tail[2..] } else { tail };
    }
    bytes
}

/// The structure behind `malloc_backend_shim`, made by the first call.
pub fn shim() -> *const Shim {
    static SHIM: AtomicPtr<Shim> = AtomicPtr::new(ptr::null_mut());
    fn leak(text: String) -> &'static CStr {
        alloc::boxed::Box::leak(CString::new(text).unwrap_or_default().into_boxed_c_str())
    }
    let made = SHIM.load(Ordering::Acquire);
    if !made.is_null() {
        return made;
    }
    let (name, version) = (leak(Backend::BACKEND.to_string()), leak(Backend::version().unwrap_or_default()));
    let new = alloc::boxed::Box::into_raw(Shim::new::<Backend>(name, version, own_path).into());
    // Where two threads are first at once, one structure is the answer and the other a few bytes lost.
    match SHIM.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        Err(other) => other,
    }
}
