use clap::{Args, ValueHint};
use serde::Serialize;

use super::answer::{Answer, misused};
use super::node::become_node;

/// Make a heap profile of native memory in a running process, or draw one
// Rust parses the words, and src/cli/profile.ts does the rest: it knows the keys below in camel case.
#[derive(Args, Serialize)]
#[serde(rename_all = "camelCase")]
#[command(
    override_usage = "\
malloc-backend profile --pid <pid> [--seconds <number>] [--interval <bytes>] [-o <file>] [--html <file>]
       malloc-backend profile <profile> --html <file> [--against <profile>] [-o <file>]",
    after_help = "\
The profile names the functions that allocated the memory: JavaScript's and native ones.

The process must listen: start it with MALLOC_BACKEND_PROFILE=socket and node --import malloc-backend/profile, or call
heapProfile.listen() in it. Only its user and root can ask. The profile has the memory that the process allocates in these
seconds, and says how much of that memory is still in use at the end. If the program has called heapProfile.start(), the
profile begins at that call; with --seconds it has the changes of these seconds.

The files are in pprof format: go tool pprof, speedscope, Pyroscope and Parca read them, too.

Exit status: 0 the files are written; 1 there is no such process, it does not listen, the profile cannot be read, or a
file cannot be written; 2 wrong usage; 130 interrupted.

Examples:
  malloc-backend profile --pid 4711 --seconds 60 -o heap.pb.gz --html heap.html
  malloc-backend profile heap.pb.gz --html heap.html
  malloc-backend profile later.pb.gz --against earlier.pb.gz --html growth.html"
)]
pub struct Profile {
    /// Draw this profile
    #[arg(value_name = "profile", value_hint = ValueHint::FilePath, conflicts_with_all = ["pid", "seconds", "interval"])]
    profile: Option<String>,
    /// Profile this process
    #[arg(long, value_name = "pid", allow_negative_numbers = true)]
    pid: Option<String>,
    /// Profile for so long; default: 30, or what a profile of the program's own has
    #[arg(long, value_name = "number", requires = "pid", allow_negative_numbers = true)]
    seconds: Option<String>,
    /// The mean distance of two samples: smaller is more exact, and costs more [default: 524288]
    #[arg(long, value_name = "bytes", requires = "pid", allow_negative_numbers = true)]
    interval: Option<String>,
    /// Show what changed since this profile
    #[arg(long, value_name = "profile", value_hint = ValueHint::FilePath)]
    against: Option<String>,
    /// Write the profile in pprof format; with --against the difference
    #[arg(short = 'o', long, value_name = "file", value_hint = ValueHint::FilePath)]
    output: Option<String>,
    /// Write a page for a browser: one file, with a flame graph and tables
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    html: Option<String>,
}

/// Becomes Node with the parsed options.
pub fn main(asked: &Profile) -> Answer {
    let (subject, written) = match (&asked.pid, &asked.profile) {
        (Some(_), _) => ("--pid 4711", asked.output.is_some() || asked.html.is_some()),
        // A copy of a file is nothing to ask for.
        (None, Some(_)) => {
            ("heap.pb.gz", asked.html.is_some() || (asked.output.is_some() && asked.against.is_some()))
        }
        (None, None) => {
            let message = "there is nothing to profile; write: malloc-backend profile --pid 4711 --html heap.html, or name a \
                           file in pprof format";
            return Err(misused(message).into());
        }
    };
    if !written {
        let message =
            format!("there is nothing to write; write: malloc-backend profile {subject} --html heap.html");
        return Err(misused(message).into());
    }
    Err(become_node("profile", "profile", asked, Vec::new()).into())
}
