//! What `glibc_heap` finds in programs that say themselves what `mallinfo2` counts (test/c/heaps.c).

#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use malloc_backend_process::{GlibcHeap, Limits, glibc_heap, owner_of, survey};
use support::Folder;

/// A program that waits, with what it counts.
struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
    free: u64,
    mapped: u64,
}

impl Program {
    fn start(file: &Path, kind: &str, mebibytes: u32) -> Self {
        let mut command = Command::new(file);
        command.args([kind, &mebibytes.to_string()]).env_clear();
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was compiled");
        let mut output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it says what it counts");
        let number = |name: &str| {
            let rest = line.split_once(&format!("\"{name}\":")).map(|(_, rest)| rest).unwrap_or_default();
            rest.split([',', '}']).next().and_then(|number| number.parse::<u64>().ok()).expect("a number")
        };
        // What is in fastbins counts as used from outside.
        let (free, mapped) = (number("free") - number("fastbins"), number("mapped"));
        let input = child.stdin.take();
        Self { child, output, input, free, mapped }
    }

    fn heap(&self, limits: Limits) -> GlibcHeap {
        let pid = self.child.id();
        let owner = owner_of(pid).expect("it may be looked at").expect("it has a malloc");
        let survey = survey(pid).expect("it may be looked at");
        glibc_heap(pid, &survey, &owner.path, limits).expect("its memory may be read")
    }

    /// Has it end, as it does where nothing is wrong.
    fn end(mut self) {
        self.input = None;
        self.output.read_to_string(&mut String::new()).expect("it writes text");
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

fn compiled(folder: &Folder) -> Option<PathBuf> {
    let flags = ["-O1", "-fno-builtin", "-pthread"];
    match folder.compile("heaps", include_str!("../../../test/c/heaps.c"), &flags) {
        Ok(file) => Some(file),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

#[track_caller]
fn is_near(found: u64, expected: u64, share: f64) {
    assert!(found.abs_diff(expected) as f64 <= share * expected as f64, "{found}, not {expected}");
}

#[test]
fn the_free_memory_is_what_mallinfo2_counts() {
    const ALL: u64 = 128 << 20;
    let folder = Folder::new();
    let Some(file) = compiled(&folder) else { return };
    for kind in ["small", "holes", "large", "threads", "live", "mapped"] {
        let program = Program::start(&file, kind, 128);
        let heap = program.heap(Limits::default());
        println!("{kind}: mallinfo2 {} {heap:?}", program.free);
        assert!(heap.free.abs_diff(program.free) <= program.free / 50 + (256 << 10), "{kind} {heap:?}");
        assert!(heap.mapped.resident.abs_diff(program.mapped) <= 64 << 10, "{kind} {heap:?}");
        assert!(heap.read > 0.999 && !heap.sampled, "{kind} {heap:?}");
        assert_eq!(heap.arenas, if kind == "threads" { 5 } else { 1 });
        if !matches!(kind, "live" | "mapped") {
            assert!(heap.free_resident > ALL / 3, "{kind} {heap:?}");
        }
        // A block stays in each page.
        let whole_pages = matches!(kind, "small" | "large");
        assert_eq!(heap.free_pages > ALL / 3, whole_pages, "{kind} {heap:?}");
        program.end();
    }
}

#[test]
fn of_a_large_heap_a_sample_stands_for_the_rest() {
    let folder = Folder::new();
    let Some(file) = compiled(&folder) else { return };
    for kind in ["small", "holes", "large", "threads"] {
        let program = Program::start(&file, kind, 256);
        let heap = program.heap(Limits { bytes: 40 << 20, piece: 4 << 20 });
        println!("{kind}: mallinfo2 {} {heap:?}", program.free);
        assert!(heap.sampled, "{heap:?}");
        is_near(heap.free, program.free, 0.1);
        program.end();
    }
}

#[test]
fn a_process_that_allocates_on_four_threads_is_read_a_thousand_times() {
    let folder = Folder::new();
    let Some(file) = compiled(&folder) else { return };
    let program = Program::start(&file, "churn", 1);
    for _ in 0..1000 {
        // Each read is a few megabytes, from one place and from another.
        let heap = program.heap(Limits { bytes: 4 << 20, piece: 1 << 20 });
        assert!(heap.free_resident <= heap.free, "{heap:?}");
    }
    let heap = program.heap(Limits::default());
    println!("in the end {heap:?}");
    assert!(heap.read > 0.9, "{heap:?}");
    program.end();
}
