use alloc::string::String;
use core::ffi::{c_int, c_void};
use core::fmt;
use core::mem::MaybeUninit;

use malloc_backend::{MemoryAllocatorBackend, RawAllocator, Unavailable, Visitor};

use crate::counters::DomainCounters;
use crate::tables::{PyMemAllocatorEx, PyObjectArenaAllocator, Tables};
use crate::{AllocatorSymbols, Config, Domain, PythonVersion};

/// Why the domains were left as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Older than 3.8.
    TooOld(PythonVersion),
    /// A build without the GIL, whose objects and arenas are bound to its own mimalloc.
    FreeThreaded(PythonVersion),
    /// This build has not got the backend.
    Unavailable(Unavailable),
    /// What was read back is not what was set.
    NotApplied(Domain),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld(version) => write!(f, "Python {} is older than 3.8", version.number),
            Self::FreeThreaded(version) => write!(
                f,
                "Python {} is free-threaded, and its objects are bound to the mimalloc within it; only the raw \
                 domain can be set",
                version.number
            ),
            Self::Unavailable(unavailable) => unavailable.fmt(f),
            Self::NotApplied(domain) => {
                write!(f, "Python did not keep the allocator that was set for the domain {}", domain.as_str())
            }
        }
    }
}

impl core::error::Error for Refusal {}

/// A Python whose domains were set.
#[derive(Clone, Copy, Debug)]
pub struct Domains {
    symbols: AllocatorSymbols,
    config: Config,
    tables: Option<Tables>,
}

// SAFETY: the pointers in it are to functions and static counters.
unsafe impl Send for Domains {}
// SAFETY: see above.
unsafe impl Sync for Domains {}

/// Who serves each domain, as read back from CPython.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which Python.
    pub version: PythonVersion,
    /// What was chosen.
    pub backend: MemoryAllocatorBackend,
    /// Its version, where it has one.
    pub backend_version: Option<String>,
    /// Whether the backend serves the domain, in the order of [`Domain::ALL`].
    pub domains: [bool; 4],
    /// Whether CPython's debug hooks are on.
    pub debug: bool,
}

impl Domains {
    /// Sets the domains. That is for before the interpreter is initialised, or at least before it allocates: a block
    /// of the allocator before would be freed by that after.
    ///
    /// # Errors
    /// A [`Refusal`]; nothing was set then, unless it is [`Refusal::NotApplied`].
    pub fn install(
        symbols: AllocatorSymbols,
        config: Config,
        counters: &'static DomainCounters,
    ) -> Result<Self, Refusal> {
        let version = symbols.version();
        if version.release < (3, 8) {
            return Err(Refusal::TooOld(version));
        }
        let bound = [Domain::Mem, Domain::Obj, Domain::Arena];
        if version.free_threaded && bound.into_iter().any(|domain| config.serves(domain)) {
            return Err(Refusal::FreeThreaded(version));
        }
        let tables = match config.backend {
            MemoryAllocatorBackend::Default => None,
            backend => Some(backend.visit(MakeTables(&config, counters)).map_err(Refusal::Unavailable)?),
        };
        let domains = Self { symbols, config, tables };
        domains.set();
        let report = domains.report();
        match Domain::ALL
            .into_iter()
            .find(|domain| report.domains[*domain as usize] != config.serves(*domain))
        {
            Some(domain) => Err(Refusal::NotApplied(domain)),
            None => Ok(domains),
        }
    }

    fn set(&self) {
        for domain in Domain::ALL.into_iter().filter(|domain| self.config.serves(*domain)) {
            let Some(tables) = &self.tables else { continue };
            // SAFETY: CPython copies the tables, whose functions keep to its contract and are thread-safe.
            unsafe {
                match domain {
                    Domain::Arena => (self.symbols.set_arena)(&tables.arena),
                    _ => (self.symbols.set_allocator)(domain as c_int, &tables.domains[domain as usize]),
                }
            }
        }
        if self.config.debug {
            // SAFETY: takes nothing; it wraps what is set now.
            unsafe { (self.symbols.setup_debug_hooks)() }
        }
    }

    /// Reads back who serves each domain.
    pub fn report(&self) -> Report {
        let functions = self.config.backend.functions().ok();
        Report {
            version: self.symbols.version(),
            backend: self.config.backend,
            backend_version: functions.and_then(|functions| (functions.version)()),
            domains: Domain::ALL.map(|domain| self.is_served(domain)),
            debug: [Domain::Raw, Domain::Mem, Domain::Obj]
                .into_iter()
                .all(|domain| self.hooked(domain).is_some()),
        }
    }

    fn is_served(&self, domain: Domain) -> bool {
        let Some(tables) = &self.tables else { return false };
        if domain == Domain::Arena {
            return tables.arena.addresses() == self.arena().addresses();
        }
        let ours = tables.domains[domain as usize].addresses();
        let beneath = self.hooked(domain).map(|table| table.addresses());
        self.allocator(domain).addresses() == ours || beneath == Some(ours)
    }

    fn allocator(&self, domain: Domain) -> PyMemAllocatorEx {
        let mut table = MaybeUninit::uninit();
        // SAFETY: CPython fills the whole structure in; a domain's number is that of `PyMemAllocatorDomain`.
        unsafe {
            (self.symbols.get_allocator)(domain as c_int, table.as_mut_ptr());
            table.assume_init()
        }
    }

    fn arena(&self) -> PyObjectArenaAllocator {
        let mut table = MaybeUninit::uninit();
        // SAFETY: CPython fills the whole structure in.
        unsafe {
            (self.symbols.get_arena)(table.as_mut_ptr());
            table.assume_init()
        }
    }

    /// What the debug hooks were set over, if they are on. Their context is `debug_alloc_api_t` (Objects/obmalloc.c): a
    /// letter for the domain, and the allocator beneath.
    fn hooked(&self, domain: Domain) -> Option<PyMemAllocatorEx> {
        #[repr(C)]
        struct DebugAllocApi {
            letter: u8,
            allocator: PyMemAllocatorEx,
        }
        // Without having asked for them the hooks are off: what would turn them on else is refused beforehand.
        if !self.config.debug {
            return None;
        }
        let top = self.allocator(domain);
        let ours =
            self.tables.is_some_and(|tables| top.addresses() == tables.domains[domain as usize].addresses());
        if top.ctx.is_null() || ours {
            return None;
        }
        // SAFETY: neither a table of ours nor one without context, so that it is the hooks': CPython has no other
        // table with a context, and nobody else sets one before `main`.
        let api = unsafe { &*top.ctx.cast::<DebugAllocApi>() };
        let letter = [b'r', b'm', b'o'][domain as usize];
        (api.letter == letter).then_some(api.allocator)
    }
}

/// Chooses the functions of one allocator, once.
struct MakeTables<'a>(&'a Config, &'static DomainCounters);

impl Visitor for MakeTables<'_> {
    type Output = Tables;

    fn visit<A: RawAllocator>(self) -> Tables {
        Tables::new::<A>(self.0, self.1)
    }
}

const _: () = assert!(size_of::<*mut c_void>() * 5 == size_of::<PyMemAllocatorEx>());
