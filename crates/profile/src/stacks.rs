//! The calling thread's stack, in the table of stacks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::frame::Frame;
use crate::hooks::{self, Caller, Thread};
use crate::memo;
use crate::python::Python;
use crate::session::Inside;
use crate::tables::Tables;
use crate::thread::{self, Frames, Record, WORDS};
use crate::v8::{self, V8};
use crate::walk::{MOST, RawKind, walk};

/// The index of the calling thread's stack in the table; 0 if there is no room for it.
///
/// # Safety
/// The thread's part is the calling thread's, with `busy` set. The registers are those of a function that runs on it.
pub unsafe fn stack_of(thread: *mut Thread, caller: &Caller, inside: &Inside, tables: &Tables) -> u32 {
    // SAFETY: the caller's obligation.
    let (record, queued) = unsafe {
        let queued = ((*thread).queued_session == inside.session).then_some((*thread).queued_by);
        (thread::of(thread, caller.sp), queued.unwrap_or(0))
    };
    let label = record.label(inside.session, tables);
    // SAFETY: the thread is inside.
    let walked = unsafe { walk_of(record, caller, inside.session, tables) };
    let raw = &record.frames.raw[..walked];
    let has_javascript = raw.iter().any(|frame| frame.kind == RawKind::JavaScript);
    let collections = if has_javascript { record.isolate.collections() } else { Some(0) };
    // The evaluator's native frames are the same, whatever Python functions it runs.
    let has_python = !record.python.all().is_empty();
    let key = collections
        .filter(|_| !has_python)
        .map(|count| memo::key(raw, [label as u32, inside.session, queued, count]));
    if let Some(index) = key.and_then(|key| record.memo.get(key)) {
        return index;
    }
    let is_readable = V8::get().is_some_and(V8::is_verified);
    record.frames.words[0] = label;
    let count = frames_of(record, caller, walked, tables, is_readable);
    let mut writer = Words { words: &mut record.frames.words, count };
    if queued != 0 {
        writer.push(Frame::QueuedBy.word());
        let (frames, _) = tables.stacks.get(queued).as_chunks::<8>();
        for frame in frames.iter().skip(1) {
            writer.push(u64::from_ne_bytes(*frame));
        }
    }
    let index = tables.stacks.intern(writer.bytes()).unwrap_or(0);
    if let Some(key) = key {
        record.memo.set(key, index);
    }
    index
}

/// Walks the stack, and returns the number of frames.
///
/// # Safety
/// The calling thread is [`Inside`], or holds the lock of the profile.
unsafe fn walk_of(record: &mut Record, caller: &Caller, session: u32, tables: &Tables) -> usize {
    let Record { stack, rules, frames: Frames { raw, .. }, isolate, python, .. } = record;
    let v8 = V8::get();
    python.read(Python::get(), tables);
    isolate.begin(v8, session);
    stack.begin(caller.sp);
    // What the walk meets may be damaged, and framehop is a parser of foreign data.
    // SAFETY: the caller's obligation.
    let walked = catch_unwind(AssertUnwindSafe(|| unsafe { walk(stack, rules, caller, isolate, v8, raw) }));
    walked.unwrap_or(0)
}

