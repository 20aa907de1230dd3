use std::sync::OnceLock;

use super::library::Object;

/// A reference that any thread may hold. Only the interpreter's thread may release it.
pub struct Reference(pub Object);

// SAFETY: other threads only send the reference to the interpreter's thread.
unsafe impl Send for Reference {}

/// Sends a reference to the interpreter's thread, which releases it. Set before the first reference exists.
pub static GIVE_BACK: OnceLock<fn(Reference)> = OnceLock::new();

/// A `bytes` object to which Python has no other reference. So its memory may be written to.
pub struct OwnedBytes {
    object: Object,
    data: *mut u8,
    length: usize,
}

// SAFETY: this is the only reference, and the interpreter's thread releases it.
unsafe impl Send for OwnedBytes {}

impl OwnedBytes {
    /// # Safety
    /// `object` is the only reference, and is owned. `data` and `length` are its memory.
    pub(super) unsafe fn new(object: Object, data: *mut u8, length: usize) -> Self {
        Self { object, data, length }
    }

    /// The address of the bytes.
    pub fn as_ptr(&self) -> *mut u8 {
        self.data
    }

    /// Number of bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.length
    }
}

impl Drop for OwnedBytes {
    fn drop(&mut self) {
        if let Some(give_back) = GIVE_BACK.get() {
            give_back(Reference(self.object));
        }
    }
}
