//! The names and lines of code objects. They are copied when a place is first seen, because a code object can end before the
//! profile is written.

use std::sync::atomic::Ordering;

use super::cpython::Python;
use super::layout::CODE_WORDS as WORDS;
use super::lines::line_of;
use crate::frame::Frame;
use crate::memory::{gather, read, read_up_to, words};
use crate::tables::Tables;

/// The code objects that are read at once.
const BATCH: usize = 8;
/// The longest name, in bytes.
const LONGEST: usize = 1024;

/// A frame of Python code.
#[derive(Clone, Copy, Default)]
pub struct Running {
    /// The code object.
    pub code: usize,
    /// The instruction that runs, in bytes from the first one.
    pub at: i64,
    /// The word of its place, for the table of stacks.
    pub word: u64,
}

/// A place in a Python program. The strings are those of the table of strings.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The function's name; from 3.11 on the qualified one.
    pub name: u32,
    /// Its file.
    pub file: u32,
    /// The line that runs.
    pub line: u32,
    /// The line on which the function begins.
    pub first_line: u32,
}

impl Place {
    /// The place of an index in the table of functions; one without names for 0.
    pub fn get(tables: &Tables, index: u32) -> Self {
        if index == 0 {
            return Self::default();
        }
        let (words, _) = tables.functions.get(index).as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_ne_bytes(*word));
        let mut word = || words.next().unwrap_or(0);
        Self { name: word(), file: word(), line: word(), first_line: word() }
    }

    fn intern(self, tables: &Tables) -> Option<u32> {
        let Self { name, file, line, first_line } = self;
        let words = [name, file, line, first_line].map(u32::to_ne_bytes);
        tables.functions.intern(words.as_flattened())
    }
}

/// Gives each frame the word of its place.
pub fn place_of(python: &Python, tables: &Tables, frames: &mut [Running]) {
    for frames in frames.chunks_mut(BATCH) {
        let mut addresses = [0; BATCH];
        addresses.iter_mut().zip(&*frames).for_each(|(address, frame)| *address = frame.code);
        let mut batch = [0; BATCH * WORDS];
        let is_read = gather(&addresses[..frames.len()], WORDS, &mut batch);
        let (all, _) = batch.as_chunks::<WORDS>();
        for (frame, read) in frames.iter_mut().zip(all) {
            let read = if is_read { Some(*read) } else { words::<WORDS>(frame.code) };
            let place = read.and_then(|words| cached(python, tables, frame, &words));
            frame.word = Frame::Python(place.unwrap_or(0)).word();
        }
    }
}

/// The place, by the table of places that were seen. A code object that has taken the address of another one has other names
/// or lines.
fn cached(python: &Python, tables: &Tables, frame: &Running, code: &[usize; WORDS]) -> Option<u32> {
    const TYPE: usize = 1;
    if code[TYPE] != python.api.code_type() {
        return None;
    }
    let offsets = &python.layout.code;
    let word = |offset: usize| code[offset / 8] >> (offset % 8 * 8);
    let first_line = word(offsets.first_line) as u32;
    let [file, name, lines] = [offsets.file, offsets.name, offsets.lines].map(word);
    let at = (first_line as usize) | (frame.at as u32 as usize) << 32;
    let key = [frame.code, file, name, lines, at].map(usize::to_ne_bytes);
    let index = tables.places.intern(key.as_flattened())?;
    let known = &tables.places.counters(index)[0];
    match known.load(Ordering::Acquire) {
        0 => {
            let mut room = [0; LONGEST];
            let [name, file] = [name, file].map(|text| {
                let length = text_of(python, text, &mut room).unwrap_or(0);
                tables.strings.intern(&room[..length]).unwrap_or(0)
            });
            let bytes = Bytes::of(lines);
            let line = line_of(python.layout.table, bytes, first_line as i32, frame.at) as u32;
            let place = Place { name, file, line, first_line }.intern(tables)?;
            known.store(u64::from(place), Ordering::Release);
            Some(place)
        }
        place => Some(place as u32),
    }
}

/// Writes a string as UTF-8, and returns its length. What has no room is left out.
fn text_of(python: &Python, string: usize, room: &mut [u8; LONGEST]) -> Option<usize> {
    // Of PyUnicodeObject: the head of an object, the length, the hash, and bits.
    let [_, _, length, _, state] = words::<5>(string)?;
    let (kind, is_compact, is_ascii) = ((state >> 2) & 7, state & 32 != 0, state & 64 != 0);
    if !is_compact || !matches!(kind, 1 | 2 | 4) {
        return None;
    }
    if is_ascii {
        let length = length.min(room.len());
        read(string + python.layout.text.ascii, &mut room[..length])?;
        return Some(length);
    }
    let mut raw = [0; LONGEST];
    let raw = &mut raw[..length.saturating_mul(kind).min(LONGEST)];
    read(string + python.layout.text.other, raw)?;
    let mut count = 0;
    for unit in raw.chunks_exact(kind) {
        let number = unit.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let character = char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
        let Some(place) = room.get_mut(count..count + character.len_utf8()) else { break };
        count += character.encode_utf8(place).len();
    }
    Some(count)
}

/// The bytes of a bytes object, read piece by piece.
struct Bytes {
    next: usize,
    left: usize,
    piece: [u8; 256],
    at: usize,
    filled: usize,
}

impl Bytes {
    fn of(object: usize) -> Self {
        // Of PyBytesObject: the head of an object, the length, the hash.
        let length = words::<3>(object).map_or(0, |[_, _, length]| length);
        Self { next: object.wrapping_add(32), left: length, piece: [0; 256], at: 0, filled: 0 }
    }
}

impl Iterator for Bytes {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.at == self.filled {
            let wanted = self.left.min(self.piece.len());
            self.filled = read_up_to(self.next, &mut self.piece[..wanted]);
            self.at = 0;
            self.next += self.filled;
            self.left -= self.filled;
            if self.filled == 0 {
                return None;
            }
        }
        self.at += 1;
        Some(self.piece[self.at - 1])
    }
}
