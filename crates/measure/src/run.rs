//! The inner process. It starts the program, samples it, and waits for the end of it and of all its descendants.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::ptr;
use std::time::Duration;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{Code, Launch, Refusal, ReportPipe};

use crate::clock::{milliseconds, now, seconds};
use crate::counters::Counting;
use crate::event::{End, Event};
use crate::family::{MOMENT, kill_all, living, signal_each};
use crate::proof::{LOOK, Proving, Verdict};
use crate::reporter::Reporter;
use crate::sampling::{Intervals, Sampling, Seen};
use crate::signals::{ABANDONED, Before, STOPS, Signals, name};
use crate::start::{Manner, Started, Starting};
use crate::tree::allow_many_files;
use crate::usage::{Ended, Usage, ended, has_waited, reap};

/// The program to measure.
pub struct Program {
    /// The file and its arguments.
    pub launch: Launch,
    /// The environment, which names `report` to the library.
    pub entries: Vec<Vec<u8>>,
    /// The pipe for the library's report.
    pub report: ReportPipe,
    /// The backend to prove.
    pub backend: MemoryAllocatorBackend,
    /// The preloaded library.
    pub library: PathBuf,
}

/// How a program is measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often samples are taken.
    pub intervals: Intervals,
    /// The time between the signal that asks the program to end and SIGKILL.
    pub grace: Duration,
    /// The program gets this process's standard input; otherwise it gets `/dev/null`.
    pub keep_input: bool,
    /// The measurement ends when the last descendant has ended, and not when the program has.
    pub follow: bool,
}

/// Measures the program, and reports. Returns the exit status. `is_abandoned`: the outer process has ended already.
pub fn run(
    program: Program,
    options: &Options,
    before: &Before,
    signals: Signals,
    mut reporter: Reporter,
    is_abandoned: bool,
) -> c_int {
    let Program { launch, entries, report: ReportPipe { reader, writer }, backend, library } = program;
    let failed = |error: io::Error| launch.failed(&error);
    let manner = Manner { launch: &launch, entries, signals: before, keep_input: options.keep_input };
    let measured = Starting::new(manner).map_err(failed).and_then(|mut starting| {
        drop(writer);
        let counting = Counting::open(starting.pid);
        starting.go();
        allow_many_files();
        let outcome = starting.outcome();
        let proving = Proving::new(reader, starting.pid, backend, &library).map_err(failed)?;
        let mut run = Run::new(options, proving, counting, outcome.as_ref().ok().copied());
        if is_abandoned {
            run.kill();
        }
        run.follow(signals, &mut reporter);
        let Started { at, peak_before } = outcome.map_err(failed)?;
        run.result(at, peak_before).map_err(|why| {
            Refusal::new(
                Code::NotApplied,
                format!("{} does not run on {backend}: {why}", launch.file.display()),
            )
        })
    });
    let (status, event) = match measured {
        Ok(end) => (0, Event::End(Box::new(end))),
        Err(refusal) => (1, Event::from(refusal)),
    };
    reporter.tell(&event);
    reporter.finish();
    status
}

/// The state of the proof.
enum Proof {
    Open {
        look: Duration,
    },
    Given,
    /// The program was stopped before it reported.
    Unneeded,
    Failed(String),
}

/// The state of the end.
enum Ending {
    No,
    /// Processes were asked to end. At this time they are killed.
    Told(Duration),
    /// Processes were killed. At this time those that are left are killed again.
    Killed(Duration),
}

/// The end of the program itself.
struct Gone {
    at: Duration,
    status: c_int,
    peak: u64,
    has_waited: bool,
}

impl Gone {
    /// The highest RSS of the program itself.
    ///
    /// The kernel's figure is exact. But the kernel counts the process before it became the program, too, and the children for
    /// which the program has waited. Samples are of the program alone, and miss the time after the last one.
    fn peak_of_program(&self, seen: &Seen, peak_before: u64) -> u64 {
        let is_of_child = self.has_waited && seen.peak_of_others > seen.peak;
        let is_of_another = is_of_child || self.peak <= peak_before;
        if is_of_another && seen.peak > 0 { seen.peak } else { self.peak }
    }
}

