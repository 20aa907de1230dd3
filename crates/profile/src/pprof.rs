//! The format of profiles that `go tool pprof`, speedscope, Pyroscope and Parca read: a gzipped protocol buffer
//! (<https://github.com/google/pprof/blob/main/proto/profile.proto>).

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// A profile.
#[derive(Default)]
pub struct Profile {
    strings: Interned<String>,
    functions: Interned<Function>,
    locations: Interned<Location>,
    mappings: Interned<Mapping>,
    samples: Message,
}

/// Each value once, numbered from 0.
struct Interned<T> {
    numbers: HashMap<T, u64>,
    values: Vec<T>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    fn number(&mut self, value: T) -> u64 {
        let next = self.values.len() as u64;
        *self.numbers.entry(value).or_insert_with_key(|value| {
            self.values.push(value.clone());
            next
        })
    }
}

/// A function. The strings are numbers of [`Profile::string`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// The name for people.
    pub name: u64,
    /// The name in the file.
    pub system_name: u64,
    /// The source file.
    pub file: u64,
    /// Where it begins; 0 if that is not known.
    pub line: u64,
}

/// A place in a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The number of [`Profile::function`].
    pub function: u64,
    /// The number of [`Profile::mapping`].
    pub mapping: Option<u64>,
    /// The address in this process; 0 for JavaScript.
    pub address: u64,
    /// The line and the column; 0 if they are not known.
    pub line: u64,
    /// The same, in the line.
    pub column: u64,
}

/// What is mapped from a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// The first address.
    pub start: u64,
    /// The address behind the last one.
    pub end: u64,
    /// The place in the file.
    pub offset: u64,
    /// The file's name.
    pub file: u64,
    /// The file's build id, in hexadecimal.
    pub build_id: u64,
}

/// The value of a label.
#[derive(Clone, Copy, Debug)]
pub enum Label {
    /// A number of [`Profile::string`].
    Text(u64),
    /// A number.
    Number(i64),
}

/// What is true of the whole profile.
pub struct About<'a> {
    /// When it was made, in nanoseconds since 1970.
    pub time: i64,
    /// How long it ran, in nanoseconds.
    pub duration: i64,
    /// The mean distance of two samples, in bytes.
    pub interval: i64,
    /// Sentences for the reader.
    pub comments: &'a [String],
}

