//! Samples of the memory and CPU time of the program and its descendants.

use std::time::Duration;

use crate::clock::{milliseconds, own_cpu, seconds};
use crate::event::Sample;
use crate::pace::{Budget, Pace};
use crate::tree::{Shares, Tree};

/// The most CPU time for samples, for the search for new processes, and for PSS: shares of one processor, together 0.5 %.
const SAMPLES: f64 = 0.002;
const SEARCH: f64 = 0.001;
const PSS: f64 = 0.002;

/// The first estimate of the CPU time for PSS, in seconds for each byte of RSS: 60 ns for a page of 4 KiB.
const COST_OF_PSS: f64 = 15e-12;

/// The times between samples.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// The shortest time between two samples. The time is longer if the samples would exceed their share of a processor.
    pub samples: Duration,
    /// The same for samples with PSS. `None`: no sample has PSS.
    pub pss: Option<Duration>,
}

/// Takes the samples.
pub struct Sampling {
    tree: Tree,
    samples: Pace,
    search: Pace,
    pss: Option<Budget>,
    cost_of_pss: f64,
    /// The CPU time that this process had used after the last sample.
    spent: Option<Duration>,
    /// The highest sum of RSS so far.
    tree_peak: u64,
}

/// The highest and last values of all samples.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The highest RSS of the program, in bytes; 0 if there was no sample.
    pub peak: u64,
    /// The highest RSS of another process.
    pub peak_of_others: u64,
    /// The highest sum of RSS.
    pub tree_peak: u64,
    /// The CPU time of processes for which nobody has waited.
    pub lost: Duration,
}

impl Sampling {
    /// The first sample is due at once.
    pub fn new(program: i32, intervals: Intervals, now: Duration) -> Self {
        Self {
            tree: Tree::new(program),
            samples: Pace::new(intervals.samples, SAMPLES, now),
            search: Pace::new(intervals.samples, SEARCH, now),
            pss: intervals.pss.map(|interval| Budget::new(interval, PSS, now)),
            cost_of_pss: COST_OF_PSS,
            spent: None,
            tree_peak: 0,
        }
    }

    /// When the next sample is due.
    pub fn due(&self) -> Duration {
        self.samples.due()
    }

    /// Takes a sample. `reaped`: the ids of the processes for which this process has waited since the last sample. `waited`: the
    /// CPU time of all processes for which this process has waited. `None` if all processes are about to end.
    pub fn take(&mut self, now: Duration, reaped: &[i32], waited: Duration) -> Option<Sample> {
        let before = *self.spent.get_or_insert_with(own_cpu);
        let search = if now >= self.search.due() { self.search(now) } else { Duration::ZERO };
        let used = self.tree.used(reaped, waited);
        self.tree_peak = self.tree_peak.max(used.tree_rss);
        let (shares, pss) = self.shares(now, used.tree_rss);
        let sample = Sample {
            at: milliseconds(now),
            rss: used.rss,
            pss: shares.map(|shares| shares.program),
            processes: used.processes,
            tree_rss: used.tree_rss,
            tree_pss: shares.map(|shares| shares.tree),
            cpu: seconds(used.cpu),
        };
        // All work of this process since the last sample counts.
        let spent = own_cpu();
        self.samples.done(now, spent.saturating_sub(before + search + pss));
        self.spent = Some(spent);
        (used.processes > 0).then_some(sample)
    }

    /// The values of all samples, when no process is left. `reaped` as in [`Sampling::take`].
    pub fn finish(&mut self, reaped: &[i32]) -> Seen {
        self.tree.settle(reaped);
        let Tree { peak, peak_of_others, lost, .. } = self.tree;
        Seen { peak, peak_of_others, tree_peak: self.tree_peak, lost }
    }

    fn search(&mut self, now: Duration) -> Duration {
        let before = own_cpu();
        self.tree.discover();
        let cost = own_cpu().saturating_sub(before);
        self.search.done(now, cost);
        cost
    }

    /// PSS, if it is due and the budget allows it; and the CPU time that it cost.
    fn shares(&mut self, now: Duration, rss: u64) -> (Option<Shares>, Duration) {
        let expected = Duration::try_from_secs_f64(rss as f64 * self.cost_of_pss).unwrap_or(Duration::MAX);
        let Some(budget) = self.pss.as_mut().filter(|budget| budget.allows(now, expected)) else {
            return (None, Duration::ZERO);
        };
        let before = own_cpu();
        let shares = self.tree.shares();
        let cost = own_cpu().saturating_sub(before);
        budget.done(now, cost);
        self.cost_of_pss = cost.as_secs_f64() / rss.max(1) as f64;
        (shares, cost)
    }
}
