//! Where CPython keeps what a frame is made of, by version.
//!
//! CPython 3.13 says it itself (`_Py_DebugOffsets`, Include/internal/pycore_runtime.h). The numbers for 3.8 to 3.12 are those of
//! the releases' headers. No number is trusted before the probe has found itself with them (`probe.rs`).

use super::api::Api;
use crate::memory;

/// The words of a frame that are read, from 3.11 on. Frame objects are larger.
pub const FRAME_WORDS: usize = 9;
/// The words of a frame object that are read.
pub const OBJECT_WORDS: usize = 14;
/// The words of a code object that are read.
pub const CODE_WORDS: usize = 18;

/// The offsets, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How the frames of a thread hang together.
    pub chain: Chain,
    /// In a code object.
    pub code: Code,
    /// In a string.
    pub text: Text,
    /// How instructions are mapped to lines.
    pub table: Table,
}

/// How the frames of a thread hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// 3.8 to 3.10: the thread has its innermost frame object, and each frame object its caller. Each frame has an evaluator of
    /// its own on the native stack. In 3.10 this evaluator's stack has a mark, and the marks are linked in the same order.
    Objects {
        /// Of the innermost frame object, in the thread's state.
        first: usize,
        /// Of the innermost mark, in the thread's state.
        mark: Option<usize>,
        /// Of the caller, the code and the number of the last instruction, in a frame object.
        frame: [usize; 3],
        /// How many bytes an instruction has in that number.
        unit: i64,
    },
    /// 3.11: the thread has its innermost mark, on the evaluator's stack. The mark has the innermost frame. A frame says whether
    /// it is the first one of its evaluator.
    Entries {
        /// Of the innermost mark, in the thread's state.
        mark: usize,
        /// Of the frame and of the next mark, in a mark.
        in_mark: [usize; 2],
        /// Of the caller, the code, the last instruction and the byte that says so, in a frame.
        frame: [usize; 4],
    },
    /// From 3.12 on: between the frames of two evaluators lies a frame without Python code, on the outer one's native stack.
    Shims {
        /// Of the innermost mark (3.12) or frame, in the thread's state.
        first: usize,
        /// Whether a mark stands between.
        has_mark: bool,
        /// Of the caller, the code, the last instruction and the byte with the frame's owner, in a frame.
        frame: [usize; 4],
    },
}

/// The offsets in a code object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    pub file: usize,
    pub name: usize,
    pub first_line: usize,
    pub lines: usize,
    /// Where the instructions begin. Up to 3.10 a frame has a number instead of an address.
    pub instructions: usize,
}

/// The sizes of a string's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub ascii: usize,
    pub other: usize,
}

/// The form of the table that maps instructions to lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Up to 3.9 (Objects/lnotab_notes.txt).
    Lnotab,
    /// 3.10 (the same file).
    Linetable,
    /// From 3.11 on (Objects/locations.md).
    Locations,
}

/// The byte of a frame that has no Python code (`FRAME_OWNED_BY_CSTACK`).
pub const OWNED_BY_STACK: u8 = 3;

const HEADS: Text = Text { ascii: 48, other: 72 };
const SHORTER_HEADS: Text = Text { ascii: 40, other: 56 };

impl Layout {
    /// The layout of that version.
    ///
    /// # Errors
    /// Why it is not known.
    pub fn of(api: &Api) -> Result<Self, String> {
        if api.is_free_threaded() {
            return Err(format!("Python {} has no GIL", api.version()));
        }
        let old = |lasti, mark, unit| Chain::Objects { first: 24, mark, frame: [24, 32, lasti], unit };
        let old_code = Code { file: 104, name: 112, first_line: 40, lines: 120, instructions: 0 };
        let code =
            |first_line, instructions| Code { file: 112, name: 128, first_line, lines: 136, instructions };
        let (chain, code, text, table) = match api.release() {
            (3, 8 | 9) => (old(104, None, 1), old_code, HEADS, Table::Lnotab),
            (3, 10) => (old(96, Some(48), 2), old_code, HEADS, Table::Linetable),
            (3, 11) => {
                let chain = Chain::Entries { mark: 56, in_mark: [8, 16], frame: [48, 32, 56, 68] };
                (chain, code(72, 184), HEADS, Table::Locations)
            }
            (3, 12) => {
                let chain = Chain::Shims { first: 56, has_mark: true, frame: [8, 0, 56, 70] };
                (chain, code(68, 192), SHORTER_HEADS, Table::Locations)
            }
            (3, 13) => return Self::by_debug_offsets(api),
            _ => {
                return Err(format!("the frames of Python {} are not known to this version", api.version()));
            }
        };
        Ok(Self { chain, code, text, table })
    }

    fn by_debug_offsets(api: &Api) -> Result<Self, String> {
        const COOKIE: usize = usize::from_ne_bytes(*b"xdebugpy");
        let unknown = || format!("the offsets of Python {} are not where they should be", api.version());
        // The words of the structure up to the string's.
        let words =
            memory::words::<71>(api.runtime()).filter(|words| words[0] == COOKIE).ok_or_else(unknown)?;
        let at = |offset: usize| words[offset / 8];
        let ascii = at(560);
        // A string that is not ASCII has a length and an address more.
        let layout = Self {
            chain: Chain::Shims { first: at(184), has_mark: false, frame: [232, 240, 248, 264].map(at) },
            code: Code {
                file: at(280),
                name: at(296),
                first_line: at(312),
                lines: at(304),
                instructions: at(344),
            },
            text: Text { ascii, other: ascii + 16 },
            table: Table::Locations,
        };
        let Chain::Shims { frame, .. } = layout.chain else { return Err(unknown()) };
        let Code { file, name, first_line, lines, .. } = layout.code;
        let is_small = frame.iter().all(|offset| offset / 8 < FRAME_WORDS)
            && [file, name, first_line, lines].iter().all(|offset| offset / 8 < CODE_WORDS);
        if is_small { Ok(layout) } else { Err(unknown()) }
    }
}
