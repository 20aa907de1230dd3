use std::ffi::OsString;

use clap::{Args, ValueHint};
use serde::Serialize;

use super::answer::{Answer, misused};
use super::arguments::{BACKENDS, OneOf};
use super::node::become_node;
use super::runs::Runs;

const GOALS: OneOf = OneOf(&["rss", "cpu", "latency"]);

/// Search the allocators' options for the best set, and measure that set on fresh runs
// Rust parses the words, and src/cli/tune.ts does the rest: it knows the keys below in camel case.
#[derive(Args, Serialize)]
#[serde(rename_all = "camelCase")]
#[command(
    override_usage = "malloc-backend tune --for <goal> [options] [--] <program> [arguments]",
    after_help = "\
The search races the presets, and then sets of options that differ from the best set in one option. Every race drops the
worse half of the sets and measures the rest again. At the end, fresh runs measure the best set.

Goals: rss (of a service after idle, else the peak), cpu, latency (p99, needs --service).
Times: 500ms, 90s, 10m, 2h. Defaults: --budget 20m, --warmup 1, of a service 0, --cpu-within 3%, --rss-within 5%; those of a
service are those of compare.

Exit status: 0 the search ended; 1 the command failed, or a file could not be written, or --save found no gain; 2 wrong
usage, 126 the command cannot be switched, 127 it was not found, 130 interrupted.

Examples:
  malloc-backend tune --for rss --cpu-within 3% -- node build.js
  malloc-backend tune --for rss --service --ready 3000 --load http://127.0.0.1:3000/ -- node server.js
  malloc-backend tune --for cpu --rss-within 10% --backends jemalloc --save malloc-backend.json -- ./program"
)]
pub struct Tune {
    /// Lower this: rss, cpu or latency
    #[arg(long = "for", value_name = "goal", value_parser = GOALS, hide_possible_values = true)]
    goal: String,
    /// Let CPU time rise by no more than this above default/none
    #[arg(long, value_name = "percent")]
    cpu_within: Option<String>,
    /// Let RSS rise by no more than this above default/none
    #[arg(long, value_name = "percent")]
    rss_within: Option<String>,
    /// Search the options of these, separated by commas: default, jemalloc, mimalloc, snmalloc
    #[arg(long, value_name = "names", value_delimiter = ',', value_parser = BACKENDS, hide_possible_values = true)]
    backends: Vec<String>,
    /// Stop after about this time
    #[arg(long, value_name = "time")]
    budget: Option<String>,
    /// Run each preset so often before the first race
    #[arg(long, value_name = "number")]
    warmup: Option<String>,
    /// Run this shell command before each race
    #[arg(long, value_name = "command")]
    setup: Option<String>,
    /// Run this shell command after each race, also after a failure
    #[arg(long, value_name = "command")]
    cleanup: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    each: Runs,
    /// Decide the random choices by this number
    #[arg(long, value_name = "number")]
    seed: Option<String>,
    /// Write the fresh runs as JSON, as compare does
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    export_json: Option<String>,
    /// Write the table of the fresh runs
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    export_markdown: Option<String>,
    /// Write the best set as a configuration file, for run --config
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    save: Option<String>,
    /// The program and its arguments
    #[serde(skip)]
    #[arg(
        value_name = "program",
        trailing_var_arg = true,
        num_args = 0..,
        value_hint = ValueHint::CommandWithArguments
    )]
    program: Vec<OsString>,
}

/// Becomes Node with the parsed options.
pub fn main(mut asked: Tune) -> Answer {
    let program = std::mem::take(&mut asked.program);
    if program.is_empty() {
        let goal = &asked.goal;
        return Err(misused(format!(
            "the program is missing; write: malloc-backend tune --for {goal} -- node build.js"
        ))
        .into());
    }
    Err(become_node("tune", "tune", &asked, program).into())
}
