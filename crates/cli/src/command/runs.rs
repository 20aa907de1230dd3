use clap::{Args, ValueHint};
use serde::Serialize;

use super::service::Service;

// How each run is made, for the commands that measure. (A comment for rustdoc would become the help of these commands.)
#[derive(Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Runs {
    /// Run this shell command before each run
    #[arg(long, value_name = "command")]
    prepare: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    service: Service,
    /// Count the runs that fail
    #[arg(long)]
    ignore_failure: bool,
    /// Show what the program prints
    #[arg(long)]
    show_output: bool,
    /// Give the program this file as standard input
    #[arg(long, value_name = "file", value_hint = ValueHint::FilePath)]
    input: Option<String>,
}
