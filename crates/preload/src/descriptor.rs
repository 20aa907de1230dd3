//! The descriptors that whoever started the program opened for this library.
//!
//! A variable names one, and says what it is: it may come too late, where a program between did not load the library, and
//! what has that number now may be anything. Nothing is done with that.

use alloc::format;
use core::ffi::{CStr, c_int};
use core::mem::MaybeUninit;

use crate::environment::{get, set};

/// What a variable says of a descriptor.
pub enum Descriptor {
    /// There is no such variable, or nothing in it.
    None,
    /// It is what the variable says.
    Ours(c_int),
    /// It is something else.
    Replaced(c_int),
}

/// Looks into the variable: `number:process` for a socket, by the process that made the pair; `number:device:inode` for a
/// file; a number for a standard stream, which is whatever it is. A process may make many pairs: who finds that it made
/// this one says which file it is, for those that come after.
pub fn find(variable: &CStr) -> Descriptor {
    let Some(text) = get(variable) else { return Descriptor::None };
    let mut parts = text.split(|byte| *byte == b':').map(number);
    let Some(Some(fd)) = parts.next() else { return Descriptor::None };
    let Ok(fd) = c_int::try_from(fd) else { return Descriptor::None };
    let is_ours = match [parts.next(), parts.next(), parts.next()] {
        [None, ..] => (0..=libc::STDERR_FILENO).contains(&fd),
        [Some(maker), None, _] => {
            let is_its = maker.is_some() && maker == maker_of(fd);
            if let (true, Some((device, inode))) = (is_its, identity(fd)) {
                set(variable, format!("{fd}:{device}:{inode}").as_bytes());
            }
            is_its
        }
        [Some(Some(device)), Some(Some(inode)), None] => identity(fd) == Some((device, inode)),
        _ => false,
    };
    if is_ours { Descriptor::Ours(fd) } else { Descriptor::Replaced(fd) }
}

fn number(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// Which process made the pair of sockets, of which it is one (unix(7), `SO_PEERCRED`).
fn maker_of(fd: c_int) -> Option<u64> {
    let mut peer = MaybeUninit::<libc::ucred>::uninit();
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: a place of that size; where it succeeds for a local socket it has filled the structure in.
    unsafe {
        let failed =
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, peer.as_mut_ptr().cast(), &mut size);
        (failed == 0 && size as usize == size_of::<libc::ucred>()).then(|| peer.assume_init().pid as u64)
    }
}

/// Which file it is open on.
fn identity(fd: c_int) -> Option<(u64, u64)> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `fstat` takes any number, and where it succeeds it has filled the structure in.
    unsafe {
        if libc::fstat(fd, status.as_mut_ptr()) != 0 {
            return None;
        }
        let status = status.assume_init();
        Some((status.st_dev, status.st_ino))
    }
}
