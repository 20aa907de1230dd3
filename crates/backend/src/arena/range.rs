use core::ffi::c_void;
use core::ptr;

/// A range of address space. A drop returns it to the system. The range is readable and writable from the beginning. The
/// system provides the memory of a page at its first use.
///
/// The range cannot be `PROT_NONE`, because JavaScript sees it and may read every byte.
pub struct Range {
    start: *mut c_void,
    size: usize,
}

impl Range {
    /// Reserves at least `size` bytes at a multiple of `alignment`, which is a power of two. Rounds the size up to a multiple
    /// of `alignment`.
    pub fn reserve(size: usize, alignment: usize) -> Option<Self> {
        let size = size.max(1).checked_next_multiple_of(alignment)?;
        let wide = size.checked_add(alignment)?;
        // SAFETY: a new mapping at an address that the system chooses.
        let mapped = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE;
            libc::mmap(ptr::null_mut(), wide, protection, flags, -1, 0)
        };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        let before = mapped.align_offset(alignment);
        // SAFETY: the aligned range lies within the mapping. The parts before and after it are whole unused pages, because
        // an alignment is a multiple of the page size.
        unsafe {
            let start = mapped.byte_add(before);
            if before > 0 {
                libc::munmap(mapped, before);
            }
            libc::munmap(start.byte_add(size), alignment - before);
            Some(Self { start, size })
        }
    }

    /// The start of the range.
    pub fn start(&self) -> *mut c_void {
        self.start
    }

    /// The rounded size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns all memory to the system, and keeps the address space.
    ///
    /// # Safety
    /// Nobody needs the contents.
    pub unsafe fn clear(&self) {
        // SAFETY: the caller's obligation.
        unsafe { Self::discard(self.start, self.size) };
    }

    /// Returns the memory to the system and keeps the address space. The bytes then read as zeros.
    ///
    /// # Safety
    /// The `size` bytes from `start` are whole pages within a range. Nobody needs their contents.
    pub unsafe fn discard(start: *mut c_void, size: usize) -> bool {
        // SAFETY: the caller's obligation.
        unsafe { libc::madvise(start, size, libc::MADV_DONTNEED) == 0 }
    }
}

// SAFETY: address space belongs to the whole process. The users of a range must agree on its contents.
unsafe impl Send for Range {}
// SAFETY: see above. A shared reference changes nothing in this value.
unsafe impl Sync for Range {}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and all users reach it through this value.
        unsafe { libc::munmap(self.start, self.size) };
    }
}
