//! The functions that V8's optimising compilers have put into the code of another one.
//!
//! Only one frame is on the stack for all of them. The code of that frame knows which function a call came from: by a table of
//! positions, by the chain of calls for each position, and by the list of the functions. But not every call has a position, and
//! the position before is that of another call. So the position must be verified: Turbofan's code lists the ends of the calls at
//! which it can be given up. Maglev's code does not from Node 24 on. A frame for which the position is not verified gets a mark.
//!
//! The code object is found without the function: one reads back from the return address to the header of the instructions,
//! whose second word is the code object. This says that its instructions start there. What is found in this way is right, whatever is in between. Each
//! object's type is checked before it is used.

use crate::frame::Frame;
use crate::memory;
use crate::tables::Tables;
use crate::v8::function::Functions;
use crate::v8::heap::{self, Value};
use crate::v8::layout::Layout;

/// The most functions in one another.
const DEEPEST: usize = 16;
/// Code that is larger is not looked at. (V8 inlines up to 60 KiB of bytecode.)
const LARGEST: usize = 256 << 10;
const PAGE: usize = 4096;
/// V8 aligns instructions to this.
const ALIGNMENT: usize = 32;
/// The longest header.
const HEADER: usize = 64;

/// A code object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Code {
    /// Where its instructions start; 0 for none.
    start: usize,
    code: Value,
    /// Identifies the code, if another object comes to the same address.
    deoptimization: Value,
}

/// What is known of a return address.
#[derive(Clone, Copy, Default)]
struct Seen {
    pc: usize,
    code: Code,
    count: u8,
    functions: [u32; DEEPEST],
    /// Which functions are inlined here cannot be told.
    is_unknown: bool,
}

/// The return addresses that were seen last.
pub struct Inlined {
    seen: Box<[Seen; 128]>,
}

impl Default for Inlined {
    fn default() -> Self {
        Self { seen: Box::new([Seen::default(); 128]) }
    }
}

impl Inlined {
    /// Calls the function for each function that is inlined at the return address, the innermost first.
    pub fn each(
        &mut self,
        layout: &Layout,
        tables: &Tables,
        functions: &mut Functions,
        pc: usize,
        mut with: impl FnMut(Frame),
    ) {
        let place = (pc.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57) % self.seen.len();
        let seen = &mut self.seen[place];
        if seen.pc != pc || !seen.code.is_still(layout, functions, pc) {
            let code = find(layout, functions, pc);
            *seen = Seen { pc, code: code.unwrap_or_default(), ..Seen::default() };
            if let Some(code) = code {
                let known = code.inlined_at(layout, functions, pc - code.start, |functions, shared| {
                    let function = functions.of_shared(layout, tables, shared)?;
                    *seen.functions.get_mut(usize::from(seen.count))? = function;
                    seen.count += 1;
                    Some(())
                });
                if known.is_none() {
                    (seen.is_unknown, seen.count) = (true, 0);
                }
            }
        }
        if seen.is_unknown {
            with(Frame::Inlined);
        }
        seen.functions[..usize::from(seen.count)]
            .iter()
            .for_each(|function| with(Frame::JavaScript(*function)));
    }
}

/// The code object whose instructions hold the return address.
fn find(layout: &Layout, functions: &mut Functions, pc: usize) -> Option<Code> {
    let lowest = pc.saturating_sub(LARGEST);
    // A page, with the header that may begin before it.
    let mut window = [0_usize; (PAGE + HEADER) / 8];
    let mut page = (pc - 1) & !(PAGE - 1);
    while page > lowest {
        // SAFETY: words are bytes.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(window.as_mut_ptr().cast::<u8>(), size_of_val(&window)) };
        memory::read(page - HEADER, bytes)?;
        let highest = (page + PAGE - ALIGNMENT).min((pc - 1) & !(ALIGNMENT - 1));
        for start in (page..=highest).rev().step_by(ALIGNMENT) {
            let value = window[(start - page + HEADER - layout.code_header) / 8 + 1];
            let code = Code { start, code: value, deoptimization: 0 };
            if is_likely_code(value)
                && let Some(code) = code.complete(layout, functions, pc)
            {
                return Some(code);
            }
        }
        page -= PAGE;
    }
    None
}

