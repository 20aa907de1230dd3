//! Which function a frame is of: its name, its file, and where it begins.

use crate::memory;
use crate::tables::Tables;
use crate::v8::heap::{self, Maps, Value};
use crate::v8::layout::Layout;
use crate::v8::strings;

/// A JavaScript function, as the table of functions has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// In the table of strings; 0 for a function without a name.
    pub name: u32,
    /// In the table of strings; 0 for a function of V8's own.
    pub file: u32,
    /// Where it begins, from 1; 0 if that is not known.
    pub line: u32,
    /// The same, in the line.
    pub column: u32,
}

impl Function {
    fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (place, number) in
            bytes.as_chunks_mut::<4>().0.iter_mut().zip([self.name, self.file, self.line, self.column])
        {
            *place = number.to_ne_bytes();
        }
        bytes
    }

    /// The function of an index.
    pub fn get(tables: &Tables, index: u32) -> Self {
        let mut numbers = [0; 4];
        let (words, _) = tables.functions.get(index).as_chunks::<4>();
        for (number, word) in numbers.iter_mut().zip(words) {
            *number = u32::from_ne_bytes(*word);
        }
        let [name, file, line, column] = numbers;
        Self { name, file, line, column }
    }
}

/// What is the same for as long as a function's script lives: objects of V8's that may move, and the script's number.
type Identity = (Value, Value, u32);

/// The functions that were seen last.
pub struct Functions {
    pub maps: Maps,
    seen: Box<[(Identity, u32); 512]>,
    words: Box<[usize; memory::MOST * SCRIPT]>,
}

impl Default for Functions {
    fn default() -> Self {
        let (seen, words) = (Box::new([((0, 0, 0), 0); 512]), Box::new([0; memory::MOST * SCRIPT]));
        Self { maps: Maps::default(), seen, words }
    }
}

// How many words of an object are read.
const FUNCTION: usize = 5;
const SHARED: usize = 7;
const SCRIPT: usize = 10;

impl Functions {
    /// The functions that frames have in the place of their function; 0 for none. A system call reads as many objects as there are
    /// frames: one for each would cost most of what a sample costs.
    pub fn of_slots(&mut self, layout: &Layout, tables: &Tables, slots: &[Value], found: &mut [u32]) {
        found.fill(0);
        if self.gather(layout, tables, slots, found).is_none() {
            // One of them is not what it seems to be.
            for (slot, found) in slots.iter().zip(found) {
                *found = self.of_slot(layout, tables, *slot).unwrap_or(0);
            }
        }
    }

    fn gather(&mut self, layout: &Layout, tables: &Tables, slots: &[Value], found: &mut [u32]) -> Option<()> {
        let mut places = [0_usize; memory::MOST];
        let mut objects = [0_usize; memory::MOST];
        let mut count = 0;
        let starts =
            slots.iter().enumerate().filter_map(|(place, slot)| Some((place, heap::address(*slot)?)));
        for (place, start) in starts {
            (*places.get_mut(count)?, *objects.get_mut(count)?) = (place, start);
            count += 1;
        }
        let read =
            |words: &mut [usize], objects: &[usize], each| memory::gather(objects, each, words).then_some(());
        read(&mut self.words[..], &objects[..count], FUNCTION)?;
        for (words, object) in self.words.chunks(FUNCTION).zip(&mut objects[..count]) {
            let (map, shared) = (words[0], words[layout.function_shared / 8]);
            if !layout.types.functions.contains(&self.maps.instance_type(layout, map)?) {
                return None;
            }
            *object = heap::address(shared)?;
        }
        read(&mut self.words[..], &objects[..count], SHARED)?;
        let mut identities = [(0, 0); memory::MOST];
        for index in 0..count {
            let words = &self.words[index * SHARED..][..SHARED];
            let (map, name) = (words[0], words[layout.shared_name / 8]);
            let script = words[layout.shared_script / 8];
            if self.maps.instance_type(layout, map)? != layout.types.shared {
                return None;
            }
            identities[index] = (objects[index] + 1, name);
            objects[index] = heap::address(script)?;
        }
        read(&mut self.words[..], &objects[..count], SCRIPT)?;
        for index in 0..count {
            let mut script = [0; SCRIPT];
            script.copy_from_slice(&self.words[index * SCRIPT..][..SCRIPT]);
            let is_script = self.maps.instance_type(layout, script[0])? == layout.types.script;
            let (shared, name) = identities[index];
            let function = self.known(layout, tables, shared, name, is_script.then_some(script));
            found[places[index]] = function.unwrap_or(0);
        }
        Some(())
    }

