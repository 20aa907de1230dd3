//! A frame of a stack in the table, as one word.

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// A return address.
    Native(usize),
    /// A function in the table of functions.
    JavaScript(u32),
    /// A place in a Python program, in the same table; 0 for one that could not be read.
    Python(u32),
    /// Frames are missing here.
    Gap,
    /// V8 was collecting garbage, so the JavaScript frames could not be read.
    Collector,
    /// The frames that follow queued the work which the frames before did.
    QueuedBy,
    /// The stack has more frames than are kept.
    Truncated,
    /// The compiler has put functions into the next one, and does not say which of them called.
    Inlined,
}

const JAVASCRIPT: u64 = 1 << 63;
const MARK: u64 = 1 << 62;
const PYTHON: u64 = 1 << 61;

impl Frame {
    /// The frame as a word.
    pub fn word(self) -> u64 {
        match self {
            Self::Native(pc) => pc as u64 & !(JAVASCRIPT | MARK | PYTHON),
            Self::JavaScript(function) => JAVASCRIPT | u64::from(function),
            Self::Python(place) => PYTHON | u64::from(place),
            Self::Gap => MARK,
            Self::Collector => MARK | 1,
            Self::QueuedBy => MARK | 2,
            Self::Truncated => MARK | 3,
            Self::Inlined => MARK | 4,
        }
    }

    /// The frame of a word.
    pub fn of(word: u64) -> Self {
        match word {
            _ if word & JAVASCRIPT != 0 => Self::JavaScript(word as u32),
            _ if word & PYTHON != 0 => Self::Python(word as u32),
            _ if word & MARK == 0 => Self::Native(word as usize),
            _ => match word & !MARK {
                0 => Self::Gap,
                1 => Self::Collector,
                2 => Self::QueuedBy,
                4 => Self::Inlined,
                _ => Self::Truncated,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_frame() {
        let marks = [Frame::Gap, Frame::Collector, Frame::QueuedBy, Frame::Truncated, Frame::Inlined];
        let frames = [Frame::Native(0x7fff_1234_5678), Frame::JavaScript(77), Frame::Python(78)];
        for frame in frames.into_iter().chain(marks) {
            assert_eq!(Frame::of(frame.word()), frame);
        }
    }
}
