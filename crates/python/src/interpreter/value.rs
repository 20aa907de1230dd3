//! Values on their way between Python and its host.

use std::fmt;

use super::owned_bytes::OwnedBytes;

/// What both sides have.
#[derive(Debug)]
pub enum Value {
    /// `None`
    None,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `int` beyond that: its sign, and its hexadecimal digits.
    BigInt(bool, String),
    /// `float`
    Float(f64),
    /// `str`
    Text(String),
    /// `str` in UTF-16, which may have lone surrogates.
    Wide(Vec<u16>),
    /// `bytes`
    Bytes(Bytes),
    /// `list` and `tuple`
    List(Vec<Value>),
    /// `dict` with keys of type `str`
    Dict(Vec<(Value, Value)>),
}

/// The memory of a `bytes`.
pub enum Bytes {
    /// A copy.
    Copied(Vec<u8>),
    /// A copy in pieces, each of which is given up when it has been copied on.
    Pieces(Vec<Box<[u8]>>),
    /// A `bytes` that nobody in Python refers to any more, itself.
    Owned(OwnedBytes),
}

impl Bytes {
    const PIECE: usize = 4 << 20;

    /// A copy of the bytes, in pieces if there are many.
    pub fn copy(bytes: &[u8]) -> Self {
        match bytes.len() {
            ..=Self::PIECE => Self::Copied(bytes.into()),
            _ => Self::Pieces(bytes.chunks(Self::PIECE).map(Box::from).collect()),
        }
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Self::Copied(bytes) => bytes.len(),
            Self::Pieces(pieces) => pieces.iter().map(|piece| piece.len()).sum(),
            Self::Owned(bytes) => bytes.len(),
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bytes")
    }
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Python raised.
    Exception {
        /// The class, with its module unless that is `builtins`.
        class: String,
        /// `str` of it.
        message: String,
        /// As Python prints it.
        traceback: String,
    },
    /// A value that the other side has not got: what it is, in words.
    NoEquivalent(String),
    /// It was called off before it began.
    Cancelled,
}

/// How deep lists and dictionaries may be nested; one that contains itself is too deep.
pub const MAX_DEPTH: usize = 500;
