//! A copy of the tables of a profile, and the file with this copy.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::frame::Frame;
use crate::pprof::{About, Function, Label, Location, Mapping, Profile};
use crate::python::Place;
use crate::rules::{Known, MODULES};
use crate::sampler::weight;
use crate::symbols::{self, Names};
use crate::tables::{PARTS, Tables};
use crate::v8;

/// A copy of the tables.
pub struct Gathered {
    /// The allocator whose blocks were sampled.
    pub allocator: String,
    /// The mean distance of two samples, in bytes.
    pub interval: u64,
    /// When the profile was started.
    pub started: SystemTime,
    /// Sentences for the reader.
    pub comments: Vec<String>,
    duration: Duration,
    stacks: Vec<Stack>,
    functions: HashMap<u32, JavaScript>,
    places: HashMap<u32, Python>,
    modules: Vec<Mapped>,
}

/// What the stacks had at a moment, by their indices, which stay as long as the profile runs.
pub struct Mark {
    session: u32,
    time: SystemTime,
    stacks: HashMap<u32, [f64; 4]>,
}

struct Stack {
    index: u32,
    thread: String,
    thread_id: u32,
    frames: Vec<Frame>,
    allocated: [f64; 2],
    in_use: [f64; 2],
}

struct JavaScript {
    name: String,
    file: String,
    line: u32,
    column: u32,
}

struct Python {
    name: String,
    file: String,
    line: u32,
    first_line: u32,
}

/// A module, without what the unwinder needs.
struct Mapped {
    base: usize,
    path: PathBuf,
    build_id: Vec<u8>,
    segments: Vec<(Range<usize>, u64)>,
}

impl Gathered {
    /// Copies the tables. Samples go on meanwhile; but no profile starts.
    pub fn new(tables: &Tables, allocator: String, interval: u64, started: SystemTime) -> Self {
        let mut in_use: HashMap<u32, [f64; 2]> = HashMap::new();
        tables.live.each(|sample| {
            let weight = weight(sample.size, interval);
            let [objects, bytes] = in_use.entry(sample.stack).or_default();
            *objects += weight;
            *bytes += weight * sample.size as f64;
        });
        let text = |string: u32| match string {
            0 => String::new(),
            string => String::from_utf8_lossy(tables.strings.get(string)).into_owned(),
        };
        let (mut functions, mut places) = (HashMap::new(), HashMap::new());
        let mut stacks = Vec::new();
        let mut take = |index: u32, label: u64, frames: Vec<Frame>, allocated: [f64; 2]| {
            for frame in &frames {
                if let Frame::Python(place) = frame {
                    places.entry(*place).or_insert_with(|| {
                        let Place { name, file, line, first_line } = Place::get(tables, *place);
                        Python { name: text(name), file: text(file), line, first_line }
                    });
                }
                if let Frame::JavaScript(function) = frame {
                    functions.entry(*function).or_insert_with(|| {
                        let v8::Function { name, file, line, column } = v8::Function::get(tables, *function);
                        JavaScript { name: text(name), file: path_of(text(file)), line, column }
                    });
                }
            }
            let in_use = in_use.remove(&index).unwrap_or_default();
            let (thread, thread_id) = (text(label as u32), (label >> 32) as u32);
            stacks.push(Stack { index, thread, thread_id, frames, allocated, in_use });
        };
        let counted = |[objects, bytes]: &[std::sync::atomic::AtomicU64; 2]| {
            let [objects, bytes] = [objects, bytes].map(|counter| counter.load(Ordering::Relaxed) as f64);
            [objects / PARTS, bytes]
        };
        tables.stacks.each(|index| {
            let (words, _) = tables.stacks.get(index).as_chunks::<8>();
            let mut words = words.iter().map(|word| u64::from_ne_bytes(*word));
            let label = words.next().unwrap_or(0);
            take(index, label, words.map(Frame::of).collect(), counted(tables.stacks.counters(index)));
        });
        let without_stack = counted(&tables.without_stack);
        if without_stack[0] > 0.0 {
            take(0, 0, vec![Frame::Truncated], without_stack);
        }
        let mut comments = Vec::new();
        let mut lost = |count: u64, what: &str| {
            if count > 0 {
                comments.push(format!("{count} {what}"));
            }
        };
        lost(
            tables.live.dropped(),
            "samples found no room in the table of blocks in use: raise maxSamples or the interval",
        );
        lost(tables.stacks.dropped(), "samples found no room for their stack");
        lost(
            tables.functions.dropped() + tables.places.dropped() + tables.strings.dropped(),
            "times there was no room for a function or a name",
        );
        let duration = started.elapsed().unwrap_or_default();
        let modules = MODULES.hold().known.iter().map(Mapped::from).collect();
        Self { allocator, interval, started, comments, duration, stacks, functions, places, modules }
    }

