//! What a profile has gathered. The tables are made once: a thread that is late finds them.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::intern::Interner;
use crate::live::Live;
use crate::options::MOST_SAMPLES;

/// How many threads have their id in the profile. The others have 0, so that a service that starts threads for ever does not
/// fill the table of stacks.
const THREADS: usize = 256;

/// The tables.
pub struct Tables {
    /// The sampled blocks in use.
    pub live: Live,
    /// The thread's label, then the frames, the innermost first. The counters: allocated objects times [`PARTS`], and bytes.
    pub stacks: Interner,
    /// JavaScript functions (`v8::Function`), and places in Python programs (`python::Place`).
    pub functions: Interner,
    /// The places in code objects that were seen. The first counter is the index of the place in `functions`; 0 if that is not
    /// known yet.
    pub places: Interner,
    /// Names.
    pub strings: Interner,
    /// Samples whose stack found no room. The same counters as those of a stack.
    pub without_stack: [AtomicU64; 2],
    /// How many samples were taken.
    pub samples: AtomicU64,
    /// The CPU time that all samples took, by those that were timed.
    pub nanoseconds: AtomicU64,
    threads: AtomicUsize,
}

/// A sample stands for a number of objects that is no whole number.
pub const PARTS: f64 = 1024.0;

static TABLES: OnceLock<Tables> = OnceLock::new();

impl Tables {
    /// The tables; `None` before the first profile.
    pub fn get() -> Option<&'static Self> {
        TABLES.get()
    }

    /// The tables, made if need be.
    ///
    /// # Errors
    /// There is no address space.
    pub fn get_or_make() -> io::Result<&'static Self> {
        if TABLES.get().is_none() {
            let tables = Self {
                live: Live::new(MOST_SAMPLES)?,
                stacks: Interner::new(1 << 16, 6 << 20)?,
                functions: Interner::new(1 << 15, 2 << 20)?,
                places: Interner::new(1 << 15, 2 << 20)?,
                strings: Interner::new(1 << 15, 2 << 20)?,
                without_stack: [AtomicU64::new(0), AtomicU64::new(0)],
                samples: AtomicU64::new(0),
                nanoseconds: AtomicU64::new(0),
                threads: AtomicUsize::new(0),
            };
            // The one who starts a profile is alone.
            let _ = TABLES.set(tables);
        }
        TABLES.get().ok_or_else(|| io::Error::other("the tables are missing"))
    }

    /// Forgets everything. No thread takes a sample meanwhile.
    pub fn clear(&self, most_samples: usize) {
        self.live.clear(most_samples);
        self.stacks.clear();
        self.functions.clear();
        self.places.clear();
        self.strings.clear();
        for counter in self.without_stack.iter().chain([&self.samples, &self.nanoseconds]) {
            counter.store(0, Ordering::Relaxed);
        }
        self.threads.store(0, Ordering::Relaxed);
    }

    /// The thread's id, for the first threads; 0 for the others.
    pub fn thread_id(&self, id: i32) -> u32 {
        match self.threads.fetch_add(1, Ordering::Relaxed) {
            0..THREADS => id as u32,
            _ => 0,
        }
    }
}
