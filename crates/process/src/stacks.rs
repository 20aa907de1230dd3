//! Which mappings are threads' stacks.

use std::fs;
use std::ops::Range;

/// Where the threads of a process have their stacks, but for the first one, whose mapping has a name.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    /// Addresses within stacks.
    pub pointers: Vec<u64>,
    /// How many threads more there are: such as run at this moment, or may not be looked at.
    pub others: usize,
}

impl Threads {
    /// Those of a process. Where the kernel names none there may be any number.
    pub fn of(pid: u32) -> Self {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return Self { pointers: Vec::new(), others: usize::MAX };
        };
        // SAFETY: takes nothing.
        let caller = unsafe { libc::gettid() }.to_string();
        let mut threads = Self::default();
        for task in tasks.flatten().map(|task| task.path()).filter(|task| !task.ends_with(pid.to_string())) {
            let pointer = if task.ends_with(&caller) {
                Some((&raw const caller).addr() as u64)
            } else {
                fs::read_to_string(task.join("syscall")).ok().and_then(|line| stack_pointer(&line))
            };
            match pointer {
                Some(pointer) => threads.pointers.push(pointer),
                None => threads.others += 1,
            }
        }
        threads
    }
}

/// The last but one of what the kernel says of a thread that waits (proc_pid_syscall(5)); of one that runs it says no
/// more than that.
fn stack_pointer(line: &str) -> Option<u64> {
    let pointer = line.split_whitespace().rev().nth(1)?;
    u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok()
}

/// Why a mapping may be a stack; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The C library has written down that it is one (`musl_stack`).
    Noted,
    /// A kernel since 6.7 has taken note of what it is for (MAP_STACK), and a stretch that must not be touched lies below.
    MarkedAndGuarded,
    /// The kernel's note alone, as it also makes it for memory that is to have no huge pages.
    Marked,
    /// One page below it must not be touched, and it is as long as somebody would ask for.
    LikePthread,
    /// Something below it must not be touched: also a hole that jemalloc has made by giving memory back.
    Guarded,
}

/// Private memory that may be a stack.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub range: Range<u64>,
    pub rss: u64,
    pub evidence: Evidence,
}

/// The bytes in physical memory that are stacks. Where a thread's pointer points is one; for each thread whose pointer is
/// not known there is one more, the likeliest. The stacks that the C library keeps of ended threads are no thread's.
pub fn stacks(mut candidates: Vec<Candidate>, threads: &Threads) -> u64 {
    let holds =
        |candidate: &Candidate| threads.pointers.iter().any(|pointer| candidate.range.contains(pointer));
    candidates.sort_by_key(|candidate| candidate.evidence);
    let (known, likely): (Vec<_>, Vec<_>) = candidates.iter().partition(|candidate| holds(candidate));
    known.iter().chain(likely.iter().take(threads.others)).map(|candidate| candidate.rss).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_has_a_stack_pointer() {
        let waits = "202 0xb357e00 0x189 0x0 0x0 0x0 0xffffffff 0x7fd348b3bc70 0x7fd3493c3f16\n";
        assert_eq!(stack_pointer(waits), Some(0x7fd3_48b3_bc70));
        assert_eq!(stack_pointer("-1 0x7ffc1000 0x401000\n"), Some(0x7ffc_1000));
        assert_eq!(stack_pointer("running\n"), None);
        assert_eq!(stack_pointer(""), None);
    }

    #[test]
    fn there_are_as_many_stacks_as_threads() {
        let candidate = |start: u64, evidence| Candidate { range: start..start + 16, rss: start, evidence };
        let candidates = [
            candidate(32, Evidence::Guarded),
            candidate(64, Evidence::Guarded),
            candidate(128, Evidence::LikePthread),
            candidate(256, Evidence::Marked),
            candidate(512, Evidence::MarkedAndGuarded),
        ];
        let of = |pointers: &[u64], others| {
            stacks(candidates.to_vec(), &Threads { pointers: pointers.to_vec(), others })
        };
        assert_eq!(of(&[], 0), 0);
        assert_eq!(of(&[64, 79], 0), 64, "two pointers into one stack, such as a handler's");
        assert_eq!(of(&[31, 48, 4096], 0), 0, "beside all of them");
        assert_eq!([1, 2, 3].map(|others| of(&[], others)), [512, 512 + 256, 512 + 256 + 128]);
        assert_eq!(of(&[40, 520], 1), 32 + 512 + 256);
        assert_eq!(of(&[], usize::MAX), 32 + 64 + 128 + 256 + 512);
    }
}
