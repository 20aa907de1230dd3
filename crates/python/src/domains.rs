use alloc::string::String;
use core::ffi::{c_int, c_void};
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr;

use malloc_backend::owner::Object;
use malloc_backend::{MemoryAllocatorBackend, RawAllocator, Unavailable, Visitor};

use crate::c_api::{PyMemAllocatorEx, PyObjectArenaAllocator};
use crate::counters::DomainCounters;
use crate::tables::Tables;
use crate::{AllocatorSymbols, Config, Domain, PythonVersion};

/// Why the domains were not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Python is older than 3.8.
    TooOld(PythonVersion),
    /// Python was built without the GIL. Its objects and arenas need its own mimalloc.
    FreeThreaded(PythonVersion),
    /// This build does not contain the backend.
    Unavailable(Unavailable),
    /// The table that was read back is not the table that was set.
    NotApplied(Domain),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld(version) => write!(f, "Python {} is older than 3.8", version.number),
            Self::FreeThreaded(version) => write!(
                f,
                "Python {} is free-threaded, and its objects need its own mimalloc; only the raw domain can be set",
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

/// A Python with domains that this package has set.
#[derive(Clone, Copy, Debug)]
pub struct Domains {
    symbols: AllocatorSymbols,
    config: Config,
    tables: Option<Tables>,
    /// The functions of Python's debug hooks for each of the three domains, if this package has set up the hooks.
    hooks: Option<[[usize; 4]; 3]>,
}

// SAFETY: all pointers point to functions and static counters.
unsafe impl Send for Domains {}
// SAFETY: see above.
unsafe impl Sync for Domains {}

/// The allocator of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Python's own allocator.
    ByPython,
    /// The backend.
    ByBackend,
    /// Other code has replaced the backend's table by a table that this package does not know.
    Unknown,
}

/// The allocator of each domain, as read back from CPython.
#[derive(Clone, Debug)]
pub struct Report {
    /// Python's version.
    pub version: PythonVersion,
    /// The chosen backend.
    pub backend: MemoryAllocatorBackend,
    /// The backend's version, if it has one.
    pub backend_version: Option<String>,
    /// The allocator of each domain, in the order of [`Domain::ALL`].
    pub domains: [Served; 4],
    /// Whether CPython's debug hooks are on.
    pub debug: bool,
}

impl Domains {
    /// Sets the domains. Call this before the interpreter is initialised, or at least before it allocates. Otherwise the new
    /// allocator would free blocks of the old allocator.
    ///
    /// # Errors
    /// A [`Refusal`]. Only after [`Refusal::NotApplied`], tables may have been set.
    pub fn install(
        symbols: AllocatorSymbols,
        config: Config,
        counters: &'static DomainCounters,
    ) -> Result<Self, Refusal> {
        Self::check(&symbols, &config)?;
        let tables = match config.backend {
            MemoryAllocatorBackend::Default => None,
            backend => Some(backend.visit(MakeTables(&config, counters)).map_err(Refusal::Unavailable)?),
        };
        let mut domains = Self { symbols, config, tables, hooks: None };
        domains.set();
        let report = domains.report();
        let is_wrong = |domain: &Domain| {
            (report.domains[*domain as usize] == Served::ByBackend) != config.serves(*domain)
        };
        match Domain::ALL.into_iter().find(is_wrong) {
            Some(domain) => Err(Refusal::NotApplied(domain)),
            None => Ok(domains),
        }
    }

    /// Checks whether this Python supports the configuration. Sets nothing.
    ///
    /// # Errors
    /// A [`Refusal`] for the version or the build.
    pub fn check(symbols: &AllocatorSymbols, config: &Config) -> Result<(), Refusal> {
        let version = symbols.version();
        if version.release < (3, 8) {
            return Err(Refusal::TooOld(version));
        }
        let bound = [Domain::Mem, Domain::Obj, Domain::Arena];
        if version.free_threaded && bound.into_iter().any(|domain| config.serves(domain)) {
            return Err(Refusal::FreeThreaded(version));
        }
        Ok(())
    }

    fn set(&mut self) {
        for domain in Domain::ALL.into_iter().filter(|domain| self.config.serves(*domain)) {
            let Some(tables) = &self.tables else { continue };
            // SAFETY: CPython copies the tables. Their functions obey CPython's contract and are thread-safe.
            unsafe {
                match domain {
                    Domain::Arena => (self.symbols.set_arena)(&tables.arena),
                    _ => (self.symbols.set_allocator)(domain as c_int, &tables.domains[domain as usize]),
                }
            }
        }
        if self.config.debug {
            let three = [Domain::Raw, Domain::Mem, Domain::Obj];
            let before = three.map(|domain| self.allocator(domain).functions());
            // SAFETY: no arguments. The function wraps the current tables.
            unsafe { (self.symbols.setup_debug_hooks)() }
            let after = three.map(|domain| self.allocator(domain).functions());
            // If a table did not change, the hooks were already set, or Python has none. Then their functions are unknown.
            self.hooks = before.iter().zip(&after).all(|(before, after)| before != after).then_some(after);
        }
    }

