use clap::Args;
use serde::Serialize;

// How a service is measured, for the commands that measure. (A comment for rustdoc would become the help of these commands.)
#[derive(Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The program is a service: start it, load it, let it idle, and stop it
    #[arg(long)]
    service: bool,
    /// What says that the service is ready: a URL, a port, or a text in its output
    #[arg(long, value_name = "URL|port|text")]
    ready: Option<String>,
    /// Load the service: a URL for the built-in load, or a shell command
    #[arg(long, value_name = "URL|command")]
    load: Option<String>,
    /// Send so many requests in a second; max: as many as the connections allow
    #[arg(long, value_name = "number")]
    rate: Option<String>,
    /// Use at most so many connections at a time
    #[arg(long, value_name = "number")]
    connections: Option<String>,
    /// Measure the load for this time
    #[arg(long, value_name = "time")]
    duration: Option<String>,
    /// Load the service for this time before that
    #[arg(long, value_name = "time")]
    warmup_load: Option<String>,
    /// Let the service idle for this time after the load
    #[arg(long, value_name = "time")]
    idle: Option<String>,
    /// Fail if the service is not ready after this time
    #[arg(long, value_name = "time")]
    ready_timeout: Option<String>,
    /// Fail if the load command takes longer
    #[arg(long, value_name = "time")]
    load_timeout: Option<String>,
}
