//! The memory and CPU time of the program and its descendants while they run, from `/proc`.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use crate::clock::cpu_of;

/// The known processes. The program is the first.
pub struct Tree {
    program: i32,
    /// `/proc/<program>/status`.
    status: Option<File>,
    processes: Vec<Process>,
    page: u64,
    tick: Duration,
    /// The highest VmHWM of the program in a sample.
    pub peak: u64,
    /// The highest RSS of another process in a sample.
    pub peak_of_others: u64,
    /// CPU time of processes whose parent ignores SIGCHLD. The kernel adds their time to no other process.
    pub lost: Duration,
    cpu: Duration,
}

/// Raises the limit of open files of this process: it opens some for each process and each thread.
pub fn allow_many_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a structure to fill in, and one to read.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// With more threads than these, a process has too many files to keep them open.
const MANY_THREADS: u64 = 256;

/// The memory and CPU time of all processes at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// RSS of the program itself, in bytes.
    pub rss: u64,
    /// How many processes there are.
    pub processes: usize,
    /// The sum of their RSS.
    pub tree_rss: u64,
    /// The CPU time of all so far.
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

/// A process, as open files of `/proc`. Reading an open file again costs a quarter of opening and reading it. After the end of
/// the process, its files never show another process with the same id.
struct Process {
    pid: i32,
    parent: i32,
    statm: File,
    stat: File,
    tasks: File,
    /// The children of each of its threads, unless there are too many threads to keep the files open.
    children: Vec<File>,
    threads: u64,
    /// Its own CPU time in the last sample.
    cpu: Duration,
    /// CPU time of the children for which it has waited.
    waited: Duration,
    /// Whether the process ignores SIGCHLD and so does not wait for its children.
    ignores: bool,
}

impl Tree {
    /// The program alone.
    pub fn new(program: i32) -> Self {
        // SAFETY: takes a constant.
        let number = |name| u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(1).max(1);
        let tick = Duration::from_secs(1) / u32::try_from(number(libc::_SC_CLK_TCK)).unwrap_or(100);
        Self {
            program,
            status: File::open(format!("/proc/{program}/status")).ok(),
            processes: Process::open(program, 0).into_iter().collect(),
            page: number(libc::_SC_PAGESIZE),
            tick,
            peak: 0,
            peak_of_others: 0,
            lost: Duration::ZERO,
            cpu: Duration::ZERO,
        }
    }

    /// Looks for descendants that are new.
    pub fn discover(&mut self) {
        let mut known: HashSet<i32> = self.processes.iter().map(|process| process.pid).collect();
        let mut at = 0;
        while at < self.processes.len() {
            let process = &mut self.processes[at];
            process.look_for_threads();
            process.look_for_waited(self.tick);
            let pid = process.pid;
            let new: Vec<i32> = process.children().into_iter().filter(|child| known.insert(*child)).collect();
            if !new.is_empty() {
                process.ignores = ignores_children(pid);
            }
            self.processes.extend(new.into_iter().filter_map(|child| Process::open(child, pid)));
            at += 1;
        }
    }

    /// The memory and CPU time of all processes. `reaped`: the ids of the processes for which this process has waited since the
    /// last call. `waited`: the CPU time of all processes for which this process has waited.
    pub fn used(&mut self, reaped: &[i32], waited: Duration) -> Used {
        let (mut used, mut ended) = (Used::default(), Vec::new());
        for process in &mut self.processes {
            let resident = process.resident().map(|pages| pages * self.page);
            let (Some(rss), Some(cpu)) = (resident, cpu_of(process.pid)) else {
                ended.push(process.pid);
                continue;
            };
            process.cpu = cpu;
            used.cpu += cpu + process.waited;
            // A zombie has no memory, and does not count.
            if rss > 0 {
                used.processes += 1;
                used.tree_rss += rss;
            }
            if process.pid == self.program {
                used.rss = rss;
            } else {
                self.peak_of_others = self.peak_of_others.max(rss);
            }
        }
        self.forget(&ended, reaped);
        self.peak = self.peak.max(used.rss).max(self.status.as_ref().and_then(peak_of).unwrap_or(0));
        // After the end of a process, its time is missing until its parent's time is read again.
        self.cpu = self.cpu.max(used.cpu + waited + self.lost);
        used.cpu = self.cpu;
        used
    }

    /// Forgets all processes when none is left. `reaped` as in [`Tree::used`].
    pub fn settle(&mut self, reaped: &[i32]) {
        let ended: Vec<i32> = self.processes.iter().map(|process| process.pid).collect();
        self.forget(&ended, reaped);
    }

    fn forget(&mut self, ended: &[i32], reaped: &[i32]) {
        if ended.is_empty() {
            return;
        }
        let ignores = |pid: i32| self.processes.iter().any(|process| process.pid == pid && process.ignores);
        let is_ended = |process: &Process| ended.contains(&process.pid);
        let is_lost = |process: &&Process| {
            is_ended(process) && !reaped.contains(&process.pid) && ignores(process.parent)
        };
        self.lost += self.processes.iter().filter(is_lost).map(|process| process.cpu).sum::<Duration>();
        self.processes.retain(|process| !is_ended(process));
    }