    /// What there is at this moment.
    pub fn mark(&self, session: u32) -> Mark {
        let stacks = self.stacks.iter().map(|stack| (stack.index, stack.values())).collect();
        Mark { session, time: self.started + self.duration, stacks }
    }

    /// Leaves what has changed since the mark, which is of the same profile.
    pub fn since(mut self, mark: &Mark) -> Self {
        for stack in &mut self.stacks {
            let Some(before) = mark.stacks.get(&stack.index) else { continue };
            let values = stack.allocated.iter_mut().chain(&mut stack.in_use);
            values.zip(before).for_each(|(value, before)| *value -= before);
        }
        let end = self.started + self.duration;
        self.duration = end.duration_since(mark.time).unwrap_or_default();
        self.started = mark.time;
        self
    }

    /// The file. It reads the names of native functions, which takes some time.
    pub fn encode(self) -> Vec<u8> {
        let mut writer = Writer::new(&self);
        for stack in &self.stacks {
            let four = stack.values().map(|value| value.round() as i64);
            if four != [0; 4] {
                writer.sample(stack, four);
            }
        }
        let since_1970 = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let about = About {
            // pprof's field is the time of the collection.
            time: (since_1970(self.started) + self.duration).as_nanos() as i64,
            duration: self.duration.as_nanos() as i64,
            interval: self.interval as i64,
            comments: &self.comments,
        };
        writer.profile.encode(&about)
    }
}

impl Mark {
    /// The number of the profile.
    pub fn session(&self) -> u32 {
        self.session
    }
}

impl Stack {
    fn values(&self) -> [f64; 4] {
        let ([a, b], [c, d]) = (self.allocated, self.in_use);
        [a, b, c, d]
    }
}

impl From<&Known> for Mapped {
    fn from(known: &Known) -> Self {
        Self {
            base: known.base,
            path: known.path.clone(),
            build_id: known.build_id.clone(),
            segments: known.segments.clone(),
        }
    }
}

/// The path of a file whose name is a URL; another name as it is.
fn path_of(name: String) -> String {
    let Some(path) = name.strip_prefix("file://") else { return name };
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match (first, after) {
            (b'%', [high, low, ..]) => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16);
                digit(high).zip(digit(low)).map(|(high, low)| (high * 16 + low) as u8)
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or(name)
}

/// Adds the samples to a profile.
struct Writer<'a> {
    gathered: &'a Gathered,
    profile: Profile,
    /// The segments of all modules by their start, with the module's number.
    segments: BTreeMap<usize, (usize, Range<usize>, u64)>,
    /// The names of each module's functions.
    names: Vec<Names>,
    locations: HashMap<Frame, u64>,
    keys: [u64; 3],
    allocator: u64,
}

impl<'a> Writer<'a> {
    fn new(gathered: &'a Gathered) -> Self {
        let mut profile = Profile::new();
        let mut segments = BTreeMap::new();
        for (number, module) in gathered.modules.iter().enumerate() {
            for (range, offset) in &module.segments {
                segments.insert(range.start, (number, range.clone(), *offset));
            }
        }
        let keys = ["thread", "thread_id", "backend"].map(|key| profile.string(key));
        let allocator = profile.string(&gathered.allocator);
        let locations = HashMap::new();
        let mut writer = Self { gathered, profile, segments, names: Vec::new(), locations, keys, allocator };
        writer.names = writer.read_names();
        writer
    }

    fn read_names(&self) -> Vec<Names> {
        let mut wanted = vec![Vec::new(); self.gathered.modules.len()];
        for frame in self.gathered.stacks.iter().flat_map(|stack| &stack.frames) {
            if let Frame::Native(pc) = frame
                && let Some((module, ..)) = self.segment_of(*pc)
            {
                wanted[module].push((pc - 1 - self.gathered.modules[module].base) as u64);
            }
        }
        let named = self.gathered.modules.iter().zip(&wanted);
        named
            .map(|(module, addresses)| match addresses.is_empty() {
                true => Names::new(),
                false => symbols::names(&module.path, &module.build_id, addresses),
            })
            .collect()
    }

    fn segment_of(&self, pc: usize) -> Option<(usize, Range<usize>, u64)> {
        let (_, (module, range, offset)) = self.segments.range(..pc).next_back()?;
        range.contains(&(pc - 1)).then(|| (*module, range.clone(), *offset))
    }