/// Reads the frames of a walk, writes them behind the first word, and returns the number of words.
fn frames_of(
    record: &mut Record,
    caller: &Caller,
    walked: usize,
    tables: &Tables,
    is_readable: bool,
) -> usize {
    let Record { frames: Frames { raw, words }, isolate, python: python_frames, .. } = record;
    let (v8, python) = (V8::get(), Python::get());
    let raw = &raw[..walked];
    let mut writer = Words { words, count: 1 };
    let has_javascript = raw.iter().any(|frame| frame.kind == RawKind::JavaScript);
    let collects = has_javascript && v8.is_some_and(|v8| isolate.collects(v8, caller));
    let mut is_marked = false;
    let (mut slots, mut functions) = ([0; MOST], [0; MOST]);
    if let Some(v8) = v8.filter(|_| is_readable && has_javascript && !collects) {
        slots.iter_mut().zip(raw).for_each(|(slot, frame)| *slot = frame.function);
        isolate.functions(v8, tables, &slots[..raw.len()], &mut functions[..raw.len()]);
    }
    for (index, (frame, function)) in raw.iter().zip(functions).enumerate() {
        let end = raw.get(index + 1).map_or(usize::MAX, |next| next.sp);
        match frame.kind {
            RawKind::Native if python_frames.replace(python, frame, end, |word| writer.push(word)) => {}
            RawKind::Native => writer.push(Frame::Native(frame.pc).word()),
            RawKind::Gap => writer.push(Frame::Gap.word()),
            RawKind::JavaScript if collects => {
                if !is_marked {
                    writer.push(Frame::Collector.word());
                    is_marked = true;
                }
            }
            RawKind::JavaScript => {
                if let Some(v8) = v8.filter(|_| function != 0) {
                    isolate.inlined(v8, tables, frame.pc, |frame| writer.push(frame.word()));
                    writer.push(Frame::JavaScript(function).word());
                }
            }
        }
    }
    let is_truncated = raw.len() == MOST;
    if is_truncated {
        writer.push(Frame::Truncated.word());
    }
    python_frames.rest(is_truncated, |word| writer.push(word));
    writer.count
}

/// Looks for a function that is known to be on the stack. If it is there, functions are read from here on. The place of the last
/// exit from JavaScript is learnt from the stack, too. The error says why no function will be read.
///
/// # Safety
/// The calling thread holds the lock of the profile.
pub unsafe fn verify(v8: &V8, tables: &Tables, session: u32, name: &str, file: &str) -> Result<(), String> {
    v8.set_verified(false);
    if let Some(why) = v8.why_not() {
        return Err(why.to_owned());
    }
    let thread = hooks::current();
    let Some(caller) = hooks::here() else { return Err("the hooks are missing".to_owned()) };
    // SAFETY: the calling thread's part; the caller's obligation.
    let (record, count) = unsafe {
        (*thread).busy += 1;
        let record = thread::of(thread, caller.sp);
        let walked = walk_of(record, &caller, session, tables);
        let count = frames_of(record, &caller, walked, tables, true);
        (record, count)
    };
    // SAFETY: as above.
    unsafe { (*thread).busy -= 1 };
    let mut functions = record.frames.words[1..count].iter().filter_map(|word| match Frame::of(*word) {
        Frame::JavaScript(function) => Some(v8::Function::get(tables, function)),
        _ => None,
    });
    let text = |string: u32| match string {
        0 => String::new(),
        string => String::from_utf8_lossy(tables.strings.get(string)).into_owned(),
    };
    let is_known = |function: &v8::Function| {
        text(function.name) == name && text(function.file) == file && function.line > 0
    };
    let mut first = None;
    if !functions
        .by_ref()
        .inspect(|function| first = first.or(Some(*function)))
        .any(|function| is_known(&function))
    {
        let found = first.map_or("none".to_owned(), |v8::Function { name, file, line, column }| {
            format!("{} ({}:{line}:{column})", text(name), text(file))
        });
        return Err(format!(
            "the function {name} ({file}) was not found on the stack; the innermost one found is {found}"
        ));
    }
    v8.set_verified(true);
    if let Some(exit) = record.frames.raw.iter().find(|frame| frame.kind == RawKind::JavaScript) {
        v8.learn_last_exit(exit.fp);
    }
    Ok(())
}

struct Words<'a> {
    words: &'a mut [u64; WORDS],
    count: usize,
}

impl Words<'_> {
    fn push(&mut self, word: u64) {
        if let Some(place) = self.words.get_mut(self.count) {
            *place = word;
            self.count += 1;
        }
    }

    fn bytes(&self) -> &[u8] {
        let words = &self.words[..self.count];
        // SAFETY: words are bytes.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
    }
}
