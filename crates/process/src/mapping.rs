//! The mappings of a process (proc_pid_smaps(5)), and what each may be by its marks and its place.

use std::io::{self, BufRead};
use std::ops::Range;

use crate::stacks::Evidence;

pub fn page_size() -> u64 {
    // SAFETY: takes a constant.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}
/// One entry of `smaps`.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    pub permissions: String,
    pub name: String,
    pub rss: u64,
    /// Bytes in huge pages.
    pub huge: u64,
    /// Bytes in swap.
    pub swap: u64,
    /// A thread's stack, by a note of the C library's (`musl_stack`).
    pub is_noted_stack: bool,
    pub flags: Vec<String>,
}

impl Mapping {
    /// `start-end permissions offset device inode name`, if the line is the first of an entry.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let address = |text| u64::from_str_radix(text, 16).ok();
        let (start, end) = (address(start)?, address(end)?);
        let permissions = fields.next()?.to_owned();
        let name = fields.nth(3).unwrap_or_default().trim_start().to_owned();
        Some(Self { start, end, permissions, name, ..Self::default() })
    }

    /// A line that is not the first: `name: value`.
    fn add(&mut self, line: &str) {
        let Some((name, value)) = line.split_once(':') else { return };
        let bytes = || {
            let kilobytes = value.trim().trim_end_matches(" kB").parse::<u64>();
            kilobytes.unwrap_or_default() << 10
        };
        match name {
            "Rss" => self.rss = bytes(),
            "AnonHugePages" => self.huge = bytes(),
            "Swap" => self.swap = bytes(),
            "VmFlags" => self.flags = value.split_whitespace().map(str::to_owned).collect(),
            _ => {}
        }
    }

    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|each| each == flag)
    }

    /// Private and without a file; a name is one that the program gave it (PR_SET_VMA).
    pub fn is_anonymous(&self) -> bool {
        (self.name.is_empty() || self.name.starts_with("[anon:")) && self.permissions.ends_with('p')
    }

    /// Whether glibc can have heaps of an arena in it. V8 has its mappings not go on to a forked child.
    pub fn may_be_heap(&self) -> bool {
        self.is_anonymous() && self.permissions == "rw-p" && !self.is("dc")
    }

    /// Whether blocks that are mapped for themselves can be in it: they are not reserved beforehand, nor marked as a
    /// stack.
    pub fn may_be_block(&self) -> bool {
        self.may_be_heap() && !self.is("nr") && !self.is("nh")
    }

    /// A stretch that must not be touched, as there is one below each thread's stack.
    pub fn is_guard(&self) -> bool {
        let small = self.end - self.start <= 1 << 20;
        self.is_anonymous() && self.permissions == "---p" && small && !self.is("nr") && !self.is("dc")
    }

    /// Why it may be a thread's stack. A kernel that takes no note of stacks makes one mapping of a stack and of memory
    /// above it, which then is longer than stacks are.
    pub fn stack(&self, below: &Self, longest: u64) -> Option<Evidence> {
        // The C library asks for stacks whose size is a multiple of this.
        const ROUND: u64 = 64 << 10;
        let length = self.end - self.start;
        let guarded = below.is_guard() && below.end == self.start && length <= longest;
        if self.is_noted_stack {
            return Some(Evidence::Noted);
        }
        if self.permissions != "rw-p" || self.is("nr") {
            return None;
        }
        match (self.is("nh"), guarded) {
            (true, true) => Some(Evidence::MarkedAndGuarded),
            (true, false) => Some(Evidence::Marked),
            (false, true) if below.end - below.start <= page_size() && length.is_multiple_of(ROUND) => {
                Some(Evidence::LikePthread)
            }
            (false, true) => Some(Evidence::Guarded),
            (false, false) => None,
        }
    }

    /// glibc reserves each heap of a thread's arena at a multiple of its size, and opens it from there. Full ones that
    /// lie side by side are one mapping, which ends with a heap or where the rest of the last is still closed.
    pub fn is_glibc_heap(&self, above: &Self) -> bool {
        const SIZE: u64 = 64 << 20;
        // Where mimalloc asks for its arenas, which begin and end at such multiples as well.
        const HINTS: Range<u64> = 2 << 40..32 << 40;
        if !self.start.is_multiple_of(SIZE) {
            return false;
        }
        if self.end - self.start <= SIZE {
            return true;
        }
        let rest = above.is("nr") && above.permissions == "---p" && above.start == self.end;
        let end = if rest { above.end } else { self.end };
        // snmalloc keeps its unused memory out of core dumps.
        end.is_multiple_of(SIZE) && !HINTS.contains(&self.start) && !self.is("dd")
    }
}

pub fn read_mappings(smaps: impl BufRead) -> io::Result<Vec<Mapping>> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in smaps.split(b'\n') {
        // A file may have any name.
        let line = String::from_utf8_lossy(&line?).into_owned();
        match (Mapping::parse(&line), mappings.last_mut()) {
            (Some(next), _) => mappings.push(next),
            (None, Some(last)) => last.add(&line),
            (None, None) => {}
        }
    }
    Ok(mappings)
}
