//! The inner process: it starts the program, waits for what happens, and samples meanwhile.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::ptr;
use std::time::Duration;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{Code, Launch, Refusal, ReportPipe};

use crate::clock::{milliseconds, now, own_cpu, seconds};
use crate::counters::Counting;
use crate::event::{End, Event, Sample};
use crate::family::{MOMENT, kill_all, living, signal_each};
use crate::pace::{Budget, Pace};
use crate::proof::{LOOK, Proving, Verdict};
use crate::reporter::Reporter;
use crate::signals::{ABANDONED, Before, STOPS, Signals, name};
use crate::start::{Manner, Started, Starting};
use crate::tree::{Shares, Tree, allow_many_files};
use crate::usage::{Ended, Usage, ended, has_waited, reap};

/// The program to measure.
pub struct Program {
    /// What is executed.
    pub launch: Launch,
    /// Its environment, with which the library reports to `report`.
    pub entries: Vec<Vec<u8>>,
    /// Where the library reports to.
    pub report: ReportPipe,
    /// The backend that it is to prove.
    pub backend: MemoryAllocatorBackend,
    /// The library that is preloaded.
    pub library: PathBuf,
}

/// How a program is measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The shortest time between two samples. It is longer where samples cost more than a small share of a processor.
    pub interval: Duration,
    /// The shortest time between two samples with PSS; `None` for none.
    pub pss: Option<Duration>,
    /// How long the program may take to end after it was told to.
    pub grace: Duration,
    /// The program reads this process's standard input.
    pub keep_input: bool,
    /// The measurement goes on until the last process has ended that the program started.
    pub follow: bool,
}

/// What samples, the search for new processes, and PSS may cost: shares of one processor, together under 0.5 %.
const SAMPLES: f64 = 0.002;
const SEARCH: f64 = 0.001;
const PSS: f64 = 0.002;

/// What PSS costs before it was measured, in seconds for each byte of RSS: 4 KiB take 60 ns.
const COST_OF_PSS: f64 = 15e-12;

/// Measures the program, and tells the reporter. `is_abandoned` if nobody waits for that any more.
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

/// How far the proof is.
enum Proof {
    Open {
        look: Duration,
    },
    Given,
    /// The program was stopped before.
    Unneeded,
    Failed(String),
}

/// Whether the program and what it started are being ended.
enum Ending {
    No,
    /// They were told to; at that time they are killed.
    Told(Duration),
    /// They are killed, next at that time.
    Killed(Duration),
}

/// How the program itself ended.
struct Gone {
    at: Duration,
    status: c_int,
    peak: u64,
    has_waited: bool,
}