    /// Reads the tables back and reports the allocator of each domain.
    pub fn report(&self) -> Report {
        let functions = self.config.backend.functions().ok();
        Report {
            version: self.symbols.version(),
            backend: self.config.backend,
            backend_version: functions.and_then(|functions| (functions.version)()),
            domains: Domain::ALL.map(|domain| self.served(domain)),
            debug: [Domain::Raw, Domain::Mem, Domain::Obj]
                .into_iter()
                .all(|domain| self.layers(domain).any(|table| self.is_hook(domain, &table))),
        }
    }

    fn served(&self, domain: Domain) -> Served {
        let Some(tables) = self.tables.as_ref().filter(|_| self.config.serves(domain)) else {
            return Served::ByPython;
        };
        let is_ours = match domain {
            Domain::Arena => tables.arena.addresses() == self.arena().addresses(),
            _ => self.layers(domain).any(|table| table.addresses() == self.ours(domain)),
        };
        if is_ours { Served::ByBackend } else { Served::Unknown }
    }

    /// The addresses of the table that was set for the domain.
    fn ours(&self, domain: Domain) -> [usize; 5] {
        self.tables.map_or([0; 5], |tables| tables.domains[domain as usize].addresses())
    }

    fn allocator(&self, domain: Domain) -> PyMemAllocatorEx {
        let mut table = MaybeUninit::uninit();
        // SAFETY: CPython fills the whole structure. The number of a domain is the number in `PyMemAllocatorDomain`.
        unsafe {
            (self.symbols.get_allocator)(domain as c_int, table.as_mut_ptr());
            table.assume_init()
        }
    }

    fn arena(&self) -> PyObjectArenaAllocator {
        let mut table = MaybeUninit::uninit();
        // SAFETY: CPython fills the whole structure.
        unsafe {
            (self.symbols.get_arena)(table.as_mut_ptr());
            table.assume_init()
        }
    }

    /// The current table, and the known tables below it.
    fn layers(&self, domain: Domain) -> impl Iterator<Item = PyMemAllocatorEx> {
        // At most the debug hooks, tracemalloc and the backend's table.
        core::iter::successors(Some(self.allocator(domain)), move |table| self.beneath(domain, table)).take(4)
    }

    fn is_hook(&self, domain: Domain, table: &PyMemAllocatorEx) -> bool {
        self.hooks.is_some_and(|hooks| hooks[domain as usize] == table.functions())
    }

    /// The table below the debug hooks or below tracemalloc.
    fn beneath(&self, domain: Domain, table: &PyMemAllocatorEx) -> Option<PyMemAllocatorEx> {
        /// The context of the hooks (Objects/obmalloc.c): a letter for the domain, and the table below.
        #[repr(C)]
        struct DebugAllocApi {
            letter: u8,
            allocator: PyMemAllocatorEx,
        }
        if table.ctx.is_null() || table.addresses() == self.ours(domain) {
            return None;
        }
        if self.is_hook(domain, table) {
            // SAFETY: these are the functions that were read after the hooks were set up. So this is the context of the
            // hooks. It is static, and only another set-up changes it.
            return Some(unsafe { (*table.ctx.cast::<DebugAllocApi>()).allocator });
        }
        // The heap profile stands in front of what was in the table before (crates/profile-hooks/src/domains.c).
        let function = table.malloc.map_or(ptr::null(), |function| function as *const c_void);
        if Object::of(function)
            .is_some_and(|library| library.function(c"malloc_backend_profile_domain").is_some())
        {
            // SAFETY: the context of this library's functions is the table beneath, which stays.
            return Some(unsafe { *table.ctx.cast::<PyMemAllocatorEx>() });
        }
        // Python has one more table with a context: the table of tracemalloc. Its context is the table below
        // (Modules/_tracemalloc.c, Python/tracemalloc.c). Its functions and its context lie in Python's program or library.
        let python = Object::of(self.symbols.get_allocator as *const c_void);
        let context = table.ctx.cast::<PyMemAllocatorEx>();
        let (first, last) = (context.addr(), context.wrapping_add(1).addr().wrapping_sub(1));
        let is_pythons =
            |address: usize| python.is_some() && Object::of(ptr::without_provenance(address)) == python;
        if !table.functions().into_iter().chain([first, last]).all(is_pythons) || !context.is_aligned() {
            return None;
        }
        // SAFETY: all bytes lie in an object file that stays loaded, whose own functions use them as their context. If they
        // are not a table, their words differ from the backend's table. The words are only compared and looked up.
        Some(unsafe { context.read_volatile() })
    }
}

/// Makes the tables for one allocator.
struct MakeTables<'a>(&'a Config, &'static DomainCounters);

impl Visitor for MakeTables<'_> {
    type Output = Tables;

    fn visit<A: RawAllocator>(self) -> Tables {
        // An allocator reads its options at its first allocation. Now the options are still in the environment.
        // SAFETY: the block is live, and nothing uses it afterwards.
        unsafe { A::free(A::malloc(1)) };
        Tables::new::<A>(self.0, self.1)
    }
}

const _: () = assert!(size_of::<*mut c_void>() * 5 == size_of::<PyMemAllocatorEx>());
