//! V8's objects. The kernel reads them: what looks like a pointer to one may be none.

use crate::memory;
use crate::v8::layout::Layout;

/// A value in a field: a small integer, or a pointer to an object with a 1 in its lowest bit.
pub type Value = usize;

/// The small integer, if the value is one.
pub fn integer(value: Value) -> Option<i32> {
    (value & 0xffff_ffff == 0).then_some((value as i64 >> 32) as i32)
}

/// The address of the object, if the value is a pointer to one.
pub fn address(value: Value) -> Option<usize> {
    (value & 3 == 1).then(|| value - 1)
}

/// The first words of an object.
pub fn object<const WORDS: usize>(value: Value) -> Option<[usize; WORDS]> {
    memory::words(address(value)?)
}

/// A word of an object, by its offset.
pub fn field(value: Value, offset: usize) -> Option<Value> {
    memory::words::<1>(address(value)? + offset).map(|[word]| word)
}

/// The types of the maps that were seen last. The maps of most objects here never move and never die; for another map, every
/// later read is checked as well.
pub struct Maps([(Value, u16); 64]);

impl Default for Maps {
    fn default() -> Self {
        Self([(0, 0); 64])
    }
}

impl Maps {
    /// The instance type of an object with that map.
    pub fn instance_type(&mut self, layout: &Layout, map: Value) -> Option<u16> {
        let known = &mut self.0[(map >> 4) % 64];
        if known.0 != map {
            let start = address(map)?;
            let mut bytes = [0; 2];
            memory::read(start + layout.map_type, &mut bytes)?;
            *known = (map, u16::from_ne_bytes(bytes));
        }
        Some(known.1)
    }

    /// The instance type of an object.
    pub fn type_of(&mut self, layout: &Layout, value: Value) -> Option<u16> {
        let [map] = object(value)?;
        self.instance_type(layout, map)
    }
}

/// An array's length and the address of its first element.
pub fn array(value: Value) -> Option<(usize, usize)> {
    let [_, length] = object(value)?;
    Some((usize::try_from(integer(length)?).ok()?, address(value)? + 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_integers_or_pointers() {
        assert_eq!(integer(7 << 32), Some(7));
        assert_eq!(integer((-7_i64 << 32) as usize), Some(-7));
        assert_eq!(integer(0x1001), None);
        assert_eq!(address(0x1001), Some(0x1000));
        assert_eq!(address(0x1003), None);
        assert_eq!(address(7 << 32), None);
        assert_eq!(object::<2>(0x11), None);
    }
}
