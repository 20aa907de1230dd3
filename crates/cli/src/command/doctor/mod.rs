//! `doctor`: whose `malloc` a process runs on, where its memory is and why, what this machine has, and what stands in the
//! way of a switch.

mod asked;
mod inspection;
mod malloc;
mod obstacles;
mod text;
mod trial;

use clap::Args;
use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{Code, Refusal};
use serde::Serialize;

use super::answer::{Answer, Failure, misused};
use super::arguments::BACKENDS;
use asked::Asked;
use inspection::Inspection;

/// Show whether the allocator is the reason for a process's memory, and what prevents a switch
#[derive(Args)]
#[command(
    override_usage = "malloc-backend doctor [options]",
    after_help = "\
With --pid it concludes where the memory of the process is, and prints one command to try. The process is never
stopped.

Without --pid it looks at a program that is started here. With --expect it only checks the backend.

Exit status: 0 all is well; 1 the process is not on the backend of --expect, or cannot be looked into, or, without
--expect, can be switched to no backend; 2 wrong usage.

Examples:
  malloc-backend doctor
  malloc-backend doctor --pid 4711
  malloc-backend doctor --memory --pid 4711
  malloc-backend doctor --pid 1 --expect jemalloc     # for HEALTHCHECK in a Dockerfile"
)]
pub struct Doctor {
    /// Look at this process, and at those that it started
    #[arg(long, value_name = "pid", allow_negative_numbers = true)]
    pid: Option<String>,
    /// End with status 1 if the process is not on this backend
    #[arg(long, value_name = "backend", value_parser = BACKENDS, hide_possible_values = true)]
    expect: Option<String>,
    /// Show where the memory of the process is, as its mappings say; needs --pid
    #[arg(long)]
    memory: bool,
    /// Print JSON, with sizes in bytes; an error is {"error": {"code": …, "message": …}}
    #[arg(long)]
    json: bool,
}

/// Inspects the process and prints what was found.
pub fn main(doctor: &Doctor) -> Answer {
    let failure = |refusal: Refusal| {
        let printed = if doctor.json { error(&refusal) } else { Vec::new() };
        let status =
            if refusal.code == Code::InvalidArgument || refusal.code == Code::UnknownBackend { 2 } else { 1 };
        Failure { status, message: refusal.message, printed }
    };
    let inspection = Asked::parse(doctor).and_then(|asked| Inspection::make(&asked)).map_err(failure)?;
    let printed = if doctor.json { json(&inspection) } else { text::describe(&inspection).into_bytes() };
    match inspection.complaint() {
        None => Ok(printed),
        Some(message) => Err(Failure { status: 1, message, printed }),
    }
}

impl Asked {
    fn parse(doctor: &Doctor) -> Result<Self, Refusal> {
        let pid = doctor.pid.as_deref().map(process_id).transpose()?;
        let expected = doctor.expect.as_deref().map(expected).transpose()?;
        if doctor.memory && pid.is_none() {
            return Err(misused("--memory needs a process: --pid <pid>"));
        }
        Ok(Self { pid, expected, memory: doctor.memory })
    }
}

fn process_id(text: &str) -> Result<u32, Refusal> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok()).flatten();
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| misused(format!("--pid needs a process id, a positive integer, not {text:?}")))
}

fn expected(name: &str) -> Result<MemoryAllocatorBackend, Refusal> {
    match name.parse()? {
        MemoryAllocatorBackend::Rust => Err(misused(
            "--expect needs a backend that can serve a process: default, jemalloc, mimalloc or snmalloc, not \"rust\"",
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

/// A refusal as JSON.
pub fn error(refusal: &Refusal) -> Vec<u8> {
    json(&Failed::from(refusal))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // (There is no map here whose keys are no strings, and nothing that refuses to be serialised.)
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}
