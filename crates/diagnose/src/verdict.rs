//! The conclusion: what is known of a process's memory in, a code and a sentence out.

use malloc_backend_process::Parts;
use serde::Serialize;

use crate::sizes::{share, size};

/// What a process's memory comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Stable.
    pub code: VerdictCode,
    /// For people, with figures.
    pub sentence: String,
    /// The one command to try.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Bytes that another allocator, or the setting in `try`, can save at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saves_at_most: Option<u64>,
}

/// The kinds of conclusions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictCode {
    /// The allocator keeps free memory that it could give back.
    AllocatorRetention,
    /// The allocator has free memory between live blocks, and cannot give it back.
    AllocatorFragmentation,
    /// The allocator was told to keep freed memory for long.
    AllocatorOptions,
    /// Huge pages hold memory that the program does not use.
    Thp,
    /// V8's heap.
    V8Heap,
    /// Array buffers and Buffers of Node.
    ArrayBuffers,
    /// Live blocks of `malloc`.
    NativeLive,
    /// Files that are mapped, or memory that is shared.
    MappedFiles,
    /// The stacks of threads.
    Stacks,
    /// The process is small.
    Small,
    /// It cannot be told.
    Unknown,
}

/// The free memory that an allocator keeps, in physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    pub bytes: u64,
    /// Of that, whole pages, which could go back. `None` where that does not show.
    pub pages: Option<u64>,
}

/// What a conclusion is drawn from.
#[derive(Clone, Debug)]
pub struct Facts<'facts> {
    pub pid: u32,
    pub rss: u64,
    pub parts: Parts,
    /// `None` where it does not show.
    pub free: Option<Free>,
    /// In huge pages that hold nothing but zeros.
    pub zeros: u64,
    pub huge_mode: Option<&'facts str>,
    pub allocator: &'facts str,
    /// It shows which mappings are the allocator's.
    pub is_known: bool,
    /// The right to read the process's memory is missing.
    pub is_denied: bool,
    /// The option that has the allocator keep freed memory, and for how many milliseconds.
    pub long_keeping: Option<(String, Option<u64>)>,
    /// The process is Node.
    pub node: bool,
    /// The name of the program's file.
    pub program: String,
    /// It is the process that asks.
    pub is_own: bool,
}

const MIB: u64 = 1 << 20;
/// Below this there is nothing to win.
const SMALL: u64 = 100 * MIB;
/// Less free memory than this share of RSS is what every allocator keeps.
const MUCH: f64 = 0.25;

/// A part of the process, by what it is to the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    V8,
    Buffers,
    Live,
    /// Of the allocator, and whether it is free does not show.
    Malloc,
    Files,
    Stacks,
    Other,
}

impl Verdict {
    /// Concludes.
    pub fn of(facts: &Facts<'_>) -> Self {
        let Facts { rss, .. } = *facts;
        if rss < SMALL {
            let sentence = format!("The process is small: it has {} of physical memory.", size(rss));
            return Self::new(VerdictCode::Small, sentence, None);
        }
        let is_much = |bytes: u64| bytes as f64 >= MUCH * rss as f64;
        if is_much(facts.zeros) && facts.free.is_none_or(|free| free.bytes < facts.zeros) {
            return facts.huge_pages();
        }
        match facts.free {
            Some(free) if is_much(free.bytes) => facts.allocator(free),
            _ => facts.largest(),
        }
    }

    fn new(code: VerdictCode, sentence: String, command: Option<String>) -> Self {
        Self { code, sentence, command, saves_at_most: None }
    }
}