/// The values of each sample, in their order, with their units. The last one is what a viewer shows first.
const VALUES: [(&str, &str); 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

impl Profile {
    /// An empty profile.
    pub fn new() -> Self {
        let mut profile = Self::default();
        // The format wants it first.
        profile.string("");
        profile
    }

    /// The number of a string.
    pub fn string(&mut self, text: &str) -> u64 {
        match self.strings.numbers.get(text) {
            Some(number) => *number,
            None => self.strings.number(text.to_owned()),
        }
    }

    /// The number of a function.
    pub fn function(&mut self, function: Function) -> u64 {
        self.functions.number(function)
    }

    /// The number of a mapping.
    pub fn mapping(&mut self, mapping: Mapping) -> u64 {
        self.mappings.number(mapping)
    }

    /// The number of a location.
    pub fn location(&mut self, location: Location) -> u64 {
        self.locations.number(location)
    }

    /// Adds a sample: its locations, the innermost first, its values and its labels by the number of their key.
    pub fn sample(&mut self, locations: &[u64], values: [i64; 4], labels: &[(u64, Label)]) {
        let mut sample = Message::default();
        sample.packed(1, locations.iter().map(|location| location + 1));
        sample.packed(2, values.map(|value| value as u64).into_iter());
        for (key, value) in labels {
            let mut label = Message::default();
            label.number(1, *key);
            match value {
                Label::Text(text) => label.number(2, *text),
                Label::Number(number) => label.number(3, *number as u64),
            }
            sample.message(3, &label);
        }
        self.samples.message(2, &sample);
    }

    /// The file's bytes.
    pub fn encode(mut self, about: &About<'_>) -> Vec<u8> {
        let mut profile = Message::default();
        let type_of = |profile: &mut Self, (name, unit): (&str, &str)| {
            let mut value = Message::default();
            value.number(1, profile.string(name));
            value.number(2, profile.string(unit));
            value
        };
        for value in VALUES {
            profile.message(1, &type_of(&mut self, value));
        }
        profile.bytes.extend(&self.samples.bytes);
        for (id, mapping) in (1..).zip(&self.mappings.values) {
            let mut message = Message::default();
            message.number(1, id);
            message.number(2, mapping.start);
            message.number(3, mapping.end);
            message.number(4, mapping.offset);
            message.number(5, mapping.file);
            message.number(6, mapping.build_id);
            // The names are in the profile, so no viewer must look for them.
            message.number(7, 1);
            profile.message(3, &message);
        }
        for (id, location) in (1..).zip(&self.locations.values) {
            let mut line = Message::default();
            line.number(1, location.function + 1);
            line.number(2, location.line);
            line.number(3, location.column);
            let mut message = Message::default();
            message.number(1, id);
            message.number(2, location.mapping.map_or(0, |mapping| mapping + 1));
            message.number(3, location.address);
            message.message(4, &line);
            profile.message(4, &message);
        }
        for (id, function) in (1..).zip(&self.functions.values) {
            let mut message = Message::default();
            message.number(1, id);
            message.number(2, function.name);
            message.number(3, function.system_name);
            message.number(4, function.file);
            message.number(5, function.line);
            profile.message(5, &message);
        }
        let period = type_of(&mut self, ("space", "bytes"));
        let shown = self.string(VALUES[3].0);
        let comments: Vec<u64> = about.comments.iter().map(|comment| self.string(comment)).collect();
        for text in &self.strings.values {
            profile.text(6, text);
        }
        profile.number(9, about.time as u64);
        profile.number(10, about.duration as u64);
        profile.message(11, &period);
        profile.number(12, about.interval as u64);
        profile.packed(13, comments.into_iter());
        profile.number(14, shown);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        // A vector takes everything.
        let written = gzip.write_all(&profile.bytes).and_then(|()| gzip.finish());
        written.unwrap_or_default()
    }
}

/// A message of a protocol buffer (<https://protobuf.dev/programming-guides/encoding/>).
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
}

const NUMBER: u64 = 0;
const BYTES: u64 = 2;

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// A field that is 0 is left out.
    fn number(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.varint(field << 3 | NUMBER);
            self.varint(number);
        }
    }

    fn content(&mut self, field: u64, content: &[u8]) {
        self.varint(field << 3 | BYTES);
        self.varint(content.len() as u64);
        self.bytes.extend(content);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.content(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.content(field, &message.bytes);
    }

    fn packed(&mut self, field: u64, numbers: impl Iterator<Item = u64>) {
        let mut packed = Message::default();
        numbers.for_each(|number| packed.varint(number));
        if !packed.bytes.is_empty() {
            self.message(field, &packed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_encoded() {
        let mut message = Message::default();
        message.number(1, 150);
        message.number(2, 0);
        message.packed(3, [1, 300].into_iter());
        message.text(4, "hi");
        message.number(5, -1_i64 as u64);
        let minus_one = [0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let start = [0x08, 0x96, 0x01, 0x1a, 0x03, 0x01, 0xac, 0x02, 0x22, 0x02, b'h', b'i'];
        assert_eq!(message.bytes, [start.as_slice(), &minus_one].concat());
    }

    #[test]
    fn the_same_value_has_the_same_number() {
        let mut profile = Profile::new();
        let [a, b] = [profile.string("a"), profile.string("b")];
        assert_eq!((a, b, profile.string("a")), (1, 2, 1));
        let function = |name| Function { name, system_name: name, file: 0, line: 0 };
        assert_eq!(profile.function(function(1)), 0);
        assert_eq!(profile.function(function(2)), 1);
        assert_eq!(profile.function(function(1)), 0);
    }
}
