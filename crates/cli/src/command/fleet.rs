//! `compare --prometheus`: the words about a fleet, and which other words have no meaning there.

use std::ffi::OsString;

use clap::Args;
use serde::Serialize;

use super::answer::{Answer, misused};
use super::node::become_node;

// The options for a fleet. (A comment for rustdoc would become the help of `compare`.)
#[derive(Args, Serialize)]
#[serde(rename_all = "camelCase")]
#[command(next_help_heading = "Options for a fleet, which is compared by its metrics")]
pub struct Fleet {
    /// Measure nothing here: compare the pods of a service by the metrics in this Prometheus
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,
    /// Compare by the values of these labels, separated by commas; default: backend,preset
    #[arg(long, value_name = "labels", value_delimiter = ',', requires = "prometheus")]
    by: Vec<String>,
    /// Choose the service by matchers in PromQL: 'job="api"'
    #[arg(long, value_name = "matchers", requires = "prometheus")]
    workload: Option<String>,
    /// Look at the time from so long ago until now; default: 24h
    #[arg(long, value_name = "time", requires = "prometheus")]
    since: Option<String>,
    /// Take what has the same values of these labels for one pod; default: instance
    #[arg(long, value_name = "labels", value_delimiter = ',', requires = "prometheus")]
    pod: Vec<String>,
    /// Know the load of each pod by this counter: http_requests_total
    #[arg(long, value_name = "counter", requires = "prometheus")]
    requests: Option<String>,
    /// The text before the names of the metrics, as in collectMallocMetrics
    #[arg(long, value_name = "text", requires = "prometheus")]
    metric_prefix: Option<String>,
    /// Send this HTTP header to Prometheus: 'Authorization: Bearer …', or @file with such lines
    #[arg(long, value_name = "header", requires = "prometheus")]
    header: Vec<String>,
}

/// The words of `compare` that a fleet has too, as it names them.
const SHARED: [&str; 4] = ["baseline", "exportJson", "exportCsv", "exportMarkdown"];

/// Becomes Node with the parsed options, for src/cli/fleet.ts. `others` are all other words of `compare`.
pub fn main(fleet: &Fleet, others: &impl Serialize, program: &[OsString]) -> Answer {
    if !program.is_empty() {
        return Err(misused(
            "--prometheus compares what runs in the fleet, so leave the program out; without --prometheus compare runs the program here",
        )
        .into());
    }
    let mut options = object(fleet)?;
    for (name, value) in object(others)? {
        let is_given = match &value {
            serde_json::Value::Null => false,
            serde_json::Value::Bool(given) => *given,
            serde_json::Value::Array(all) => !all.is_empty(),
            _ => true,
        };
        if SHARED.contains(&name.as_str()) {
            options.insert(name, value);
        } else if name == "exportHtml" && is_given {
            let message = "--export-html draws the runs of one machine, and a fleet has none; with --prometheus write \
                           --export-markdown, and see the dashboard in docs/fleet.md";
            return Err(misused(message).into());
        } else if is_given {
            let option = option_of(&name);
            let message = format!(
                "{option} is for measuring on this machine, and --prometheus measures nothing; leave {option} out"
            );
            return Err(misused(message).into());
        }
    }
    Err(become_node("compare", "fleet", &options, Vec::new()).into())
}

fn object(
    value: &impl Serialize,
) -> Result<serde_json::Map<String, serde_json::Value>, super::answer::Failure> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Object(object)) => Ok(object),
        Ok(other) => Err(misused(format!("the options are no object: {other}")).into()),
        Err(error) => Err(misused(format!("the options cannot be passed on: {error}")).into()),
    }
}

/// `exportJson` as `--export-json`. The option for `subjects` is in the singular.
fn option_of(name: &str) -> String {
    let kebab: String = name
        .chars()
        .flat_map(|letter| match letter.is_ascii_uppercase() {
            true => vec!['-', letter.to_ascii_lowercase()],
            false => vec![letter],
        })
        .collect();
    if kebab == "subjects" { "--subject".to_owned() } else { format!("--{kebab}") }
}
