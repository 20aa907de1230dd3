//! `doctor`: whose `malloc` a process runs on, what this machine has, and what stands in the way of a switch.

mod diagnosis;
mod obstacles;
mod text;
mod trial;

use std::ffi::OsString;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{Code, Refusal};
use serde::Serialize;

use super::words::{Words, asks_for_help, misused};
use super::{Answer, Failure};
use diagnosis::Diagnosis;

const HELP: &str = "Show whose malloc a process runs on, what this machine has, and what stands in the way of a switch.

Usage: malloc-backend doctor [options]

Options:
  --pid <pid>          look at that process and what it started (default: what a program started here would have)
  --expect <backend>   end with status 1 where the process is not on that backend
  --memory             show where the memory of the process is, too: what its mappings say (with --pid)
  --json               for programs; sizes in bytes; an error is {\"error\": {\"code\": …, \"message\": …}}

Exit status: 0 all is well; 1 the process is not on the backend that --expect names, or cannot be looked into, or, without
--expect, can be switched to no backend; 2 wrong usage.

Examples:
  malloc-backend doctor
  malloc-backend doctor --memory --pid 4711
  malloc-backend doctor --pid 1 --expect jemalloc     # for HEALTHCHECK in a Dockerfile";

/// Looks, and says what it found.
pub fn main(words: &[OsString]) -> Answer {
    if words.iter().any(asks_for_help) {
        return Ok(format!("{HELP}\n").into_bytes());
    }
    let wants_json = words.iter().any(|word| word == "--json");
    let failure = |refusal: Refusal| {
        let printed = if wants_json { json(&Failed::from(&refusal)) } else { Vec::new() };
        let status =
            if refusal.code == Code::InvalidArgument || refusal.code == Code::UnknownBackend { 2 } else { 1 };
        Failure { status, message: refusal.message, printed }
    };
    let diagnosis = Asked::parse(words).and_then(|asked| Diagnosis::make(&asked)).map_err(failure)?;
    let printed = if wants_json { json(&diagnosis) } else { text::describe(&diagnosis).into_bytes() };
    match diagnosis.complaint() {
        None => Ok(printed),
        Some(message) => Err(Failure { status: 1, message, printed }),
    }
}

/// What the words ask for.
struct Asked {
    pid: Option<u32>,
    expected: Option<MemoryAllocatorBackend>,
    memory: bool,
}

impl Asked {
    fn parse(words: &[OsString]) -> Result<Self, Refusal> {
        let words = Words::parse(words, &["pid", "expect"], &["memory", "json"])
            .map_err(|problem| misused(&problem, HELP))?;
        if let Some(unexpected) = words.unexpected() {
            return Err(misused(&format!("there is nothing to do with {unexpected:?}"), HELP));
        }
        let pid = words.value("pid").map(process_id).transpose()?;
        let memory = words.has("memory");
        if memory && pid.is_none() {
            return Err(misused("--memory wants a process: --pid <pid>", HELP));
        }
        Ok(Self { pid, expected: words.value("expect").map(expected).transpose()?, memory })
    }
}

fn process_id(text: &str) -> Result<u32, Refusal> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok()).flatten();
    number.and_then(|number| u32::try_from(number).ok()).filter(|pid| *pid > 0).ok_or_else(|| {
        let message = format!("--pid wants a process id, a positive integer, not {text:?}");
        Refusal::new(Code::InvalidArgument, message)
    })
}

fn expected(name: &str) -> Result<MemoryAllocatorBackend, Refusal> {
    match name.parse()? {
        MemoryAllocatorBackend::Rust => Err(Refusal::new(
            Code::InvalidArgument,
            "--expect wants a backend that can serve a process: default, jemalloc, mimalloc or snmalloc, not \"rust\"",
        )),
        backend => Ok(backend),
    }
}

/// An error, for programs.
#[derive(Serialize)]
struct Failed<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'static str,
    message: &'a str,
}

impl<'a> From<&'a Refusal> for Failed<'a> {
    fn from(Refusal { code, message }: &'a Refusal) -> Self {
        Self { error: Error { code: code.as_str(), message } }
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // (There is no map here whose keys are no strings, and nothing that refuses to be serialised.)
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}