struct Run<'a> {
    options: &'a Options,
    proving: Proving<'a>,
    started: Option<Started>,
    proof: Proof,
    counting: Option<Counting>,
    sampling: Sampling,
    /// The resources of the processes for which this process has waited.
    total: Usage,
    /// The ids of these processes since the last sample.
    reaped: Vec<i32>,
    /// A signal to the launcher asked the program to end.
    is_stopped: bool,
    gone: Option<Gone>,
    /// The time at which the last process had ended.
    last: Duration,
    left_behind: usize,
    ending: Ending,
}

impl<'a> Run<'a> {
    fn new(
        options: &'a Options,
        proving: Proving<'a>,
        counting: Option<Counting>,
        started: Option<Started>,
    ) -> Self {
        let now = now();
        Self {
            sampling: Sampling::new(proving.pid, options.intervals, now),
            options,
            proving,
            started,
            proof: Proof::Open { look: now + LOOK },
            counting,
            total: Usage::default(),
            reaped: Vec::new(),
            is_stopped: false,
            gone: None,
            last: Duration::ZERO,
            left_behind: 0,
            ending: Ending::No,
        }
    }

    /// Waits until no process is left, and samples meanwhile.
    fn follow(&mut self, mut signals: Signals, reporter: &mut Reporter) {
        loop {
            self.wait(&signals, reporter);
            while let Some(signal) = signals.next() {
                match signal {
                    ABANDONED => self.kill(),
                    _ if STOPS.contains(&signal) => self.stop(signal),
                    _ => {}
                }
            }
            // Before the sample: one that is taken after the end delays the end and shows no memory.
            if !self.reap() {
                break;
            }
            if reporter.is_lost() {
                self.kill();
            }
            self.prove(reporter);
            let now = now();
            if self.is_sampled() && now >= self.sampling.due() {
                if let Some(sample) = self.sampling.take(now, &self.reaped, self.total.cpu()) {
                    reporter.tell(&Event::Sample(sample));
                }
                self.reaped.clear();
            }
            reporter.flush(now, false);
            let is_time = match self.ending {
                Ending::No => false,
                Ending::Told(at) | Ending::Killed(at) => now >= at,
            };
            if is_time {
                if !kill_all() {
                    break;
                }
                self.ending = Ending::Killed(now + MOMENT);
            }
        }
        self.last = now();
        self.prove(reporter);
    }