/// Whether it may be a pointer to a code object: most of what is among instructions is not, and is not asked for.
fn is_likely_code(value: Value) -> bool {
    value & 7 == 1 && (1 << 30..1 << 47).contains(&value)
}

impl Code {
    /// The code object, if it is one and has the return address in its instructions.
    fn complete(self, layout: &Layout, functions: &mut Functions, pc: usize) -> Option<Self> {
        self.checked(layout, functions, pc, &heap::object(self.code)?)
    }

    fn checked(
        self,
        layout: &Layout,
        functions: &mut Functions,
        pc: usize,
        words: &[usize; 8],
    ) -> Option<Self> {
        let size = half(words, layout.code_size) as usize;
        let is_code = words[layout.code_start / 8] == self.start
            && size <= LARGEST
            && (self.start + 1..=self.start + size).contains(&pc)
            && functions.maps.instance_type(layout, words[0])? == layout.types.code;
        is_code.then_some(Self { deoptimization: words[layout.code_deoptimization / 8], ..self })
    }

    /// Whether the return address is still in this code, or still in none.
    fn is_still(&self, layout: &Layout, functions: &mut Functions, pc: usize) -> bool {
        // To look for code that was not found takes long: once is enough.
        if self.start == 0 {
            return true;
        }
        let header = self.start - layout.code_header + 8;
        let read = heap::address(self.code).and_then(|code| memory::word_and_words(header, code));
        read.is_some_and(|(code, words)| {
            code == self.code && self.checked(layout, functions, pc, &words) == Some(*self)
        })
    }

    /// Calls the function with each inlined `SharedFunctionInfo`, the innermost first. `None` if they cannot be told.
    fn inlined_at(
        &self,
        layout: &Layout,
        functions: &mut Functions,
        offset: usize,
        mut with: impl FnMut(&mut Functions, Value) -> Option<()>,
    ) -> Option<()> {
        let words: [usize; 8] = heap::object(self.code)?;
        // Only Maglev and Turbofan inline.
        if half(&words, layout.code_flags) & 15 <= layout.kind_baseline {
            return Some(());
        }
        let types = &layout.types;
        let checked = |functions: &mut Functions, value: Value, wanted: &[u16]| {
            let kind = functions.maps.type_of(layout, value)?;
            wanted.contains(&kind).then(|| heap::array(value)).flatten()
        };
        let (count, elements) = checked(functions, self.deoptimization, &types.fixed_arrays)?;
        let data = Deoptimization { layout, count, elements };
        if data.integer(layout.inlined_functions)? == 0 {
            return Some(());
        }
        let (length, start) = checked(functions, words[layout.code_positions / 8], &types.byte_arrays)?;
        let (from, position) = Positions::new(start, length).at(offset - 1)?;
        if !data.is_position_of_call(from, offset)? {
            return None;
        }
        let (literal_count, literals) = heap::array(data.element(layout.literals)?)?;
        let (bytes, positions) =
            checked(functions, data.element(layout.inlining_positions)?, &types.byte_arrays)?;
        let mut next = inlining_of(position);
        for _ in 0..DEEPEST {
            let Some(index) = next else { return Some(()) };
            if (index + 1) * 16 > bytes {
                return None;
            }
            let [outer, function] = memory::words::<2>(positions + index * 16)?;
            let function = function as u32 as usize;
            if function >= literal_count {
                return None;
            }
            let [literal] = memory::words::<1>(literals + function * 8)?;
            // The reference may be a weak one.
            let mut literal = literal & !2;
            if types.shared_wrapper.is_some()
                && functions.maps.type_of(layout, literal) == types.shared_wrapper
            {
                literal = heap::field(literal, 8)?;
            }
            with(functions, literal)?;
            next = inlining_of(outer as i64);
        }
        None
    }
}

/// V8's `DeoptimizationData`: an array of a few values, and behind them three for each place where the code can be given up.
struct Deoptimization<'a> {
    layout: &'a Layout,
    count: usize,
    elements: usize,
}