impl Facts<'_> {
    fn allocator(&self, Free { bytes, pages }: Free) -> Verdict {
        let (kind, largest) = self.parts_by_size()[0];
        let is_in_part = largest > bytes;
        let (code, why) = match pages {
            Some(pages) if pages < bytes / 2 => {
                let held = bytes - pages;
                let held = share(held, bytes);
                let why =
                    format!("{held} of it lie between live blocks, so the allocator cannot release them");
                (VerdictCode::AllocatorFragmentation, Some(why))
            }
            _ => (VerdictCode::AllocatorRetention, None),
        };
        let mut sentence = format!(
            "It is the allocator{}: {} are free memory that {} keeps",
            if is_in_part { " in part" } else { "" },
            share(bytes, self.rss),
            self.allocator
        );
        sentence.extend(why.map(|why| format!("; {why}")));
        if is_in_part {
            sentence += &format!("; {} are {}", size(largest), self.name(kind));
        }
        sentence.push('.');
        if let Some(keeping) = self.keeping() {
            sentence += &format!(" {keeping}");
        }
        Verdict { saves_at_most: Some(bytes), ..Verdict::new(code, sentence, Some(self.switch())) }
    }

    fn huge_pages(&self) -> Verdict {
        let sentence = format!(
            "It is transparent huge pages: {} are huge pages that contain only zeros. The program never wrote to most of \
             them.",
            share(self.zeros, self.rss)
        );
        // In the mode madvise a program asks for them itself.
        let mode = if self.huge_mode == Some("always") { "madvise" } else { "never" };
        let command = format!("echo {mode} | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
        Verdict { saves_at_most: Some(self.zeros), ..Verdict::new(VerdictCode::Thp, sentence, Some(command)) }
    }

    fn largest(&self) -> Verdict {
        let (kind, bytes) = self.parts_by_size()[0];
        let figures = share(bytes, self.rss);
        let free = match self.free {
            Some(free) => format!(", and {} keeps {} free", self.allocator, size(free.bytes)),
            None => String::new(),
        };
        let is_not = |what: &str, advice: &str| {
            format!("It is not the allocator: {figures} are {what}{free}. {advice}")
        };
        let snapshot = || self.node.then(|| "node --heapsnapshot-signal=SIGUSR2 …".to_owned());
        let pid = self.pid;
        match kind {
            Kind::V8 => Verdict::new(
                VerdictCode::V8Heap,
                is_not(
                    "V8's heap",
                    "Find what grows with a heap snapshot (kill -USR2 writes it), or set a limit with --max-old-space-size.",
                ),
                snapshot(),
            ),
            Kind::Buffers => Verdict::new(
                VerdictCode::ArrayBuffers,
                is_not(
                    "array buffers and Buffers that the program holds",
                    "Find what holds them with a heap snapshot (kill -USR2 writes it).",
                ),
                snapshot(),
            ),
            Kind::Live => Verdict::new(
                VerdictCode::NativeLive,
                is_not(
                    "live blocks that the program holds",
                    if self.node {
                        "In Node, Buffers and native modules hold such blocks. A heap profile names the functions that \
                         allocated them: start Node as below, then run malloc-backend profile --pid <pid> --html heap.html."
                    } else {
                        "A heap profile shows who asked for them."
                    },
                ),
                Some(self.profile()),
            ),
            Kind::Files => Verdict::new(
                VerdictCode::MappedFiles,
                is_not(
                    "mapped files and shared memory",
                    "The kernel frees pages of files when memory is short, and other processes may share them.",
                ),
                Some(format!("pmap -x {pid} | sort -n -k3 | tail")),
            ),
            Kind::Stacks => Verdict::new(
                VerdictCode::Stacks,
                is_not("the stacks of threads", "Start fewer threads."),
                Some(format!("ps -L -o comm= -p {pid} | sort | uniq -c")),
            ),
            Kind::Malloc => self.unseen(bytes),
            Kind::Other => {
                let whose = if self.is_known {
                    "the program mapped it directly, or another allocator in the program did"
                } else {
                    "malloc-backend does not know where this process's malloc has its memory"
                };
                let free = match self.free {
                    Some(free) => format!(" {} keeps {} free.", self.allocator, size(free.bytes)),
                    None => String::new(),
                };
                let sentence = format!(
                    "The reason is unknown: {figures} are private memory of an unknown kind ({whose}).{free}"
                );
                let command = format!("pmap -x {pid} | sort -n -k3 | tail");
                Verdict::new(VerdictCode::Unknown, sentence, Some(command))
            }
        }
    }

    /// How much of the allocator's memory is free does not show.
    fn unseen(&self, bytes: u64) -> Verdict {
        let figures = share(bytes, self.rss);
        let allocator = self.allocator;
        if let Some(keeping) = self.keeping() {
            let sentence = format!(
                "It may be the allocator: {figures} belong to {allocator}, and its free memory cannot be measured from \
                 outside. {keeping}"
            );
            return Verdict::new(VerdictCode::AllocatorOptions, sentence, Some(self.switch()));
        }
        let (why, command) = if self.is_denied {
            let why = ", because the right to read the process's memory is missing";
            (why, format!("sudo malloc-backend doctor --pid {}", self.pid))
        } else if self.is_own {
            (", because it does not count live blocks", self.switch())
        } else {
            (" from outside. Call diagnose() in the process itself", self.switch())
        };
        let sentence = format!(
            "The reason is unknown: {figures} belong to {allocator}, and its free memory cannot be measured{why}."
        );
        Verdict::new(VerdictCode::Unknown, sentence, Some(command))
    }

    fn keeping(&self) -> Option<String> {
        let (option, milliseconds) = self.long_keeping.as_ref()?;
        let how_long = match milliseconds {
            Some(milliseconds) => format!("for {} s", milliseconds / 1000),
            None => "forever".to_owned(),
        };
        Some(format!("The option {option} makes it keep freed memory {how_long}."))
    }

    /// The parts, the largest first.
    fn parts_by_size(&self) -> Vec<(Kind, u64)> {
        let Parts {
            v8_heap,
            code,
            array_buffers,
            malloc_live,
            malloc_cached,
            malloc,
            mapped_files,
            stacks,
            other,
        } = self.parts;
        // The free memory is no part of its own where it is known from the heaps.
        let _ = malloc_cached;
        let mut parts = vec![
            (Kind::V8, v8_heap.unwrap_or(0) + code),
            (Kind::Buffers, array_buffers.unwrap_or(0)),
            (Kind::Live, malloc_live.unwrap_or(0)),
            (Kind::Malloc, malloc.unwrap_or(0)),
            (Kind::Files, mapped_files),
            (Kind::Stacks, stacks),
            (Kind::Other, other),
        ];
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        parts
    }

    fn name(&self, kind: Kind) -> String {
        match kind {
            Kind::V8 => "V8's heap".to_owned(),
            Kind::Buffers => "array buffers and Buffers".to_owned(),
            Kind::Live => "live blocks".to_owned(),
            Kind::Malloc => format!("{}'s", self.allocator),
            Kind::Files => "mapped files and shared memory".to_owned(),
            Kind::Stacks => "the stacks of threads".to_owned(),
            Kind::Other => "private memory of an unknown kind".to_owned(),
        }
    }

    /// The switch to try: to the allocator that gives memory back by itself, or to the preset with which it does so sooner.
    fn switch(&self) -> String {
        let preset = if self.allocator == malloc_backend::MemoryAllocatorBackend::Jemalloc.as_str() {
            " --preset low-rss"
        } else {
            ""
        };
        format!("malloc-backend run jemalloc{preset} -- {} …", self.program)
    }

    fn profile(&self) -> String {
        if self.node {
            return "MALLOC_BACKEND_PROFILE=socket node --import malloc-backend/profile …".to_owned();
        }
        match self.program.starts_with("python") {
            true => format!("memray attach {}", self.pid),
            false => format!("heaptrack --pid {}", self.pid),
        }
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
