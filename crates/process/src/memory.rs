//! What a process's physical memory is, by the mappings that it is in.

use std::fs::{self, File};
use std::io::{self, BufReader};

use crate::mapping::{Mapping, page_size, read_mappings};
use crate::musl_stack;
use crate::stacks::{Candidate, Threads, stacks};

/// Bytes in physical memory, by what the kernel knows of a mapping (proc_pid_smaps(5)). Each page is in one field
/// besides `rss`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryMap {
    /// All of it, as the kernel counts it: not the sum of the others, which are counted a moment before.
    pub rss: u64,
    /// V8's mappings but for its code: heaps of every isolate, and WebAssembly memories. V8 has its mappings not go
    /// on to a forked child (MADV_DONTFORK), and no allocator does.
    pub v8: u64,
    /// Executable memory without a file: code that was compiled at run time.
    pub code: u64,
    /// Mapped files, and memory that is shared between processes.
    pub files: u64,
    /// The stacks of all threads.
    pub stacks: u64,
    /// What `brk` moves the end of.
    pub heap: u64,
    /// Address space reserved beforehand (MAP_NORESERVE) in the way of glibc's arenas: heaps of 64 MiB, each at a
    /// multiple of that.
    pub arenas: u64,
    /// Other address space reserved beforehand, which is how jemalloc, mimalloc and snmalloc have their memory.
    pub reserved: u64,
    /// Other private memory.
    pub private: u64,
    /// The rest: what the kernel maps itself, and devices.
    pub other: u64,
}

impl MemoryMap {
    /// All fields but `rss`.
    fn sum(&self) -> u64 {
        let Self { rss: _, v8, code, files, stacks, heap, arenas, reserved, private, other } = self;
        v8 + code + files + stacks + heap + arenas + reserved + private + other
    }
}

/// Reads the memory map of a process. The kernel walks its page tables for it, which takes milliseconds a gigabyte.
///
/// # Errors
/// Where there is no such process, or it may not be looked into (ptrace(2), "Ptrace access mode checking").
pub fn memory_map(pid: u32) -> io::Result<MemoryMap> {
    survey(pid).map(|survey| survey.map)
}

/// A memory map, and the mappings that it was made of.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The map.
    pub map: MemoryMap,
    /// In the order of their addresses.
    pub(crate) mappings: Vec<Mapping>,
}

impl Survey {
    /// Bytes in swap.
    pub fn swap(&self) -> u64 {
        self.mappings.iter().map(|mapping| mapping.swap).sum()
    }
}

/// As [`memory_map`].
///
/// # Errors
/// As [`memory_map`].
pub fn survey(pid: u32) -> io::Result<Survey> {
    const TRIES: usize = 5;
    let mut tries = 0;
    let stack = longest_stack(&fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default());
    loop {
        let smaps = File::open(format!("/proc/{pid}/smaps"))?;
        let mappings = musl_stack::divide(pid, read_mappings(BufReader::with_capacity(1 << 16, smaps))?);
        let mut map = classify(&mappings, stack, &Threads::of(pid));
        map.rss = resident(pid)?;
        tries += 1;
        // An allocator that gives memory back meanwhile makes the two disagree.
        if map.sum().abs_diff(map.rss) <= map.rss / 50 || tries == TRIES {
            return Ok(Survey { map, mappings });
        }
    }
}

