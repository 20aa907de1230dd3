//! The resources of processes that have ended, from the kernel's accounting.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::time::Duration;
use std::{fs, io};

/// The resources of a process, and of its descendants for which a process waited (getrusage(2)).
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time in the program's code.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The highest RSS, in bytes, of any of these processes.
    pub peak: u64,
    /// Page faults that needed no read from a disk.
    pub minor_faults: u64,
    /// Page faults that needed a read from a disk.
    pub major_faults: u64,
    /// Context switches because the process waited.
    pub voluntary_switches: u64,
    /// Context switches in favour of another process.
    pub involuntary_switches: u64,
}

impl Usage {
    /// CPU time.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }

    /// Adds the resources of a process that is not a descendant.
    pub fn add(&mut self, other: &Self) {
        self.user += other.user;
        self.system += other.system;
        self.peak = self.peak.max(other.peak);
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
    }

    /// The resources of this process so far, without its children.
    pub fn own() -> Self {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: a structure to fill in.
        unsafe {
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
            usage.assume_init().into()
        }
    }
}

impl From<libc::rusage> for Usage {
    fn from(usage: libc::rusage) -> Self {
        let time = |time: libc::timeval| {
            Duration::from_secs(time.tv_sec.unsigned_abs())
                + Duration::from_micros(time.tv_usec.unsigned_abs())
        };
        Self {
            user: time(usage.ru_utime),
            system: time(usage.ru_stime),
            peak: usage.ru_maxrss.unsigned_abs() * 1024,
            minor_faults: usage.ru_minflt.unsigned_abs(),
            major_faults: usage.ru_majflt.unsigned_abs(),
            voluntary_switches: usage.ru_nvcsw.unsigned_abs(),
            involuntary_switches: usage.ru_nivcsw.unsigned_abs(),
        }
    }
}

/// The state of the children of this process.
pub enum Ended {
    /// The child with this id has ended, and is a zombie.
    One(i32),
    /// All children run.
    None,
    /// This process has no children. If it is a subreaper, it has no descendants either.
    Childless,
}

/// Looks for a child that has ended, and leaves the zombie as it is.
pub fn ended() -> Ended {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: a structure to fill in, which stays zero if no child has ended.
    let (result, pid) = unsafe {
        let result = libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options);
        (result, info.assume_init().si_pid())
    };
    match (result, pid) {
        (0, 0) => Ended::None,
        (0, pid) => Ended::One(pid),
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => Ended::None,
        _ => Ended::Childless,
    }
}

/// Whether a zombie has waited for children of its own. Then the page faults of its children, which `stat` has, are not zero.
pub fn has_waited(pid: i32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    let faults = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(8));
    // Without the file the answer is unknown.
    faults.is_none_or(|faults| faults != "0")
}

/// Waits for a zombie. Returns its status and its resources.
pub fn reap(pid: i32) -> Option<(c_int, Usage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: two places to fill in.
    let usage = unsafe {
        if libc::wait4(pid, &mut status, libc::WNOHANG | libc::__WALL, usage.as_mut_ptr()) != pid {
            return None;
        }
        usage.assume_init()
    };
    Some((status, usage.into()))
}
