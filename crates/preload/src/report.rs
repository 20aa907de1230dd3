//! Telling whoever started the program, in JSON, through a file descriptor.

use alloc::format;
use alloc::string::String;
use core::ffi::c_int;

use crate::errno::errno;

/// Writes it all, unless nobody listens any more: then there is nobody to tell, and the program is not to end of it.
pub fn write(fd: c_int, bytes: &[u8]) {
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
pub fn json(text: &str) -> String {
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