    /// The PSS of all processes. This is expensive: the kernel visits each page.
    pub fn shares(&self) -> Option<Shares> {
        let mut shares = Shares::default();
        for process in &self.processes {
            let Some(pss) = pss_of(process.pid) else { continue };
            shares.tree += pss;
            if process.pid == self.program {
                shares.program = pss;
            }
        }
        (shares.tree > 0).then_some(shares)
    }
}

impl Process {
    fn open(pid: i32, parent: i32) -> Option<Self> {
        let open = |file: &str| File::open(format!("/proc/{pid}/{file}")).ok();
        let mut process = Self {
            pid,
            parent,
            statm: open("statm")?,
            stat: open("stat")?,
            tasks: open("task")?,
            children: Vec::new(),
            threads: 0,
            cpu: Duration::ZERO,
            waited: Duration::ZERO,
            ignores: false,
        };
        process.look_for_threads();
        Some(process)
    }

    /// Opens the files of the threads again if they have changed.
    fn look_for_threads(&mut self) {
        // The folder's link count is two, and one for each thread.
        let threads = self.tasks.metadata().map_or(0, |folder| folder.nlink().saturating_sub(2));
        if threads != self.threads {
            self.threads = threads;
            let is_few = threads <= MANY_THREADS;
            self.children = if is_few { self.files("children").collect() } else { Vec::new() };
        }
        // The first thread counts until the process ends. But after its own end, only the files of other threads show the memory.
        if threads > 1 && self.resident() == Some(0) {
            let shows = |statm: &File| pages(statm).is_some_and(|pages| pages > 0);
            let other = self.files("statm").find(shows);
            if let Some(statm) = other {
                self.statm = statm;
            }
        }
    }

    /// The file of that name of each thread.
    fn files(&self, name: &str) -> impl Iterator<Item = File> {
        let folder = format!("/proc/self/fd/{}", self.tasks.as_raw_fd());
        let threads = fs::read_dir(folder).into_iter().flatten().flatten();
        threads.filter_map(move |thread| File::open(thread.path().join(name)).ok())
    }

    /// Reads the CPU time of children from `stat` (proc_pid_stat(5)). Any character may occur in the name before.
    fn look_for_waited(&mut self, tick: Duration) {
        let mut buffer = [0; 1024];
        let Some(stat) = read(&self.stat, &mut buffer, 0) else { return };
        let Some(end) = stat.windows(2).rposition(|bytes| bytes == b") ") else { return };
        let fields = String::from_utf8_lossy(&stat[end + 2..]);
        let ticks = fields.split(' ').skip(13).take(2).filter_map(|field| field.parse::<u32>().ok());
        self.waited = tick * ticks.sum::<u32>();
    }

    /// The children of its threads. The kernel may skip children while others end. The next search finds these.
    fn children(&mut self) -> Vec<i32> {
        let found: Vec<_> = match self.threads > MANY_THREADS {
            true => self.files("children").map(|file| ids(&file)).collect(),
            false => self.children.iter().map(ids).collect(),
        };
        if found.iter().any(Option::is_none) {
            // A thread has ended, and another one may have begun. The number of threads does not show that.
            self.threads = 0;
        }
        found.into_iter().flatten().flatten().collect()
    }

    fn resident(&self) -> Option<u64> {
        pages(&self.statm)
    }
}

/// The process ids in a file. `None` if the file cannot be read any more.
fn ids(file: &File) -> Option<Vec<i32>> {
    let (mut buffer, mut text) = ([0; 4096], Vec::new());
    loop {
        match read(file, &mut buffer, text.len() as u64)? {
            [] => break,
            part => text.extend_from_slice(part),
        }
    }
    let text = String::from_utf8_lossy(&text);
    Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// RSS in pages (proc_pid_statm(5)).
fn pages(statm: &File) -> Option<u64> {
    let mut buffer = [0; 128];
    str::from_utf8(read(statm, &mut buffer, 0)?).ok()?.split(' ').nth(1)?.parse().ok()
}

/// The highest RSS of a process since its program was started (proc_pid_status(5)).
fn peak_of(status: &File) -> Option<u64> {
    let mut buffer = [0; 4096];
    kibibytes(&String::from_utf8_lossy(read(status, &mut buffer, 0)?), "VmHWM:")
}

fn pss_of(pid: i32) -> Option<u64> {
    kibibytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn ignores_children(pid: i32) -> bool {
    let status = fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 << (libc::SIGCHLD - 1) != 0)
}

fn read<'a>(file: &File, buffer: &'a mut [u8], offset: u64) -> Option<&'a [u8]> {
    let length = file.read_at(buffer, offset).ok()?;
    Some(&buffer[..length])
}
