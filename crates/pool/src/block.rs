use std::ffi::c_void;

/// The address, size and alignment of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The address of its first byte.
    pub start: *mut c_void,
    /// The requested size in bytes.
    pub size: usize,
    /// The requested alignment, or [`BORROWED`](Self::BORROWED).
    pub alignment: usize,
}

impl Block {
    /// Instead of an alignment: the memory is not the pool's, and its owner frees it. The pool only counts the block.
    pub const BORROWED: usize = 0;

    /// Whether the memory is not the pool's.
    #[inline]
    pub fn is_borrowed(&self) -> bool {
        self.alignment == Self::BORROWED
    }
}