    /// The function that a frame has in the place of its function. `None` if there is none.
    fn of_slot(&mut self, layout: &Layout, tables: &Tables, slot: Value) -> Option<u32> {
        let words: [usize; FUNCTION] = heap::object(slot)?;
        if !layout.types.functions.contains(&self.maps.instance_type(layout, words[0])?) {
            return None;
        }
        self.of_shared(layout, tables, words[layout.function_shared / 8])
    }

    /// The function with that `SharedFunctionInfo`.
    pub fn of_shared(&mut self, layout: &Layout, tables: &Tables, shared: Value) -> Option<u32> {
        let words: [usize; SHARED] = heap::object(shared)?;
        if self.maps.instance_type(layout, words[0])? != layout.types.shared {
            return None;
        }
        let script = heap::object::<SCRIPT>(words[layout.shared_script / 8]).filter(|script| {
            // A function that is being debugged has the script behind one more object, at a place that is not exported.
            self.maps.instance_type(layout, script[0]) == Some(layout.types.script)
        });
        self.known(layout, tables, shared, words[layout.shared_name / 8], script)
    }

    fn known(
        &mut self,
        layout: &Layout,
        tables: &Tables,
        shared: Value,
        name: Value,
        script: Option<[usize; SCRIPT]>,
    ) -> Option<u32> {
        let id = script.map_or(0, |script| script[layout.script_id / 8] >> 32) as u32;
        let identity = (shared, name, id);
        let place = (shared >> 3 ^ name >> 3 ^ id as usize) % self.seen.len();
        if self.seen[place].0 == identity {
            return Some(self.seen[place].1);
        }
        let function = self.read(layout, tables, name, script);
        let index = tables.functions.intern(&function.bytes())?;
        self.seen[place] = (identity, index);
        Some(index)
    }

    fn read(
        &mut self,
        layout: &Layout,
        tables: &Tables,
        name: Value,
        script: Option<[usize; SCRIPT]>,
    ) -> Function {
        let is_scope = self.maps.type_of(layout, name) == Some(layout.types.scope);
        let mut buffer = [0; 256];
        let (text, start) = match is_scope {
            true => self.scope(layout, name, &mut buffer),
            false => (strings::read(layout, &mut self.maps, name, &mut buffer).unwrap_or(0), None),
        };
        let mut function = Function { name: intern(tables, &buffer[..text]), ..Function::default() };
        let Some(script) = script else { return function };
        let mut buffer = [0; 1024];
        let text = strings::read(layout, &mut self.maps, script[layout.script_name / 8], &mut buffer);
        function.file = intern(tables, &buffer[..text.unwrap_or(0)]);
        if let Some((line, column)) = start.and_then(|start| self.line_and_column(layout, &script, start)) {
            let offset =
                |at: usize| heap::integer(script[at / 8]).and_then(|offset| u32::try_from(offset).ok());
            let first = if line == 0 { offset(layout.script_column_offset).unwrap_or(0) } else { 0 };
            function.line = line as u32 + offset(layout.script_line_offset).unwrap_or(0) + 1;
            function.column = column as u32 + first + 1;
        }
        function
    }