/// The bytes that a process has in physical memory.
///
/// # Errors
/// Where there is no such process.
pub fn resident(pid: u32) -> io::Result<u64> {
    // The second field, in pages.
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.map(|pages| pages * page_size()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What a thread's stack has at the most by the limits of its process (proc_pid_limits(5)), if the program asked for no
/// other size.
fn longest_stack(limits: &str) -> u64 {
    const USUAL: u64 = 8 << 20;
    // The C library's own data of the thread, which may be in the same mapping.
    const BESIDE: u64 = 1 << 20;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max stack size")?.split_whitespace().next());
    // Without a limit the C library has a size of its own, which is less.
    let limit = soft.and_then(|soft| soft.parse::<u64>().ok()).unwrap_or(USUAL);
    limit.max(USUAL).saturating_add(BESIDE)
}

fn classify(mappings: &[Mapping], longest: u64, threads: &Threads) -> MemoryMap {
    let mut map = MemoryMap::default();
    let mut candidates = Vec::new();
    let none = Mapping::default();
    for (index, mapping) in mappings.iter().enumerate() {
        let below = index.checked_sub(1).map_or(&none, |below| &mappings[below]);
        let above = mappings.get(index + 1).unwrap_or(&none);
        let evidence = mapping.is_anonymous().then(|| mapping.stack(below, longest)).flatten();
        match evidence.filter(|_| !mapping.is("dc")) {
            Some(evidence) => {
                candidates.push(Candidate { range: mapping.start..mapping.end, rss: mapping.rss, evidence });
            }
            None => *field(&mut map, mapping, above) += mapping.rss,
        }
    }
    // One that is none is other private memory.
    let all: u64 = candidates.iter().map(|candidate| candidate.rss).sum();
    let in_stacks = stacks(candidates, threads);
    map.stacks += in_stacks;
    map.private += all - in_stacks;
    map
}

/// The field that a mapping's bytes are in.
fn field<'map>(map: &'map mut MemoryMap, mapping: &Mapping, above: &Mapping) -> &'map mut u64 {
    match mapping.name.as_str() {
        "[heap]" => &mut map.heap,
        "[stack]" => &mut map.stacks,
        name if name.starts_with('/') || name.starts_with("[anon_shmem:") => &mut map.files,
        _ if !mapping.is_anonymous() => &mut map.other,
        _ if mapping.permissions.contains('x') => &mut map.code,
        _ if mapping.is("dc") => &mut map.v8,
        _ if !mapping.is("nr") => &mut map.private,
        _ if mapping.is_glibc_heap(above) => &mut map.arenas,
        _ => &mut map.reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: u64 = 9 << 20;
    /// There may be as many threads as it looks like.
    const ANY: Threads = Threads { pointers: Vec::new(), others: usize::MAX };

    fn classified(smaps: &str, threads: &Threads) -> MemoryMap {
        classify(&read_mappings(smaps.as_bytes()).expect("bytes can be read"), STACK, threads)
    }

    fn entry(head: &str, kilobytes: u64, flags: &str) -> String {
        format!("{head}\nSize: 4 kB\nRss:   {kilobytes} kB\nPss: 1 kB\nVmFlags: {flags} \n")
    }

    #[test]
    fn each_mapping_has_its_field() {
        let smaps = [
            entry("00400000-00b6f000 r--p 00000000 00:1f 77    /usr/bin/node with a space", 1, "rd mr"),
            entry("37b21000-38f2f000 rw-p 00000000 00:00 0     [heap]", 2, "rd wr"),
            entry("050d16500000-050d16540000 rw-p 00000000 00:00 0", 4, "rd wr dc nr"),
            entry("050d16540000-050d16580000 rwxp 00000000 00:00 0", 8, "rd wr ex dc nr"),
            // A guard and its stack; then memory that lies above by chance.
            entry("7f0000001000-7f0000002000 ---p 00000000 00:00 0", 0, "mr"),
            entry("7f0000002000-7f0000802000 rw-p 00000000 00:00 0", 16, "rd wr"),
            entry("7f0000803000-7f0000903000 rw-p 00000000 00:00 0", 32, "rd wr ac"),
            // Without a guard of its own, on a newer kernel.
            entry("7f0001000000-7f0001800000 rw-p 00000000 00:00 0  [anon:stack]", 64, "rd wr nh"),
            // An arena behind the reserve of the one below it, which is no guard.
            entry("7f0003fff000-7f0004000000 ---p 00000000 00:00 0", 0, "mr nr"),
            entry("7f0004000000-7f0004021000 rw-p 00000000 00:00 0", 128, "rd wr nr"),
            entry("7f0005100000-7f0005200000 rw-p 00000000 00:00 0", 256, "rd wr nr"),
            entry("7f0006000000-7f0006100000 rw-s 00000000 00:05 9  /dev/zero (deleted)", 512, "rd wr sh"),
            entry("7f0007000000-7f0007001000 r-xp 00000000 00:00 0  [vdso]", 1024, "rd ex"),
            entry("7ffe97caf000-7ffe97cd0000 rw-p 00000000 00:00 0  [stack]", 2048, "rd wr gd"),
        ];
        let kib = |kilobytes: u64| kilobytes << 10;
        let expected = MemoryMap {
            rss: 0,
            v8: kib(4),
            code: kib(8),
            files: kib(1 + 512),
            stacks: kib(16 + 64 + 2048),
            heap: kib(2),
            arenas: kib(128),
            reserved: kib(256),
            private: kib(32),
            other: kib(1024),
        };
        assert_eq!(classified(&smaps.concat(), &ANY), expected);
    }

    #[test]
    fn memory_that_became_one_mapping_with_a_stack_is_no_stack() {
        let above_guard = |end: &str, flags: &str| {
            let smaps = [
                entry("7f0000001000-7f0000002000 ---p 00000000 00:00 0", 0, "mr mw me"),
                entry(&format!("7f0000002000-{end} rw-p 00000000 00:00 0"), 8, flags),
            ];
            let map = classified(&smaps.concat(), &ANY);
            (map.stacks >> 10, map.private >> 10)
        };
        assert_eq!(above_guard("7f0000902000", "rd wr mr mw me"), (8, 0));
        assert_eq!(above_guard("7f0010802000", "rd wr mr mw me"), (0, 8), "8 MiB, and 256 MiB above");
        assert_eq!(above_guard("7f0010802000", "rd wr mr mw me nh"), (8, 0), "as the program asked for");
    }

    #[test]
    fn holes_in_other_memory_make_no_stacks() {
        // Where jemalloc decommits (vm.overcommit_memory=2): what it has given back must not be touched.
        let smaps = [
            entry("7f0000000000-7f0000001000 ---p 00000000 00:00 0", 0, "mr mw me"),
            entry("7f0000001000-7f0000043000 rw-p 00000000 00:00 0", 1, "rd wr mr mw me"),
            entry("7f0000043000-7f0000045000 ---p 00000000 00:00 0", 0, "mr mw me"),
            entry("7f0000045000-7f0000055000 rw-p 00000000 00:00 0", 2, "rd wr mr mw me"),
            entry("7f0000055000-7f0000056000 ---p 00000000 00:00 0", 0, "mr mw me"),
            entry("7f0000056000-7f0000066000 rw-p 00000000 00:00 0", 4, "rd wr mr mw me"),
            // Two threads' stacks.
            entry("7f0001000000-7f0001001000 ---p 00000000 00:00 0", 0, "mr mw me"),
            entry("7f0001001000-7f0001801000 rw-p 00000000 00:00 0", 8, "rd wr mr mw me"),
            entry("7f0002000000-7f0002001000 ---p 00000000 00:00 0", 0, "mr mw me"),
            entry("7f0002001000-7f0002801000 rw-p 00000000 00:00 0", 16, "rd wr mr mw me"),
        ];
        let with = |pointers: &[u64], others| {
            let threads = Threads { pointers: pointers.to_vec(), others };
            let map = classified(&smaps.concat(), &threads);
            assert_eq!(map.stacks + map.private, 31 << 10);
            map.stacks >> 10
        };
        assert_eq!(with(&[0x7f00_0180_0f00, 0x7f00_0280_0f00], 0), 8 + 16);
        assert_eq!(with(&[0x7f00_0180_0f00], 0), 8);
        assert_eq!(with(&[], 0), 0, "there is but the first thread");
        assert!(with(&[0x7f00_0180_0f00], 1) <= 8 + 16, "one more, which runs");
    }

    #[test]
    fn the_longest_stack_is_what_the_limit_says() {
        let longest = |soft: &str| {
            longest_stack(&format!(
                "Limit  Soft Limit  Hard Limit  Units\nMax stack size  {soft}  unlimited  bytes \n"
            ))
        };
        assert_eq!(longest("67108864"), 65 << 20);
        assert_eq!(longest("131072"), 9 << 20, "threads may have asked for more");
        assert_eq!(longest("unlimited"), 9 << 20);
        assert_eq!(longest_stack(""), 9 << 20);
    }

    #[test]
    fn heaps_of_an_arena_that_became_one_mapping_are_the_arena_s() {
        const MAPPED: u64 = 131_072;
        let arenas = |smaps: &[String]| {
            let map = classified(&smaps.concat(), &ANY);
            assert_eq!(map.arenas + map.reserved, MAPPED << 10, "{map:?}");
            map.arenas > 0
        };
        let heaps = |range: &str, flags: &str| {
            entry(&format!("{range} rw-p 00000000 00:00 0"), MAPPED, &format!("rd wr mr mw me {flags}"))
        };
        let closed = |range: &str| entry(&format!("{range} ---p 00000000 00:00 0"), 0, "mr mw me nr");
        // As glibc's, all open; and with the last one open in part.
        assert!(arenas(&[heaps("7fba10000000-7fba18000000", "nr")]));
        assert!(arenas(&[heaps("7fba10000000-7fba1c021000", "nr"), closed("7fba1c021000-7fba20000000")]));
        // jemalloc's, which is at a multiple by chance; what lies above it has nothing to do with it.
        assert!(!arenas(&[heaps("7f2410000000-7f2427800000", "nr")]));
        assert!(!arenas(&[heaps("7f2410000000-7f2427800000", "nr"), closed("7f2427801000-7f2428000000")]));
        // mimalloc's, where huge pages are to be had and where not.
        assert!(!arenas(&[heaps("3f6a4000000-3f6e4000000", "nr hg")]));
        assert!(!arenas(&[heaps("3f6a4000000-3f6e4000000", "nr")]));
        // snmalloc's.
        assert!(!arenas(&[heaps("7fb158000000-7fd158000000", "nr dd")]));
    }

    #[test]
    fn every_page_of_this_process_is_in_one_field() {
        let map = memory_map(std::process::id()).expect("this process may look at itself");
        let MemoryMap { rss, v8, code, files, stacks, .. } = map;
        assert!(map.sum().abs_diff(rss) < rss / 10, "{map:?}");
        assert!(files > 0 && stacks > 0, "{map:?}");
        assert_eq!((v8, code), (0, 0), "there is no V8 here");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert_eq!(memory_map(0x7fff_fffe).expect_err("no such process").raw_os_error(), Some(libc::ENOENT));
    }
}
