use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use malloc_backend::MemoryAllocatorBackend;

/// A domain of CPython's memory with a table that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// `PyMem_RawMalloc` and its family. They may be called without the GIL.
    Raw,
    /// `PyMem_Malloc`: buffers and small structures.
    Mem,
    /// `PyObject_Malloc`: objects.
    Obj,
    /// The arenas, which pymalloc divides into small blocks.
    Arena,
}

impl Domain {
    /// All four, in the order of [`Counters`](crate::Counters).
    pub const ALL: [Self; 4] = [Self::Raw, Self::Mem, Self::Obj, Self::Arena];

    /// The name in options and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mem => "mem",
            Self::Obj => "obj",
            Self::Arena => "arena",
        }
    }
}

/// The domains that a backend serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The backend. `default` changes no domain.
    pub backend: MemoryAllocatorBackend,
    /// Whether the backend serves each domain, in the order of [`Domain::ALL`].
    pub domains: [bool; 4],
    /// Whether CPython's debug hooks are set (`PyMem_SetupDebugHooks`).
    pub debug: bool,
    /// Whether calls and bytes are counted.
    pub counters: bool,
}

impl Config {
    /// Whether this configuration changes anything in Python.
    pub const fn chooses(&self) -> bool {
        self.debug || !matches!(self.backend, MemoryAllocatorBackend::Default)
    }

    /// Whether the backend serves this domain.
    pub const fn serves(&self, domain: Domain) -> bool {
        !matches!(self.backend, MemoryAllocatorBackend::Default) && self.domains[domain as usize]
    }
}

/// The form that [`FromStr`] reads.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.backend)?;
        let domains = Domain::ALL.into_iter().map(|domain| (domain.as_str(), self.domains[domain as usize]));
        let words = domains.chain([("debug", self.debug), ("counters", self.counters)]);
        words.filter(|(_, is_on)| *is_on).try_for_each(|(word, _)| write!(f, ",{word}"))
    }
}

/// The text is not a configuration. Contains the unknown part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseConfigError(pub String);

impl fmt::Display for ParseConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no backend, domain or option of the Python hook", self.0)
    }
}

impl core::error::Error for ParseConfigError {}

/// `jemalloc,raw,mem,obj,debug,counters`: the backend, then the chosen domains and options.
impl FromStr for Config {
    type Err = ParseConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = |word: &str| ParseConfigError(word.to_owned());
        let mut words = text.split(',');
        let backend = words.next().unwrap_or_default();
        let backend = backend.parse().map_err(|_| unknown(backend))?;
        let mut config = Self { backend, domains: [false; 4], debug: false, counters: false };
        for word in words {
            match word {
                "debug" => config.debug = true,
                "counters" => config.counters = true,
                _ => {
                    let domain = Domain::ALL.into_iter().find(|domain| domain.as_str() == word);
                    config.domains[domain.ok_or_else(|| unknown(word))? as usize] = true;
                }
            }
        }
        Ok(config)
    }
}
