//! The descriptors that whoever started Python opened for this library. A launcher on the way may have closed one, or
//! put a file of its own in its place: nothing is done with that.

use alloc::format;
use alloc::vec::Vec;
use core::ffi::{CStr, c_int};
use core::mem::MaybeUninit;

use malloc_backend_preload::environment::{get, set};

/// What a variable says of a descriptor.
pub enum Descriptor {
    /// There is no such variable, or nothing in it.
    None,
    /// It is what it was when the first program started.
    Ours(c_int),
    /// It is something else by now.
    Replaced(c_int),
}

/// Looks into the variable. It names a number when the first program starts, whose descriptors are those that it was
/// started with. That one adds which file it is, `number:device:inode`, for those that come after. Standard streams are
/// whatever they are.
pub fn find(variable: &CStr) -> Descriptor {
    let Some(text) = get(variable) else { return Descriptor::None };
    let mut parts = text.split(|byte| *byte == b':');
    let Some(fd) = parts.next().and_then(number::<c_int>) else { return Descriptor::None };
    if fd <= libc::STDERR_FILENO {
        return Descriptor::Ours(fd);
    }
    let expected: Vec<Option<u64>> = parts.map(number).collect();
    match (identity(fd), expected.as_slice()) {
        (Some((device, inode)), []) => {
            set(variable, format!("{fd}:{device}:{inode}").as_bytes());
            Descriptor::Ours(fd)
        }
        (Some((device, inode)), expected) if *expected == [Some(device), Some(inode)] => Descriptor::Ours(fd),
        _ => Descriptor::Replaced(fd),
    }
}

fn number<Number: core::str::FromStr>(text: &[u8]) -> Option<Number> {
    str::from_utf8(text).ok()?.parse().ok()
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
