use std::ffi::OsString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

use clap::{Args, ValueHint};
use malloc_backend_launch::{
    Refusal, ReportPipe, Switch, Switched, changed_entries, entries, environment, prepare_launch, shim_file,
    switched_environment, variables,
};
use malloc_backend_measure::{Event, Intervals, Measured, Options, Program, Reporter, measure};

use super::answer::{Answer, Failure, complain, misused};
use super::arguments::{BACKENDS, Settings};
use super::misuse::backend;
use super::system::{context, folder};

/// Run a program on a backend and report its memory and CPU time; `compare` uses this command
#[derive(Args)]
#[command(
    hide = true,
    override_usage = "malloc-backend measure <backend> [options] [--] <program> [arguments]",
    after_help = "\
The report is one JSON object a line: start, sample and end, or error.

Exit status: 0 the program ran on the backend, also if the program failed; 1 it did not run on the backend;
2 wrong usage."
)]
pub struct Measure {
    /// jemalloc, mimalloc, snmalloc, or default for the C library's malloc
    #[arg(value_name = "backend", value_parser = BACKENDS, hide_possible_values = true)]
    backend: String,
    #[command(flatten)]
    settings: Settings,
    /// The shortest time between two samples, in milliseconds
    #[arg(long, value_name = "ms", default_value = "20")]
    interval: String,
    /// The shortest time between two samples with PSS, in milliseconds; 0: no PSS
    #[arg(long, value_name = "ms", default_value = "1000")]
    pss: String,
    /// The time between a signal to the program and SIGKILL, in milliseconds
    #[arg(long, value_name = "ms", default_value = "5000")]
    grace: String,
    /// The file descriptor for the report
    #[arg(long, value_name = "number", default_value = "3")]
    report_fd: String,
    /// Let the program read the standard input of this command
    #[arg(long)]
    stdin: bool,
    /// Measure until all processes that the program started have ended
    #[arg(long)]
    follow: bool,
    /// The program and its arguments
    #[arg(
        value_name = "program",
        trailing_var_arg = true,
        num_args = 0..,
        value_hint = ValueHint::CommandWithArguments
    )]
    program: Vec<OsString>,
}

/// Measures, and reports.
pub fn main(asked: Measure, words: &[OsString]) -> Answer {
    let options = Options {
        intervals: Intervals {
            samples: milliseconds("--interval", &asked.interval, 1.0)?,
            pss: Some(milliseconds("--pss", &asked.pss, 0.0)?).filter(|pss| !pss.is_zero()),
        },
        grace: milliseconds("--grace", &asked.grace, 0.0)?,
        keep_input: asked.stdin,
        follow: asked.follow,
    };
    let mut reporter = reporter(&asked.report_fd)?;
    let measured = match prepare(asked, words) {
        Ok(program) => measure(program, &options, reporter),
        Err(refusal) => {
            reporter.tell(&Event::from(refusal));
            reporter.finish();
            Measured::Refused
        }
    };
    let failure = |message| Err(Failure { status: 1, message, printed: Vec::new() });
    match measured {
        Measured::Ran => Ok(Vec::new()),
        Measured::Refused => failure(String::new()),
        Measured::Lost(signal) => failure(format!("{signal} ended the measurement of the program")),
    }
}

fn prepare(asked: Measure, words: &[OsString]) -> Result<Program, Refusal> {
    let Measure { settings, program, .. } = asked;
    let backend = backend(words, "measure", &asked.backend, &program)?;
    let Some((command, arguments)) = program.split_first() else {
        return Err(misused("the program is missing"));
    };
    let folder = folder();
    let entries = entries();
    let before = environment(&entries);
    let switch = Switch {
        backend,
        preset: settings.preset()?,
        set: &settings.options()?,
        children: settings.children()?.unwrap_or_default(),
        probe: true,
        folder: &folder,
    };
    let Switched { variables: mut after, notice } = switched_environment(&switch, &before)?;
    let launch = prepare_launch(backend, &folder, command, arguments, &context())?;
    // If another malloc serves the program, the library ends the program before its main.
    after.insert(variables::REQUIRE.to_bytes().into(), b"1".to_vec());
    let report = ReportPipe::announce(&mut after).map_err(|error| launch.failed(&error))?;
    if let Some(notice) = notice {
        complain(&notice);
    }
    let entries = changed_entries(entries, &before, &after);
    Ok(Program { launch, entries, report, backend, library: shim_file(&folder, backend) })
}

fn milliseconds(option: &str, text: &str, least: f64) -> Result<Duration, Refusal> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= least);
    number
        .and_then(|number| Duration::try_from_secs_f64(number / 1000.0).ok())
        .ok_or_else(|| misused(format!("{option} needs milliseconds, {least} or more, not {text:?}")))
}

fn reporter(text: &str) -> Result<Reporter, Refusal> {
    let number = text.parse().ok().filter(|number: &i32| *number > 0);
    let Some(number) = number else {
        return Err(misused(format!("--report-fd needs the number of a file descriptor, not {text:?}")));
    };
    // SAFETY: asks of a number whether it is a descriptor.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(not_open(number, &io::Error::last_os_error()));
    }
    // SAFETY: it is open, and nothing else here uses it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    Reporter::new(fd).map_err(|error| not_open(number, &error))
}

fn not_open(number: i32, error: &io::Error) -> Refusal {
    misused(format!("the file descriptor {number} of --report-fd cannot be written to: {error}"))
}
