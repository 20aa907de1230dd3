//! Address space for the tables. Pages take memory when they are first written to.

use std::io;
use std::ptr::NonNull;

/// Zeroed memory that lives as long as the process. So no thread that is late can touch memory that is gone.
pub struct Region {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: an address and a size. Those who use the memory agree on how.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves address space.
    pub fn new(size: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(found) if start != libc::MAP_FAILED => Ok(Self { start: found, size }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The first byte. It is at the start of a page.
    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Gives the memory back. What is read from here on is zero.
    pub fn clear(&self) {
        // SAFETY: the mapping is this region's own, private and anonymous: it stays, with zeros in it. Where it is locked, the
        // kernel does not take it (mlockall(2)).
        unsafe {
            if libc::madvise(self.start.as_ptr().cast(), self.size, libc::MADV_DONTNEED) != 0 {
                self.start.as_ptr().write_bytes(0, self.size);
            }
        }
    }
}