    /// Waits for a signal, the report, the loss of the reader, or the next due time.
    fn wait(&self, signals: &Signals, reporter: &Reporter) {
        let poll = |fd: c_int, events| libc::pollfd { fd, events, revents: 0 };
        let is_open = matches!(self.proof, Proof::Open { .. }) && !self.proving.is_closed();
        let mut polls = [
            poll(signals.as_fd().as_raw_fd(), libc::POLLIN),
            poll(reporter.as_fd().as_raw_fd(), 0),
            poll(if is_open { self.proving.as_fd().as_raw_fd() } else { -1 }, libc::POLLIN),
        ];
        let sample = self.is_sampled().then(|| self.sampling.due());
        let look = if let Proof::Open { look } = self.proof { Some(look) } else { None };
        let ending = match self.ending {
            Ending::No => None,
            Ending::Told(at) | Ending::Killed(at) => Some(at),
        };
        let timeout = [sample, look, ending].into_iter().flatten().min().map(|at| {
            let rest = at.saturating_sub(now());
            libc::timespec {
                tv_sec: rest.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                tv_nsec: rest.subsec_nanos().into(),
            }
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: an array of that length, a time or null, and no set of signals.
        unsafe { libc::ppoll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, timeout, ptr::null()) };
    }

    fn is_sampled(&self) -> bool {
        matches!(self.proof, Proof::Given) && (self.gone.is_none() || self.options.follow)
    }

    /// Waits for the children that have ended, and returns whether processes are left.
    fn reap(&mut self) -> bool {
        loop {
            let pid = match ended() {
                Ended::One(pid) => pid,
                Ended::None => break,
                Ended::Childless => return false,
            };
            let is_program = pid == self.proving.pid;
            let at = now();
            let has_waited = is_program && has_waited(pid);
            let Some((status, usage)) = reap(pid) else { continue };
            self.total.add(&usage);
            self.reaped.push(pid);
            if is_program {
                self.gone = Some(Gone { at, status, peak: usage.peak, has_waited });
                if !self.options.follow {
                    self.end_the_rest();
                }
            }
        }
        true
    }

    /// Ends the processes that still run after the end of the program.
    fn end_the_rest(&mut self) {
        if matches!(ended(), Ended::Childless) {
            return;
        }
        let living = living();
        self.left_behind = living.len();
        if matches!(self.ending, Ending::No) {
            self.ending = Ending::Told(now() + self.options.grace);
        }
        if matches!(self.ending, Ending::Told(_)) {
            signal_each(&living, libc::SIGTERM);
        }
    }

    /// Asks the program to end. As long as the program runs, it is responsible for its own children.
    fn stop(&mut self, stop: c_int) {
        if !matches!(self.ending, Ending::No) {
            return;
        }
        self.is_stopped = true;
        self.ending = Ending::Told(now() + self.options.grace);
        let told = if self.gone.is_none() { vec![self.proving.pid] } else { living() };
        signal_each(&told, stop);
    }

    /// Kills the program and all its descendants.
    fn kill(&mut self) {
        if !matches!(self.ending, Ending::Killed(_)) {
            self.ending = Ending::Killed(Duration::ZERO);
        }
    }

    fn prove(&mut self, reporter: &mut Reporter) {
        let Proof::Open { look } = self.proof else { return };
        let Some(Started { at, .. }) = self.started else { return };
        let verdict = match self.proving.read(self.gone.is_some()) {
            Verdict::Open if now() >= look => self.proving.look(),
            verdict => verdict,
        };
        match verdict {
            Verdict::Open if now() < look => {}
            Verdict::Open => self.proof = Proof::Open { look: now() + LOOK },
            Verdict::Proved(report) => {
                let at = milliseconds(at);
                reporter.tell(&Event::Start { at, pid: self.proving.pid, proof: report.into() });
                reporter.flush(now(), true);
                self.proof = Proof::Given;
            }
            Verdict::Missing if self.is_stopped => self.proof = Proof::Unneeded,
            Verdict::Missing => self.fail(match self.signal() {
                Some(signal) => format!("{signal} ended it before the library reported"),
                None => {
                    "the preloaded library did not report; the dynamic loader may have ignored it".to_owned()
                }
            }),
            Verdict::Failed(why) => self.fail(why),
        }
    }

    fn fail(&mut self, why: String) {
        self.proof = Proof::Failed(why);
        self.kill();
    }

    /// The signal that has ended the program.
    fn signal(&self) -> Option<String> {
        let status = self.gone.as_ref()?.status;
        libc::WIFSIGNALED(status).then(|| name(libc::WTERMSIG(status)))
    }

    /// The end event, or the reason why the program does not run on the backend.
    fn result(&mut self, started: Duration, peak_before: u64) -> Result<End, String> {
        let Some(gone) = &self.gone else { return Err("it could not be ended".to_owned()) };
        if let Proof::Failed(why) = &self.proof {
            return Err(why.clone());
        }
        let seen = self.sampling.finish(&self.reaped);
        let total = &self.total;
        // The lost time is divided as the rest is.
        let user = total.user.as_secs_f64() / total.cpu().as_secs_f64().max(f64::MIN_POSITIVE);
        let user = seen.lost.mul_f64(user);
        let peak_rss = gone.peak_of_program(&seen, peak_before);
        let peak_of_one = if total.peak > peak_before { total.peak } else { 0 };
        let at = if self.options.follow { self.last } else { gone.at };
        Ok(End {
            at: milliseconds(at),
            wall: seconds(at.saturating_sub(started)),
            user: seconds(total.user + user),
            system: seconds(total.system + seen.lost.saturating_sub(user)),
            peak_rss,
            tree_peak_rss: seen.tree_peak.max(peak_rss).max(peak_of_one),
            minor_faults: total.minor_faults,
            major_faults: total.major_faults,
            voluntary_switches: total.voluntary_switches,
            involuntary_switches: total.involuntary_switches,
            code: libc::WIFEXITED(gone.status).then(|| libc::WEXITSTATUS(gone.status)),
            signal: self.signal(),
            counters: self.counting.as_mut().map(Counting::read),
            left_behind: self.left_behind,
        })
    }
}
