//! What the options of all allocators have in common.

/// Variables with their values.
pub type Variables = Vec<(Vec<u8>, Vec<u8>)>;

/// What a value must be, if it is not that; or who has which options, if not this one.
pub type Judged = Result<Option<String>, (&'static str, Vec<&'static str>)>;

/// Sets what stands under the key, or adds it.
pub fn put<Key: PartialEq, Value>(list: &mut Vec<(Key, Value)>, key: Key, value: Value) {
    match list.iter_mut().find(|(other, _)| *other == key) {
        Some((_, old)) => *old = value,
        None => list.push((key, value)),
    }
}

/// The value of the option that is this package's own, `idle_release`, if it is one.
pub fn switch(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// What it must be.
pub const SWITCH: &str = "true or false";