    fn line_and_column(
        &mut self,
        layout: &Layout,
        script: &[usize; SCRIPT],
        position: usize,
    ) -> Option<(usize, usize)> {
        let ends = script[layout.script_line_ends / 8];
        if self.maps.type_of(layout, ends) == Some(layout.types.fixed_array)
            && let Some((count, first)) = heap::array(ends)
            && count > 0
        {
            return by_line_ends(count, first, position);
        }
        strings::flat(layout, &mut self.maps, script[layout.script_source / 8])?.line_and_column(position)
    }

    /// The function's name and where it begins, by its scope. Before the name come the local names, of which there may be many,
    /// and what else is there depends on flags whose places are not exported. But the name is the first string behind the
    /// locals, and the position is two integers before the scope around, or before the object's end, where the map of the next
    /// object is.
    fn scope(&mut self, layout: &Layout, scope: Value, name: &mut [u8]) -> (usize, Option<usize>) {
        const LOOKED_AT: usize = 12;
        /// The name, or else the name that V8 inferred, is among the first words; behind it a module has its variables' names.
        const NAMES: usize = 4;
        let nothing = (0, None);
        let Some(head) = heap::object::<7>(scope)
            .map(|words| [words[1], words[2], words[3], words[4], words[5], words[6]])
        else {
            return nothing;
        };
        let Some(locals) =
            heap::integer(head[layout.scope_locals]).and_then(|count| usize::try_from(count).ok())
        else {
            return nothing;
        };
        // Of so many the names are in a table of their own.
        let names = if locals < 75 { locals } else { 1 };
        let first = layout.scope_first + names + locals;
        let mut bytes = [0_u8; LOOKED_AT * 8];
        let Some(start) = heap::address(scope).map(|start| start + 8 + first * 8) else { return nothing };
        let read = memory::read_up_to(start, &mut bytes) / 8;
        let mut words = [0; LOOKED_AT];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = usize::from_ne_bytes(*bytes);
        }
        let words = &words[..read];
        let mut length = 0;
        let mut position = layout.scope_position.and_then(|at| heap::integer(head[at]));
        for (index, word) in words.iter().enumerate() {
            let Some(kind) = heap::address(*word).and_then(|_| self.maps.type_of(layout, *word)) else {
                continue;
            };
            if kind < layout.types.first_non_string && length == 0 && index < NAMES {
                length = strings::read(layout, &mut self.maps, *word, name).unwrap_or(0);
            } else if kind == layout.types.scope || kind == layout.types.map {
                let before =
                    |distance: usize| index.checked_sub(distance).and_then(|at| heap::integer(words[at]));
                position = position.or_else(|| before(1).and(before(2)));
                break;
            }
        }
        (length, position.and_then(|position| usize::try_from(position).ok()))
    }
}

fn intern(tables: &Tables, text: &[u8]) -> u32 {
    if text.is_empty() { 0 } else { tables.strings.intern(text).unwrap_or(0) }
}

/// The line and column of a position, by the positions at which the lines end.
fn by_line_ends(count: usize, first: usize, position: usize) -> Option<(usize, usize)> {
    let end = |line: usize| {
        let [value] = memory::words::<1>(first + line * 8)?;
        usize::try_from(heap::integer(value)?).ok()
    };
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if end(middle)? < position {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let start = if low == 0 { 0 } else { end(low - 1)? + 1 };
    Some((low, position.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_in_a_line() {
        let ends: Vec<usize> = [4_usize, 9, 20].map(|end| end << 32).to_vec();
        let of = |position| by_line_ends(ends.len(), ends.as_ptr().addr(), position);
        assert_eq!(of(0), Some((0, 0)));
        assert_eq!(of(4), Some((0, 4)));
        assert_eq!(of(5), Some((1, 0)));
        assert_eq!(of(20), Some((2, 10)));
    }

    #[test]
    fn a_function_is_four_numbers() {
        let tables = Tables::get_or_make().unwrap();
        let function = Function { name: 1, file: 2, line: 3, column: 4 };
        let index = tables.functions.intern(&function.bytes()).unwrap();
        assert_eq!(Function::get(tables, index), function);
    }
}
