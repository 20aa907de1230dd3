//! The values that pass between Python and Node.

use std::fmt;

use super::owned_bytes::OwnedBytes;

/// A value that both sides can represent.
#[derive(Debug)]
pub enum Value {
    /// `None`
    None,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// A larger `int`: its sign and its hexadecimal digits.
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
    /// A copy in pieces. Each piece is freed when its contents are copied to their destination.
    Pieces(Vec<Box<[u8]>>),
    /// The `bytes` object itself, to which Python has no other reference.
    Owned(OwnedBytes),
}

impl Bytes {
    const PIECE: usize = 4 << 20;

    /// Copies the bytes. Many bytes are copied in pieces.
    pub fn copy(bytes: &[u8]) -> Self {
        match bytes.len() {
            ..=Self::PIECE => Self::Copied(bytes.into()),
            _ => Self::Pieces(bytes.chunks(Self::PIECE).map(Box::from).collect()),
        }
    }

    /// Number of bytes.
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

/// Why a job has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Python raised an exception.
    Exception {
        /// The class, with its module unless the module is `builtins`.
        class: String,
        /// The `str` of the exception.
        message: String,
        /// The traceback in the form in which Python prints it.
        traceback: String,
    },
    /// The value has no equivalent on the other side. Contains a description of the value.
    NoEquivalent(String),
    /// The job was cancelled before its start.
    Cancelled,
}

/// Maximum nesting of lists and dictionaries. A list that contains itself exceeds it.
pub const MAX_DEPTH: usize = 500;
