//! The Python frames of the calling thread, from its own chain of frames.
//!
//! The chain is that of the thread that allocates, so nobody changes it meanwhile, whether the thread has the GIL or not. The
//! kernel reads it, so that a wrong address is an error and not a crash.

use super::code::{Running, place_of};
use super::cpython::Python;
use super::layout::{Chain, FRAME_WORDS, OBJECT_WORDS, OWNED_BY_STACK};
use crate::frame;
use crate::memory::{word_and_words, words};
use crate::tables::Tables;
use crate::walk::Raw;

/// The most frames of one chain.
const MOST: usize = 128;

/// The frames that one call of the evaluator runs: those up to `end` behind the ones of the run before.
#[derive(Clone, Copy, Default)]
struct Run {
    end: usize,
    /// An address on the native stack of that call; 0 if it is not known.
    mark: usize,
}

/// Room for the Python frames of a thread, the innermost first.
pub struct Frames {
    frames: [Running; MOST],
    count: usize,
    runs: [Run; MOST],
    run_count: usize,
    /// The next run that is to be put into the stack.
    next: usize,
    is_truncated: bool,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            frames: [Running::default(); MOST],
            count: 0,
            runs: [Run::default(); MOST],
            run_count: 0,
            next: 0,
            is_truncated: false,
        }
    }
}

fn part(words: &[usize], offset: usize) -> usize {
    words.get(offset / 8).map_or(0, |word| word >> (offset % 8 * 8))
}

impl Frames {
    /// Reads the frames of the calling thread. There are none if `python` is `None`.
    pub fn read(&mut self, python: Option<&Python>, tables: &Tables) {
        (self.count, self.run_count, self.next, self.is_truncated) = (0, 0, 0, false);
        let Some(python) = python else { return };
        let Some(thread) = python.thread() else { return };
        // Frames that cannot be read end the chain.
        let _ = match python.layout.chain {
            Chain::Objects { .. } => self.read_objects(python, thread),
            Chain::Entries { .. } => self.read_entries(python, thread),
            Chain::Shims { .. } => self.read_shims(python, thread),
        };
        self.end_run(0);
        let frames = &mut self.frames[..self.count];
        place_of(python, tables, frames);
    }

    /// The frames, the innermost first.
    pub fn all(&self) -> &[Running] {
        &self.frames[..self.count]
    }

    fn read_objects(&mut self, python: &Python, thread: usize) -> Option<()> {
        let Chain::Objects { first, mark, frame: [back, code, last], unit } = python.layout.chain else {
            return None;
        };
        let [mut frame] = words::<1>(thread + first)?;
        let mut mark = match mark {
            Some(mark) => words::<1>(thread + mark)?[0],
            None => 0,
        };
        while frame != 0 {
            let (next_mark, words) = match mark {
                0 => (0, words::<OBJECT_WORDS>(frame)?),
                // The next mark is a mark's second word.
                mark => word_and_words::<OBJECT_WORDS>(mark + 8, frame)?,
            };
            self.push(part(&words, code), i64::from(part(&words, last) as i32) * unit)?;
            self.end_run(mark);
            mark = next_mark;
            frame = part(&words, back);
        }
        Some(())
    }

    fn read_entries(&mut self, python: &Python, thread: usize) -> Option<()> {
        let Chain::Entries { mark, in_mark: [first, next], frame: [back, code, last, is_entry] } =
            python.layout.chain
        else {
            return None;
        };
        let [mut mark] = words::<1>(thread + mark)?;
        while mark != 0 {
            let words_of_mark = words::<3>(mark)?;
            let mut frame = part(&words_of_mark, first);
            while frame != 0 {
                let words = words::<FRAME_WORDS>(frame)?;
                let code = part(&words, code);
                self.push(code, python.instruction(code, part(&words, last)))?;
                frame = part(&words, back);
                if part(&words, is_entry) as u8 != 0 {
                    break;
                }
            }
            self.end_run(mark);
            mark = part(&words_of_mark, next);
        }
        Some(())
    }

    fn read_shims(&mut self, python: &Python, thread: usize) -> Option<()> {
        let Chain::Shims { first, has_mark, frame: [back, code, last, owner] } = python.layout.chain else {
            return None;
        };
        let [mut frame] = words::<1>(thread + first)?;
        if has_mark {
            [frame] = words::<1>(frame)?;
        }
        while frame != 0 {
            let words = words::<FRAME_WORDS>(frame)?;
            if part(&words, owner) as u8 == OWNED_BY_STACK {
                self.end_run(frame);
            } else {
                let code = part(&words, code);
                self.push(code, python.instruction(code, part(&words, last)))?;
            }
            frame = part(&words, back);
        }
        Some(())
    }

    fn push(&mut self, code: usize, at: i64) -> Option<()> {
        let Some(place) = self.frames.get_mut(self.count) else {
            self.is_truncated = true;
            return None;
        };
        *place = Running { code, at, word: 0 };
        self.count += 1;
        Some(())
    }

    /// The frames since the last run are one run, if there are any.
    fn end_run(&mut self, mark: usize) {
        let begin = self.begin_of(self.run_count);
        if self.count > begin {
            self.runs[self.run_count] = Run { end: self.count, mark };
            self.run_count += 1;
        }
    }

    fn begin_of(&self, run: usize) -> usize {
        run.checked_sub(1).map_or(0, |before| self.runs[before].end)
    }

    /// Puts the Python frames in the place of the native frame, if that frame is the evaluator's that runs them. `end` is where
    /// the native frame's caller has its stack.
    pub fn replace(
        &mut self,
        python: Option<&Python>,
        native: &Raw,
        end: usize,
        mut push: impl FnMut(u64),
    ) -> bool {
        let (Some(run), Some(python)) = (self.runs[..self.run_count].get(self.next).copied(), python) else {
            return false;
        };
        let is_evaluator = match run.mark {
            0 => python.is_evaluator(native.pc),
            mark => native.sp <= mark && mark < end,
        };
        if is_evaluator {
            self.frames[self.begin_of(self.next)..run.end].iter().for_each(|frame| push(frame.word));
            self.next += 1;
        }
        is_evaluator
    }

    /// What is left: frames whose evaluators were not found, because the walk has ended before. `has_mark` says that the stack has
    /// a mark already.
    pub fn rest(&mut self, has_mark: bool, mut push: impl FnMut(u64)) {
        let begin = self.begin_of(self.next);
        if begin < self.count {
            if !has_mark {
                push(frame::Frame::Gap.word());
            }
            self.frames[begin..self.count].iter().for_each(|frame| push(frame.word));
        }
        if self.is_truncated {
            push(frame::Frame::Truncated.word());
        }
        self.next = self.run_count;
    }
}
