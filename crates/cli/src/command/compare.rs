use std::ffi::OsString;

use clap::{Args, ValueHint};
use serde::Serialize;

use super::answer::{Answer, misused};
use super::arguments::{BACKENDS, PRESETS};
use super::fleet::{self, Fleet};
use super::node::become_node;
use super::runs::Runs;

/// Measure a command on several allocators, and say which one to take
// Rust parses the words, and src/cli/compare.ts does the rest: it knows the keys below in camel case.
#[derive(Args, Serialize)]
#[serde(rename_all = "camelCase")]
#[command(
    override_usage = "malloc-backend compare [options] [--] <program> [arguments]",
    after_help = "\
Each run is a fresh process with proof of its allocator. In each round every subject runs once, in a random order. The
comparison ends when each difference is certain or excluded, and at the latest when the budget is spent. The results are
saved after every run.

Subjects without --backends, --presets and --subject: default/none, default/low-rss, jemalloc/balanced,
jemalloc/low-rss, mimalloc/balanced, mimalloc/low-rss and snmalloc/none.
Times: 500ms, 90s, 10m, 2h, 7d. Defaults: --budget 10m, --warmup 1, --interval 20ms, --cost-within 3%,
--baseline default/none.

A service: --rate is half of what the baseline can answer, --connections 100, --duration 10s, --warmup-load 3s, --idle 10s,
--ready-timeout 60s, --load-timeout 10m, --warmup 0, --budget 30m.

Exit status: 0 the comparison ended; 1 the command failed, a file could not be written, --save found no gain or --check
a lost one; 2 wrong usage, 126 the command cannot be switched, 127 it was not found, 130 interrupted (--resume goes on).

Examples:
  malloc-backend compare -- node build.js
  malloc-backend compare --backends jemalloc --budget 5m --export-markdown result.md -- python3 job.py
  malloc-backend compare --subject jemalloc/low-rss --subject jemalloc/low-rss,narenas=1 -- ./program
  malloc-backend compare --service --ready 3000 --load http://127.0.0.1:3000/ --rate 200 -- node server.js
  malloc-backend compare --export-json result.json -- ./program
  malloc-backend compare --resume result.json
  malloc-backend compare --save malloc-backend.json -- node build.js
  malloc-backend compare --check malloc-backend.json      # in CI
  malloc-backend compare --prometheus http://prometheus:9090 --workload 'job=\"api\"' --by backend --since 7d"
)]
pub struct Compare {
    /// Compare these, separated by commas: default, jemalloc, mimalloc, snmalloc
    #[arg(long, value_name = "names", value_delimiter = ',', value_parser = BACKENDS, hide_possible_values = true)]
    backends: Vec<String>,
    /// Compare each backend with these, separated by commas: low-rss, balanced, throughput, none
    #[arg(long, value_name = "names", value_delimiter = ',', value_parser = PRESETS, hide_possible_values = true)]
    presets: Vec<String>,
    /// Set one option in every subject of a backend: jemalloc.narenas=1; repeat it to set more
    #[arg(long, value_name = "backend.key=value")]
    set: Vec<String>,
    /// Compare one subject: jemalloc/low-rss, or with options jemalloc/low-rss,narenas=1; repeat it to compare more
    #[arg(long = "subject", value_name = "backend/preset")]
    subjects: Vec<String>,
    /// Compare with this subject
    #[arg(long, value_name = "backend/preset")]
    baseline: Option<String>,
    /// Measure so many rounds, instead of as many as the decision needs
    #[arg(long, value_name = "number")]
    runs: Option<String>,
    /// Stop after this time, decided or not
    #[arg(long, value_name = "time")]
    budget: Option<String>,
    /// Run each subject so often before the measured rounds
    #[arg(long, value_name = "number")]
    warmup: Option<String>,
    /// Run this shell command before everything
    #[arg(long, value_name = "command")]
    setup: Option<String>,
    /// Run this shell command after everything, also after a failure
    #[arg(long, value_name = "command")]
    cleanup: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    each: Runs,
    /// Sample RSS so often
    #[arg(long, value_name = "time")]
    interval: Option<String>,
    /// Advise a subject that saves memory if CPU time and time are no more than this above the baseline
    #[arg(long, value_name = "percent")]
    cost_within: Option<String>,
    /// Decide the random order by this number
    #[arg(long, value_name = "number")]
    seed: Option<String>,
    /// Write everything that is known as JSON, after every run
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    export_json: Option<String>,
    /// Write each run as a row
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    export_csv: Option<String>,
    /// Write a report for a browser: one file, with charts
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    export_html: Option<String>,
    /// Write the table
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    export_markdown: Option<String>,
    /// Write the decision as a configuration file, for run --config
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath, conflicts_with = "check")]
    save: Option<String>,
    /// Measure the decision in this configuration file again; exit 1 if the gain is gone
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath, conflicts_with_all = ["backends", "presets", "set", "subjects", "baseline", "resume"])]
    check: Option<String>,
    /// Go on where an earlier comparison ended, or write exports of one that is finished
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    resume: Option<String>,
    #[command(flatten)]
    #[serde(skip)]
    fleet: Fleet,
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

/// Becomes Node with the parsed options, for src/cli/compare.ts.
pub fn main(mut asked: Compare) -> Answer {
    let program = std::mem::take(&mut asked.program);
    if asked.fleet.prometheus.is_some() {
        return fleet::main(&asked.fleet, &asked, &program);
    }
    if program.is_empty() && asked.resume.is_none() && asked.check.is_none() {
        return Err(misused(
            "the program is missing; write: malloc-backend compare -- node build.js, or name a file by --resume or --check",
        )
        .into());
    }
    Err(become_node("compare", "compare", &asked, program).into())
}
