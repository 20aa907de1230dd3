//! The program and its descendants, as they are seen from outside while they run.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use crate::clock::cpu_of;

/// The processes that are known, the program first.
pub struct Tree {
    processes: Vec<Process>,
    page: u64,
    tick: Duration,
    /// The highest VmHWM of the program that was seen.
    pub peak: u64,
}

/// The memory and CPU time of all processes at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// RSS of the program itself, in bytes.
    pub rss: u64,
    /// How many processes there are.
    pub processes: usize,
    /// The sum of their RSS.
    pub tree_rss: u64,
    /// The CPU time of those that live, with that of children for which they have waited.
    pub cpu: Duration,
}

/// PSS at a moment, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shares {
    /// Of the program itself.
    pub program: u64,
    /// Of all processes.
    pub tree: u64,
}

/// A process, by open files of `/proc`: to read one again is much cheaper than to open it, and if the process ends it tells of
/// no other that gets the same id.
struct Process {
    pid: i32,
    statm: File,
    stat: File,
    tasks: File,
    /// The children of each of its threads.
    children: Vec<File>,
    threads: u64,
    /// CPU time of the children for which it has waited.
    waited: Duration,
}

impl Tree {
    /// The program alone. Empty where there is no `/proc`.
    pub fn new(pid: i32) -> Self {
        // SAFETY: takes a constant.
        let number = |name| u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(1).max(1);
        let tick = Duration::from_secs(1) / u32::try_from(number(libc::_SC_CLK_TCK)).unwrap_or(100);
        let processes = Process::open(pid).into_iter().collect();
        Self { processes, page: number(libc::_SC_PAGESIZE), tick, peak: 0 }
    }

    /// Looks for descendants that are new.
    pub fn discover(&mut self) {
        let mut at = 0;
        while at < self.processes.len() {
            let tick = self.tick;
            let process = &mut self.processes[at];
            process.look_for_threads();
            process.look_for_waited(tick);
            for pid in process.children() {
                if !self.processes.iter().any(|known| known.pid == pid) {
                    self.processes.extend(Process::open(pid));
                }
            }
            at += 1;
        }
    }

    /// What they use. Those that have ended are forgotten.
    pub fn used(&mut self, program: i32) -> Used {
        let (mut used, page) = (Used::default(), self.page);
        self.processes.retain(|process| {
            // A process that has ended and was not waited for has no memory, and counts no more.
            let Some(rss) = process.resident().map(|pages| pages * page) else { return false };
            let Some(cpu) = cpu_of(process.pid) else { return false };
            used.cpu += cpu + process.waited;
            if rss > 0 {
                used.processes += 1;
                used.tree_rss += rss;
            }
            if process.pid == program {
                used.rss = rss;
            }
            true
        });
        if let Some(peak) = peak_of(program) {
            self.peak = self.peak.max(peak);
        }
        used
    }

    /// Their PSS. The kernel looks at each page.
    pub fn shares(&self, program: i32) -> Option<Shares> {
        let mut shares = Shares::default();
        for process in &self.processes {
            let Some(pss) = pss_of(process.pid) else { continue };
            shares.tree += pss;
            if process.pid == program {
                shares.program = pss;
            }
        }
        (shares.tree > 0).then_some(shares)
    }
}

impl Process {
    fn open(pid: i32) -> Option<Self> {
        let open = |file: &str| File::open(format!("/proc/{pid}/{file}")).ok();
        let mut process = Self {
            pid,
            statm: open("statm")?,
            stat: open("stat")?,
            tasks: open("task")?,
            children: Vec::new(),
            threads: 0,
            waited: Duration::ZERO,
        };
        process.look_for_threads();
        Some(process)
    }

    /// The folder of its threads has a link to itself, one to its parent, and one for each thread.
    fn look_for_threads(&mut self) {
        let threads = self.tasks.metadata().map_or(0, |folder| folder.nlink());
        if threads == self.threads {
            return;
        }
        self.threads = threads;
        let folder = format!("/proc/self/fd/{}", self.tasks.as_raw_fd());
        let names = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        self.children = names.filter_map(|thread| File::open(thread.join("children")).ok()).collect();
    }

    fn look_for_waited(&mut self, tick: Duration) {
        let mut buffer = [0; 1024];
        let Some(stat) = read(&self.stat, &mut buffer) else { return };
        let Some((_, fields)) = stat.rsplit_once(") ") else { return };
        let ticks = fields.split(' ').skip(13).take(2).filter_map(|field| field.parse::<u32>().ok());
        self.waited = tick * ticks.sum::<u32>();
    }

    /// The processes that its threads have started. The kernel may leave some out while others end; the next look finds them.
    fn children(&self) -> Vec<i32> {
        let mut found = Vec::new();
        let mut buffer = [0; 4096];
        for thread in &self.children {
            let (mut offset, mut text) = (0, String::new());
            while let Some(part) = read_at(thread, &mut buffer, offset).filter(|part| !part.is_empty()) {
                offset += part.len() as u64;
                text.push_str(part);
            }
            found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        found
    }

    /// Its RSS in pages (proc_pid_statm(5)).
    fn resident(&self) -> Option<u64> {
        let mut buffer = [0; 128];
        read(&self.statm, &mut buffer)?.split(' ').nth(1)?.parse().ok()
    }
}

/// The highest RSS that the program has had since it was started (proc_pid_status(5)).
fn peak_of(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kibibytes(&status, "VmHWM:")
}

fn pss_of(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    kibibytes(&rollup, "Pss:")
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn read<'a>(file: &File, buffer: &'a mut [u8]) -> Option<&'a str> {
    read_at(file, buffer, 0)
}

fn read_at<'a>(file: &File, buffer: &'a mut [u8], offset: u64) -> Option<&'a str> {
    let length = file.read_at(buffer, offset).ok()?;
    str::from_utf8(&buffer[..length]).ok()
}
