use std::sync::OnceLock;

use super::library::Object;

/// A reference that any thread may hold, and only the interpreter's gives back.
pub struct Reference(pub Object);

// SAFETY: nothing is done with it but to send it to the interpreter's thread.
unsafe impl Send for Reference {}

/// Gives a reference back on the interpreter's thread. It is set before there is any.
pub static GIVE_BACK: OnceLock<fn(Reference)> = OnceLock::new();

/// A `bytes` of Python's with nobody in Python to know it: its memory may be written to.
pub struct OwnedBytes {
    object: Object,
    data: *mut u8,
    length: usize,
}

// SAFETY: this is the only reference, and giving it back is left to the interpreter's thread.
unsafe impl Send for OwnedBytes {}

impl OwnedBytes {
    /// # Safety
    /// `object` is an owned reference and the only one; `data` and `length` are its memory.
    pub(super) unsafe fn new(object: Object, data: *mut u8, length: usize) -> Self {
        Self { object, data, length }
    }

    /// Where the bytes are.
    pub fn as_ptr(&self) -> *mut u8 {
        self.data
    }

    /// How many there are.
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