struct Run<'a> {
    options: &'a Options,
    proving: Proving<'a>,
    started: Option<Started>,
    proof: Proof,
    counting: Option<Counting>,
    tree: Tree,
    tree_peak: u64,
    samples: Pace,
    search: Pace,
    pss: Option<Budget>,
    cost_of_pss: f64,
    /// Of the processes for which this one has waited.
    total: Usage,
    /// Since the last sample.
    reaped: Vec<i32>,
    /// Somebody wants the program to end before it does.
    is_stopped: bool,
    gone: Option<Gone>,
    /// When the last process had ended.
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
            tree: Tree::new(proving.pid),
            options,
            proving,
            started,
            proof: Proof::Open { look: now + LOOK },
            counting,
            tree_peak: 0,
            samples: Pace::new(options.interval, SAMPLES, now),
            search: Pace::new(options.interval, SEARCH, now),
            pss: options.pss.map(|interval| Budget::new(interval, PSS, now)),
            cost_of_pss: COST_OF_PSS,
            total: Usage::default(),
            reaped: Vec::new(),
            is_stopped: false,
            gone: None,
            last: Duration::ZERO,
            left_behind: 0,
            ending: Ending::No,
        }
    }

    /// Until no process is left.
    fn follow(&mut self, mut signals: Signals, reporter: &mut Reporter) {
        while self.reap() {
            self.wait(&signals, reporter);
            while let Some(signal) = signals.next() {
                match signal {
                    ABANDONED => self.kill(),
                    _ if STOPS.contains(&signal) => self.stop(signal),
                    _ => {}
                }
            }
            if reporter.is_lost() {
                self.kill();
            }
            self.prove(reporter);
            let now = now();
            if self.is_sampled() && now >= self.samples.due() {
                self.sample(now, reporter);
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
        self.prove(reporter);
    }

    /// Until something happens, or it is time for something.
    fn wait(&self, signals: &Signals, reporter: &Reporter) {
        let poll = |fd: c_int, events| libc::pollfd { fd, events, revents: 0 };
        let is_open = matches!(self.proof, Proof::Open { .. }) && !self.proving.is_closed();
        let mut polls = [
            poll(signals.as_fd().as_raw_fd(), libc::POLLIN),
            poll(reporter.as_fd().as_raw_fd(), 0),
            poll(if is_open { self.proving.as_fd().as_raw_fd() } else { -1 }, libc::POLLIN),
        ];
        let sample = self.is_sampled().then(|| self.samples.due());
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

    /// Waits for what has ended. Says whether anything is left.
    fn reap(&mut self) -> bool {
        loop {
            let pid = match ended() {
                Ended::One(pid) => pid,
                Ended::None => break,
                Ended::Childless => {
                    self.last = now();
                    return false;
                }
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

    /// Ends what the program has left behind.
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

    /// Tells the program to end. What it started is its own to end, as long as it lives.
    fn stop(&mut self, stop: c_int) {
        if !matches!(self.ending, Ending::No) {
            return;
        }
        self.is_stopped = true;
        self.ending = Ending::Told(now() + self.options.grace);
        let told = if self.gone.is_none() { vec![self.proving.pid] } else { living() };
        signal_each(&told, stop);
    }

    /// Kills the program and everything that it started.
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

    fn sample(&mut self, began: Duration, reporter: &mut Reporter) {
        let before = own_cpu();
        if began >= self.search.due() {
            self.tree.discover();
            self.search.done(began, own_cpu().saturating_sub(before));
        }
        let searched = own_cpu();
        let used = self.tree.used(&self.reaped, self.total.cpu());
        self.reaped.clear();
        self.tree_peak = self.tree_peak.max(used.tree_rss);
        let counted = own_cpu();
        let shares = self.shares(began, used.tree_rss);
        let told = own_cpu();
        reporter.tell(&Event::Sample(Sample {
            at: milliseconds(began),
            rss: used.rss,
            pss: shares.map(|shares| shares.program),
            processes: used.processes,
            tree_rss: used.tree_rss,
            tree_pss: shares.map(|shares| shares.tree),
            cpu: seconds(used.cpu),
        }));
        let cost = own_cpu().saturating_sub(told) + counted.saturating_sub(searched);
        self.samples.done(began, cost);
    }

    fn shares(&mut self, now: Duration, rss: u64) -> Option<Shares> {
        let expected = Duration::try_from_secs_f64(rss as f64 * self.cost_of_pss).ok()?;
        let budget = self.pss.as_mut().filter(|budget| budget.allows(now, expected))?;
        let before = own_cpu();
        let shares = self.tree.shares();
        let cost = own_cpu().saturating_sub(before);
        budget.done(now, cost);
        self.cost_of_pss = cost.as_secs_f64() / rss.max(1) as f64;
        shares
    }

    /// What was measured.
    fn result(&mut self, started: Duration, peak_before: u64) -> Result<End, String> {
        let Some(gone) = &self.gone else { return Err("it could not be ended".to_owned()) };
        if let Proof::Failed(why) = &self.proof {
            return Err(why.clone());
        }
        self.tree.settle(&self.reaped);
        let total = &self.total;
        // The time that was lost is divided as the rest is.
        let lost = self.tree.lost;
        let user = lost.mul_f64(total.user.as_secs_f64() / total.cpu().as_secs_f64().max(f64::MIN_POSITIVE));
        let peak_rss = self.peak(gone, peak_before);
        let tree_peak_rss =
            self.tree_peak.max(peak_rss).max(if total.peak > peak_before { total.peak } else { 0 });
        let at = if self.options.follow { self.last } else { gone.at };
        Ok(End {
            at: milliseconds(at),
            wall: seconds(at.saturating_sub(started)),
            user: seconds(total.user + user),
            system: seconds(total.system + lost.saturating_sub(user)),
            peak_rss,
            tree_peak_rss,
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

    /// The highest RSS of the program itself.
    ///
    /// The kernel's figure is exact. But it is also that of the process before it became the program, and of children for which
    /// the program has waited. Samples are of the program alone, and miss what came after the last one.
    fn peak(&self, gone: &Gone, peak_before: u64) -> u64 {
        let Tree { peak, peak_of_others, .. } = self.tree;
        let is_another = gone.has_waited && peak_of_others > peak || gone.peak <= peak_before;
        if is_another && peak > 0 { peak } else { gone.peak }
    }
}
