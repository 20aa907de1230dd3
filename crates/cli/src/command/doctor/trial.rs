//! Whether a backend serves a program that is started here: it is tried on the system's shell, which does nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{
    Children, Code, Context, Environment, Preset, Refusal, Report, ReportPipe, Switch, entries, environment,
    prepare_launch, switched_environment, variables,
};

const SHELL: &str = "/bin/sh";

/// Until a program that does nothing counts as one that does not start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the shell on the backend, and hands out what the library reports; `beside` what others have preloaded here, or
/// without that.
///
/// # Errors
/// Why the shell cannot be started so, or did not get the backend.
pub fn start_on(backend: MemoryAllocatorBackend, folder: &Path, beside: bool) -> Result<Report, Refusal> {
    let mut here = environment(&entries());
    if !beside {
        here.remove(variables::PRELOAD.to_bytes());
    }
    let children = Children::default();
    let switch = Switch { backend, preset: Some(Preset::None), set: &[], children, probe: true, folder };
    let mut env = switched_environment(&switch, &here)?.variables;
    let arguments = ["-c", ":"].map(OsString::from);
    let launch = prepare_launch(backend, folder, OsStr::new(SHELL), &arguments, &Context::default())?;
    let failed =
        |error: std::io::Error| Refusal::new(Code::ExecFailed, format!("cannot start {SHELL}: {error}"));
    let ReportPipe { reader, writer } = ReportPipe::announce(&mut env).map_err(failed)?;
    let mut reader = File::from(reader);
    let mut child = command(&launch.arguments[1..], &env).stdin(Stdio::null()).spawn().map_err(failed)?;
    drop(writer);
    let said = is_readable(reader.as_raw_fd());
    if !said {
        let _ = child.kill();
    }
    let mut line = String::new();
    let _ = reader.read_to_string(&mut line);
    let _ = child.wait();
    match Report::first(&line) {
        Some(report) if report.applied => Ok(report),
        Some(report) => Err(Refusal::new(
            Code::NotApplied,
            format!("{SHELL} was started on it, and its malloc is still that of {}", report.owner),
        )),
        None if !said => {
            let seconds = PATIENCE.as_secs();
            Err(Refusal::new(
                Code::NotApplied,
                format!("{SHELL} was started on it, and hung for {seconds} s"),
            ))
        }
        None => Err(Refusal::new(
            Code::NotApplied,
            format!("{SHELL} was started on it, and nothing was preloaded into it"),
        )),
    }
}

/// A shell that was started with the environment of this command, and waits until it is dropped.
pub struct Waiting {
    child: Child,
    _input: Option<ChildStdin>,
}

impl Waiting {
    /// Starts one.
    ///
    /// # Errors
    /// Where there is no shell.
    pub fn start() -> std::io::Result<Self> {
        let words = ["-c", "echo; read -r line"].map(OsString::from);
        let mut child = command(&words, &environment(&entries()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        // By its first word all that is preloaded is there.
        if let Some(output) = &mut child.stdout
            && is_readable(output.as_raw_fd())
        {
            let _ = output.read(&mut [0]);
        }
        let _input = child.stdin.take();
        Ok(Self { child, _input })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(words: &[OsString], env: &Environment) -> Command {
    let mut command = Command::new(SHELL);
    let env = env.iter().map(|(name, value)| (OsStr::from_bytes(name), OsString::from_vec(value.clone())));
    command.args(words).env_clear().envs(env);
    command
}

/// Whether there is something to read, or the other end is closed, before the patience ends.
fn is_readable(fd: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure.
    unsafe { libc::poll(&raw mut poll, 1, PATIENCE.as_millis() as i32) != 0 }
}
