use core::ffi::c_void;
use core::ptr;

/// Address space, given back when dropped. It can be read and written from the beginning; the system puts memory
/// behind a page when it is first touched.
///
/// Not `PROT_NONE`: the range will be seen by JavaScript, for which every byte must at least bear to be read.
pub struct Range {
    start: *mut c_void,
    size: usize,
}

impl Range {
    /// At least `size` bytes at a multiple of `alignment`, both rounded up to that power of two.
    pub fn reserve(size: usize, alignment: usize) -> Option<Self> {
        let size = size.max(1).checked_next_multiple_of(alignment)?;
        let wide = size.checked_add(alignment)?;
        // SAFETY: a new mapping, where the system likes.
        let mapped = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
            libc::mmap(ptr::null_mut(), wide, protection, flags, -1, 0)
        };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        let before = mapped.align_offset(alignment);
        // SAFETY: the aligned range lies within the mapping, and what lies before and after it is whole pages that
        // nothing uses. An alignment is a multiple of the page's size.
        unsafe {
            let start = mapped.byte_add(before);
            if before > 0 {
                libc::munmap(mapped, before);
            }
            libc::munmap(start.byte_add(size), alignment - before);
            Some(Self { start, size })
        }
    }

    /// Where it begins.
    pub fn start(&self) -> *mut c_void {
        self.start
    }

    /// How many bytes it has: what was asked for, rounded up.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Gives all of the memory back, and keeps the address space.
    ///
    /// # Safety
    /// Nobody needs what is in it.
    pub unsafe fn clear(&self) {
        // SAFETY: the caller's obligation.
        unsafe { Self::discard(self.start, self.size) };
    }

    /// Gives the memory back and keeps the address space, which then reads as zeros.
    ///
    /// # Safety
    /// `size` bytes from `start` are whole pages within a range, and nobody needs what is in them.
    pub unsafe fn discard(start: *mut c_void, size: usize) -> bool {
        // SAFETY: the caller's obligation.
        unsafe { libc::madvise(start, size, libc::MADV_DONTNEED) == 0 }
    }
}

// SAFETY: address space is the process's. What is in it is for those who have it to agree on.
unsafe impl Send for Range {}
// SAFETY: as above; nothing here changes through a shared reference.
unsafe impl Sync for Range {}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and whoever looks into it has done so through this value.
        unsafe { libc::munmap(self.start, self.size) };
    }
}
