//! V8's strings.

use crate::memory;
use crate::v8::heap::{self, Maps, Value};
use crate::v8::layout::Layout;

/// A string whose characters lie one after another.
#[derive(Clone, Copy, Debug)]
pub struct Flat {
    start: usize,
    length: usize,
    is_one_byte: bool,
}

// The bits of a string's instance type.
const REPRESENTATION: u16 = 7;
const SEQUENTIAL: u16 = 0;
const CONS: u16 = 1;
const EXTERNAL: u16 = 2;
const SLICED: u16 = 3;
const THIN: u16 = 5;
const ONE_BYTE: u16 = 8;
/// The string does not know where its characters are.
const UNCACHED: u16 = 16;

const CHARACTERS: usize = 16;

/// The characters of a string, if they lie one after another.
pub fn flat(layout: &Layout, maps: &mut Maps, string: Value) -> Option<Flat> {
    let (mut string, mut skipped, mut length) = (string, 0_usize, None);
    for _ in 0..4 {
        let [map, second] = heap::object(string)?;
        let own_length = second >> 32;
        let kind = maps.instance_type(layout, map).filter(|kind| *kind < layout.types.first_non_string)?;
        let wanted = *length.get_or_insert(own_length);
        match kind & REPRESENTATION {
            SEQUENTIAL | EXTERNAL => {
                let start = match kind & REPRESENTATION {
                    SEQUENTIAL => heap::address(string)? + CHARACTERS,
                    _ if kind & UNCACHED != 0 => return None,
                    _ => heap::field(string, 24)?,
                };
                let is_one_byte = kind & ONE_BYTE != 0;
                let start = start + if is_one_byte { skipped } else { 2 * skipped };
                return (skipped + wanted <= own_length).then_some(Flat {
                    start,
                    length: wanted,
                    is_one_byte,
                });
            }
            THIN => string = heap::field(string, 16)?,
            SLICED => {
                skipped += usize::try_from(heap::integer(heap::field(string, 24)?)?).ok()?;
                string = heap::field(string, 16)?;
            }
            // V8 makes one part of it where it needs the characters in a row, and leaves the second one empty.
            CONS => {
                let [_, _, first, rest] = heap::object(string)?;
                let [_, rest] = heap::object(rest)?;
                if rest >> 32 != 0 {
                    return None;
                }
                string = first;
            }
            _ => return None,
        }
    }
    None
}

/// Reads a string as UTF-8 into the buffer, and returns how many bytes it has. A longer one is cut.
pub fn read(layout: &Layout, maps: &mut Maps, string: Value, buffer: &mut [u8]) -> Option<usize> {
    read_parts(layout, maps, string, buffer, 0)
}

fn read_parts(
    layout: &Layout,
    maps: &mut Maps,
    string: Value,
    buffer: &mut [u8],
    depth: usize,
) -> Option<usize> {
    if let Some(flat) = flat(layout, maps, string) {
        return Some(flat.write(buffer));
    }
    let [map, _, first, second] = heap::object(string)?;
    let kind = maps.instance_type(layout, map).filter(|kind| *kind < layout.types.first_non_string)?;
    if kind & REPRESENTATION != CONS || depth > 8 {
        return None;
    }
    let written = read_parts(layout, maps, first, buffer, depth + 1)?;
    Some(written + read_parts(layout, maps, second, &mut buffer[written..], depth + 1)?)
}

impl Flat {
    fn write(&self, buffer: &mut [u8]) -> usize {
        let mut written = 0;
        let mut units = [0_u16; 64];
        let mut at = 0;
        while at < self.length {
            let count = self.units(at, &mut units);
            if count == 0 {
                return written;
            }
            for character in char::decode_utf16(units[..count].iter().copied()) {
                let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                if written + character.len_utf8() > buffer.len() {
                    return written;
                }
                written += character.encode_utf8(&mut buffer[written..]).len();
            }
            at += count;
        }
        written
    }

    /// Reads characters from an index on, and returns how many.
    fn units(&self, at: usize, units: &mut [u16; 64]) -> usize {
        let count = units.len().min(self.length - at);
        let mut bytes = [0_u8; 128];
        let width = if self.is_one_byte { 1 } else { 2 };
        if memory::read(self.start + at * width, &mut bytes[..count * width]).is_none() {
            return 0;
        }
        for (index, unit) in units[..count].iter_mut().enumerate() {
            *unit = match self.is_one_byte {
                true => u16::from(bytes[index]),
                false => u16::from_ne_bytes([bytes[2 * index], bytes[2 * index + 1]]),
            };
        }
        count
    }

    /// The line and the column of a character, from 0.
    pub fn line_and_column(&self, position: usize) -> Option<(usize, usize)> {
        if position > self.length {
            return None;
        }
        let width = if self.is_one_byte { 1 } else { 2 };
        let (mut lines, mut line_start) = (0, 0);
        let mut buffer = [0_u8; 4096];
        let mut at = 0;
        while at < position {
            let count = (buffer.len() / width).min(position - at);
            let bytes = &mut buffer[..count * width];
            memory::read(self.start + at * width, bytes)?;
            if self.is_one_byte {
                lines += memchr::memchr_iter(b'\n', bytes).count();
                line_start = memchr::memrchr(b'\n', bytes).map_or(line_start, |last| at + last + 1);
            } else {
                let (units, _) = bytes.as_chunks::<2>();
                let ends = |unit: &[u8; 2]| *unit == u16::from(b'\n').to_ne_bytes();
                lines += units.iter().filter(|unit| ends(unit)).count();
                line_start = units.iter().rposition(ends).map_or(line_start, |last| at + last + 1);
            }
            at += count;
        }
        Some((lines, position - line_start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines() {
        let text = format!("{}\nfour\n", "line\n".repeat(3000));
        let of = |position| {
            Flat { start: text.as_ptr().addr(), length: text.len(), is_one_byte: true }
                .line_and_column(position)
        };
        assert_eq!(of(0), Some((0, 0)));
        assert_eq!(of(4), Some((0, 4)));
        assert_eq!(of(5), Some((1, 0)));
        assert_eq!(of(15_003), Some((3001, 2)));
        assert_eq!(of(text.len() + 1), None);
        let wide: Vec<u16> = text.encode_utf16().collect();
        let flat = Flat { start: wide.as_ptr().addr(), length: wide.len(), is_one_byte: false };
        assert_eq!(flat.line_and_column(15_003), Some((3001, 2)));
    }

    #[test]
    fn writes_utf8_and_cuts() {
        let wide: Vec<u16> = "grüß 🙂".encode_utf16().collect();
        let flat = Flat { start: wide.as_ptr().addr(), length: wide.len(), is_one_byte: false };
        let mut buffer = [0; 32];
        let written = flat.write(&mut buffer);
        assert_eq!(str::from_utf8(&buffer[..written]), Ok("grüß 🙂"));
        let written = flat.write(&mut buffer[..3]);
        assert_eq!(str::from_utf8(&buffer[..written]), Ok("gr"));
    }
}
