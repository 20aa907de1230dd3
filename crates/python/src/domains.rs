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

/// A Python whose domains were set.
#[derive(Clone, Copy, Debug)]
pub struct Domains {
    symbols: AllocatorSymbols,
    config: Config,
    tables: Option<Tables>,
    /// The functions of Python's debug hooks, one set for each of the three domains, where they were set up.
    hooks: Option<[[usize; 4]; 3]>,
}

// SAFETY: the pointers in it are to functions and static counters.
unsafe impl Send for Domains {}
// SAFETY: see above.
unsafe impl Sync for Domains {}

/// Who serves a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Python, as it would without us.
    ByPython,
    /// The backend.
    ByBackend,
    /// A table of somebody else's was set over the backend's, and nobody can tell what it does.
    Unknown,
}

/// Who serves each domain, as read back from CPython.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which Python.
    pub version: PythonVersion,
    /// What was chosen.
    pub backend: MemoryAllocatorBackend,
    /// Its version, where it has one.
    pub backend_version: Option<String>,
    /// Who serves the domain, in the order of [`Domain::ALL`].
    pub domains: [Served; 4],
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

    /// Whether this Python can have its domains so; nothing is set.
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
            // SAFETY: CPython copies the tables, whose functions keep to its contract and are thread-safe.
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
            // SAFETY: takes nothing; it wraps what is set now.
            unsafe { (self.symbols.setup_debug_hooks)() }
            let after = three.map(|domain| self.allocator(domain).functions());
            // Where one is as before the hooks were on already, or there are none: nothing is known of them then.
            self.hooks = before.iter().zip(&after).all(|(before, after)| before != after).then_some(after);
        }
    }

    /// Reads back who serves each domain.
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

    /// The table that is set, and those beneath that can be known.
    fn layers(&self, domain: Domain) -> impl Iterator<Item = PyMemAllocatorEx> {
        // The hooks, tracemalloc and ours: there are no more.
        core::iter::successors(Some(self.allocator(domain)), move |table| self.beneath(domain, table)).take(4)
    }

    fn is_hook(&self, domain: Domain, table: &PyMemAllocatorEx) -> bool {
        self.hooks.is_some_and(|hooks| hooks[domain as usize] == table.functions())
    }

    /// What the debug hooks or tracemalloc were set over.
    fn beneath(&self, domain: Domain, table: &PyMemAllocatorEx) -> Option<PyMemAllocatorEx> {
        /// The hooks' context (Objects/obmalloc.c): a letter for the domain, and the allocator beneath.
        #[repr(C)]
        struct DebugAllocApi {
            letter: u8,
            allocator: PyMemAllocatorEx,
        }
        if table.ctx.is_null() || table.addresses() == self.ours(domain) {
            return None;
        }
        if self.is_hook(domain, table) {
            // SAFETY: the functions are those that the hooks were seen to have when they were set up, and so the
            // context is theirs: static, and not changed but by another set-up.
            return Some(unsafe { (*table.ctx.cast::<DebugAllocApi>()).allocator });
        }
        // Python has one more table with a context: tracemalloc's, where it is the table beneath (Modules/_tracemalloc.c,
        // Python/tracemalloc.c). Both the functions and the context are Python's own, in its program or library.
        let python = Object::of(self.symbols.get_allocator as *const c_void);
        let context = table.ctx.cast::<PyMemAllocatorEx>();
        let (first, last) = (context.addr(), context.wrapping_add(1).addr().wrapping_sub(1));
        let is_pythons =
            |address: usize| python.is_some() && Object::of(ptr::without_provenance(address)) == python;
        if !table.functions().into_iter().chain([first, last]).all(is_pythons) || !context.is_aligned() {
            return None;
        }
        // SAFETY: memory of an object file that stays loaded, from its first byte to its last, which that object's own
        // functions have for their context. Were it no table, its words would not be those of ours, and nothing else
        // is done with them than to compare and to look them up.
        Some(unsafe { context.read_volatile() })
    }
}

/// Chooses the functions of one allocator, once.
struct MakeTables<'a>(&'a Config, &'static DomainCounters);

impl Visitor for MakeTables<'_> {
    type Output = Tables;

    fn visit<A: RawAllocator>(self) -> Tables {
        // An allocator reads its options with its first block, while they are still in the environment.
        // SAFETY: the block is live, and not used after.
        unsafe { A::free(A::malloc(1)) };
        Tables::new::<A>(self.0, self.1)
    }
}

const _: () = assert!(size_of::<*mut c_void>() * 5 == size_of::<PyMemAllocatorEx>());