impl Deoptimization<'_> {
    fn element(&self, index: usize) -> Option<Value> {
        (index < self.count)
            .then(|| memory::words::<1>(self.elements + index * 8).map(|[word]| word))
            .flatten()
    }

    fn integer(&self, index: usize) -> Option<usize> {
        usize::try_from(heap::integer(self.element(index)?)?).ok()
    }

    /// Whether the position from that offset on is that of the call which ends at the other one: it is if the code can be given
    /// up at the end of this call, and at the end of no call between.
    fn is_position_of_call(&self, from: usize, to: usize) -> Option<bool> {
        const ENTRY: usize = 3;
        const OFFSET: usize = 2;
        // Behind the list of inlined calls come where the exits start, and how many there are of each of two kinds.
        let first = self.layout.inlining_positions + 4;
        let entries = self.integer(first - 2)? + self.integer(first - 1)?;
        // If this is not so, the array is not what it is taken for.
        if self.count != first + entries * ENTRY {
            return None;
        }
        let mut is_end = false;
        for index in 0..entries {
            let [end] = memory::words::<1>(self.elements + (first + index * ENTRY + OFFSET) * 8)?;
            // Where there is no call it is -1.
            let Ok(end) = usize::try_from(heap::integer(end)?) else { continue };
            if from < end && end < to {
                return Some(false);
            }
            is_end |= end == to;
        }
        Some(is_end)
    }
}

fn half(words: &[usize; 8], offset: usize) -> u32 {
    (words[offset / 8] >> (offset % 8 * 8)) as u32
}

/// The place in the list of inlined calls (V8's `SourcePosition`: 16 bits, of which 0 is none).
fn inlining_of(position: i64) -> Option<usize> {
    (((position >> 31) & 0xffff) as usize).checked_sub(1)
}

/// V8's table of positions: pairs of differences, each as a number of variable length.
struct Positions {
    next: usize,
    end: usize,
    buffer: [u8; 256],
    at: usize,
    read: usize,
}

impl Positions {
    fn new(start: usize, length: usize) -> Self {
        Self { next: start, end: start + length, buffer: [0; 256], at: 0, read: 0 }
    }

    /// The last position at or before that offset, with the offset for which it is.
    fn at(&mut self, offset: usize) -> Option<(usize, i64)> {
        let (mut code, mut position) = (0_i64, 0_i64);
        let mut found = None;
        while let Some(step) = self.number() {
            // A negative step is that of an expression, and one less.
            code += if step < 0 { -step - 1 } else { step };
            position += self.number()?;
            let start = usize::try_from(code).ok()?;
            if start > offset {
                break;
            }
            found = Some((start, position));
        }
        found
    }

    fn number(&mut self) -> Option<i64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
    }

    fn byte(&mut self) -> Option<u8> {
        if self.at == self.read {
            let wanted = self.buffer.len().min(self.end - self.next);
            if wanted == 0 {
                return None;
            }
            memory::read(self.next, &mut self.buffer[..wanted])?;
            (self.next, self.at, self.read) = (self.next + wanted, 0, wanted);
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(pairs: &[(i64, i64)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in pairs.iter().flat_map(|(code, position)| [*code, *position]) {
            let mut number = ((number << 1) ^ (number >> 63)) as u64;
            while number >= 0x80 {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
        }
        bytes
    }

    #[test]
    fn a_table_of_positions_is_read() {
        // Offsets 0, 10, 15 and 400; the second one is an expression's.
        let table = encode(&[(0, 100), (-11, 1 << 33), (5, -50), (385, 7)]);
        let of = |offset| Positions::new(table.as_ptr().addr(), table.len()).at(offset);
        assert_eq!(of(0), Some((0, 100)));
        assert_eq!(of(9), Some((0, 100)));
        assert_eq!(of(10), Some((10, 100 + (1 << 33))));
        assert_eq!(of(15), Some((15, 50 + (1 << 33))));
        assert_eq!(of(1000), Some((400, 57 + (1 << 33))));
        assert_eq!(inlining_of(of(0).unwrap().1), None);
        assert_eq!(inlining_of(of(10).unwrap().1), Some(3));
    }

    #[test]
    fn a_long_or_broken_table_ends() {
        let table = encode(&[(1, 1); 1000]);
        assert_eq!(Positions::new(table.as_ptr().addr(), table.len()).at(1 << 20), Some((1000, 1000)));
        assert_eq!(Positions::new(table.as_ptr().addr(), 1).at(5), None);
        let endless = [0xff_u8; 64];
        assert_eq!(Positions::new(endless.as_ptr().addr(), endless.len()).at(5), None);
        assert_eq!(Positions::new(8, 100).at(5), None);
    }
}