    fn sample(&mut self, stack: &Stack, values: [i64; 4]) {
        let locations: Vec<u64> = stack.frames.iter().map(|frame| self.location(*frame)).collect();
        let [thread, thread_id, backend] = self.keys;
        let mut labels = vec![(backend, Label::Text(self.allocator))];
        if !stack.thread.is_empty() {
            labels.push((thread, Label::Text(self.profile.string(&stack.thread))));
        }
        if stack.thread_id != 0 {
            labels.push((thread_id, Label::Number(i64::from(stack.thread_id))));
        }
        self.profile.sample(&locations, values, &labels);
    }

    fn location(&mut self, frame: Frame) -> u64 {
        if let Some(location) = self.locations.get(&frame) {
            return *location;
        }
        let location = match frame {
            Frame::Native(pc) => self.native(pc),
            Frame::JavaScript(function) => self.javascript(function),
            Frame::Python(place) => self.python(place),
            Frame::Gap => self.mark("[native frames without unwind information]"),
            Frame::Collector => self.mark("[garbage collection: JavaScript frames not read]"),
            Frame::QueuedBy => self.mark("[queued by]"),
            Frame::Truncated => self.mark("[frames not kept]"),
            Frame::Inlined => self.mark("[inlined functions not known]"),
        };
        self.locations.insert(frame, location);
        location
    }

    fn mark(&mut self, name: &str) -> u64 {
        let name = self.profile.string(name);
        let function = self.profile.function(Function { name, system_name: name, file: 0, line: 0 });
        self.profile.location(Location { function, mapping: None, address: 0, line: 0, column: 0 })
    }

    fn javascript(&mut self, function: u32) -> u64 {
        let anonymous = JavaScript { name: String::new(), file: String::new(), line: 0, column: 0 };
        let JavaScript { name, file, line, column } =
            self.gathered.functions.get(&function).unwrap_or(&anonymous);
        let name = self.profile.string(if name.is_empty() { "(anonymous)" } else { name });
        let file = self.profile.string(if file.is_empty() { "(v8)" } else { file });
        let (line, column) = (u64::from(*line), u64::from(*column));
        let function = self.profile.function(Function { name, system_name: name, file, line });
        self.profile.location(Location { function, mapping: None, address: 0, line, column })
    }

    fn python(&mut self, place: u32) -> u64 {
        let Some(Python { name, file, line, first_line }) =
            self.gathered.places.get(&place).filter(|place| !place.name.is_empty())
        else {
            return self.mark("[Python function not read]");
        };
        let (name, file) = (self.profile.string(name), self.profile.string(file));
        let (line, first_line) = (u64::from(*line), u64::from(*first_line));
        let function = self.profile.function(Function { name, system_name: name, file, line: first_line });
        self.profile.location(Location { function, mapping: None, address: 0, line, column: 0 })
    }

    fn native(&mut self, pc: usize) -> u64 {
        let Some((module, range, offset)) = self.segment_of(pc) else {
            return self.mark("[code of no module]");
        };
        let found = &self.gathered.modules[module];
        let address = (pc - 1 - found.base) as u64;
        let path = found.path.to_string_lossy();
        let build_id: String = found.build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let mapping = Mapping {
            start: range.start as u64,
            end: range.end as u64,
            offset,
            file: self.profile.string(&path),
            build_id: self.profile.string(&build_id),
        };
        let mapping = self.profile.mapping(mapping);
        let (name, system_name) = match self.names[module].get(&address) {
            Some(mangled) => (symbols::demangled(mangled), mangled.clone()),
            None => {
                let file = found.path.file_name().unwrap_or_default().to_string_lossy();
                let place = format!("{file}+0x{address:x}");
                (place.clone(), place)
            }
        };
        let (name, system_name) = (self.profile.string(&name), self.profile.string(&system_name));
        let function = self.profile.function(Function { name, system_name, file: 0, line: 0 });
        let address = (pc - 1) as u64;
        self.profile.location(Location { function, mapping: Some(mapping), address, line: 0, column: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_path() {
        let of = |name: &str| path_of(name.to_owned());
        assert_eq!(of("file:///srv/a%20b/%C3%BC.js"), "/srv/a b/ü.js");
        assert_eq!(of("node:internal/fs"), "node:internal/fs");
        assert_eq!(of("/srv/a%20b.js"), "/srv/a%20b.js");
        assert_eq!(of("file:///100%.js"), "/100%.js");
    }
}
