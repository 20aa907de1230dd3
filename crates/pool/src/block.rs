use std::ffi::c_void;

/// A block's place and measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub start: *mut c_void,
    /// How many bytes were asked for.
    pub size: usize,
    /// The alignment that was asked for, or [`BORROWED`](Self::BORROWED).
    pub alignment: usize,
}

impl Block {
    /// In place of an alignment: the memory is somebody else's, who frees it. The block is only counted.
    pub const BORROWED: usize = 0;

    /// Whether the memory is somebody else's.
    #[inline]
    pub fn is_borrowed(&self) -> bool {
        self.alignment == Self::BORROWED
    }
}
