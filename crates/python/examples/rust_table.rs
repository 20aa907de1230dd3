//! `rust_table WAY MIX THREADS LIVE STEPS`: the same steps, as many on each thread, on the `rust` backend's table for
//! CPython's raw domain (`table`), on one of the prior art's making (`tracked`), or on C's functions, which is what
//! both stand on (`bare`). For `npm run bench -- python-rust`.
//!
//! The table is the one that CPython would get: a few functions below stand in for CPython.

use std::alloc::{self, Layout};
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Mutex, OnceLock};
use std::thread;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_python::{AllocatorSymbols, Config, Counters, DOMAINS_COUNTED, Domains};

/// CPython's `PyMemAllocatorEx`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Table {
    ctx: *mut c_void,
    malloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    calloc: unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void,
    realloc: unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void, *mut c_void),
}

// SAFETY: a table's functions may be called from any thread, which is CPython's demand on the raw domain.
unsafe impl Send for Table {}
// SAFETY: see above.
unsafe impl Sync for Table {}

/// What CPython keeps: the raw domain's table.
mod python {
    use super::*;

    static RAW: Mutex<Option<Table>> = Mutex::new(None);

    unsafe extern "C" fn set_allocator(_domain: c_int, table: *const Table) {
        // SAFETY: the caller's table.
        *RAW.lock().unwrap() = Some(unsafe { *table });
    }

    unsafe extern "C" fn get_allocator(domain: c_int, table: *mut Table) {
        // The other domains are nobody's: all bits zero, which the crate's own structure allows.
        match *RAW.lock().unwrap() {
            // SAFETY: room for a table.
            Some(raw) if domain == 0 => unsafe { table.write(raw) },
            // SAFETY: see above.
            _ => unsafe { ptr::write_bytes(table, 0, 1) },
        }
    }

    unsafe extern "C" fn set_arena(_arena: *const c_void) {}

    unsafe extern "C" fn get_arena(arena: *mut [usize; 3]) {
        // SAFETY: an arena allocator is three pointers.
        unsafe { arena.write([0; 3]) }
    }

    unsafe extern "C" fn setup_debug_hooks() {}

    unsafe extern "C" fn version() -> *const c_char {
        c"3.11.0".as_ptr()
    }

    fn look_up(name: &CStr) -> *mut c_void {
        match name.to_bytes() {
            b"PyMem_GetAllocator" => get_allocator as *mut c_void,
            b"PyMem_SetAllocator" => set_allocator as *mut c_void,
            b"PyObject_GetArenaAllocator" => get_arena as *mut c_void,
            b"PyObject_SetArenaAllocator" => set_arena as *mut c_void,
            b"PyMem_SetupDebugHooks" => setup_debug_hooks as *mut c_void,
            _ => version as *mut c_void,
        }
    }

    /// What the crate sets for the raw domain.
    pub fn table(backend: MemoryAllocatorBackend) -> Table {
        static COUNTERS: [Counters; DOMAINS_COUNTED] = [const { Counters::new() }; DOMAINS_COUNTED];
        let config = Config { backend, domains: [true, false, false, false], debug: false, counters: false };
        // SAFETY: functions of these names' types, which stay.
        let symbols = unsafe { AllocatorSymbols::find(look_up) }.expect("every name is known");
        Domains::install(symbols, config, &COUNTERS).expect("the rust backend is always there");
        RAW.lock().unwrap().expect("the table was set")
    }
}

/// As PyOxidizer's `pyalloc.rs` has it: Rust's allocator wants the layout back, so one hash map for all threads has it. As
/// there, `free` looks the layout up and takes it out in two goes, each with the lock; but, not as there, both before the
/// block is freed, after which another thread may have it. The other errors, of which `malloc_backend`'s tests tell, are
/// left out too: they cost nothing.
mod tracked {
    use super::*;

    const ALIGNMENT: usize = 16;

    fn layouts() -> &'static Mutex<HashMap<usize, Layout>> {
        static LAYOUTS: OnceLock<Mutex<HashMap<usize, Layout>>> = OnceLock::new();
        LAYOUTS.get_or_init(Mutex::default)
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size.max(1), ALIGNMENT).expect("a size of the steps below")
    }

    fn track(block: *mut u8, layout: Layout) -> *mut c_void {
        layouts().lock().unwrap().insert(block as usize, layout);
        block.cast()
    }

    fn untrack(block: *mut c_void) -> Layout {
        layouts().lock().unwrap().remove(&(block as usize)).expect("a live block is tracked")
    }

    unsafe extern "C" fn malloc(_ctx: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the layout's size is not zero; so below.
        track(unsafe { alloc::alloc(layout(size)) }, layout(size))
    }

    unsafe extern "C" fn calloc(_ctx: *mut c_void, count: usize, size: usize) -> *mut c_void {
        let layout = layout(count * size);
        // SAFETY: see `malloc`.
        track(unsafe { alloc::alloc_zeroed(layout) }, layout)
    }

    unsafe extern "C" fn realloc(_ctx: *mut c_void, block: *mut c_void, size: usize) -> *mut c_void {
        let before = untrack(block);
        // SAFETY: the block came from `malloc` with that layout; so below.
        track(unsafe { alloc::realloc(block.cast(), before, layout(size).size()) }, layout(size))
    }

    unsafe extern "C" fn free(_ctx: *mut c_void, block: *mut c_void) {
        let layout = *layouts().lock().unwrap().get(&(block as usize)).expect("a live block is tracked");
        untrack(block);
        // SAFETY: see `realloc`.
        unsafe { alloc::dealloc(block.cast(), layout) }
    }

    pub fn table() -> Table {
        Table { ctx: ptr::null_mut(), malloc, calloc, realloc, free }
    }
}

/// Neither header nor map.
mod bare {
    use malloc_backend::{Default, RawAllocator};

    use super::*;

    unsafe extern "C" fn malloc(_ctx: *mut c_void, size: usize) -> *mut c_void {
        Default::malloc(size)
    }

    unsafe extern "C" fn calloc(_ctx: *mut c_void, count: usize, size: usize) -> *mut c_void {
        Default::calloc(count, size)
    }

    unsafe extern "C" fn realloc(_ctx: *mut c_void, block: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: the block came from `malloc`; so below.
        unsafe { Default::realloc(block, size) }
    }

    unsafe extern "C" fn free(_ctx: *mut c_void, block: *mut c_void) {
        // SAFETY: see `realloc`.
        unsafe { Default::free(block) }
    }

    pub fn table() -> Table {
        Table { ctx: ptr::null_mut(), malloc, calloc, realloc, free }
    }
}

/// What a step does with one of the blocks, chosen at random.
#[derive(Clone, Copy)]
enum Mix {
    /// Leaves it, and has another for a moment.
    Temporary,
    /// Frees it for a new one.
    Replace,
    /// The same, and one step in four resizes it instead.
    Mixed,
    /// Resizes it.
    Resize,
}

impl Mix {
    fn parse(name: &str) -> Self {
        match name {
            "temporary" => Self::Temporary,
            "replace" => Self::Replace,
            "mixed" => Self::Mixed,
            "resize" => Self::Resize,
            _ => panic!("no mix {name}"),
        }
    }
}

/// As Python asks for memory: 16 to 500 bytes, most of them less than 130; now and then a few KiB.
fn size(random: u64) -> usize {
    let small = 16 + (((random >> 8) % 32) * ((random >> 16) % 32) / 2) as usize;
    if (random >> 24).is_multiple_of(64) { small * 16 } else { small }
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// Steps over as many blocks of this thread, all of which are alive from the first step on.
fn work(table: &Table, mix: Mix, live: usize, steps: u64, mut random: u64) {
    let malloc = |size| {
        // SAFETY: a table's function, with its context; the block is large enough, and is written to as by a program.
        unsafe {
            let block = (table.malloc)(table.ctx, size);
            block.cast::<u64>().write(size as u64);
            block
        }
    };
    // SAFETY: below, `free` and `realloc` get each block once.
    let free = |block| unsafe { (table.free)(table.ctx, block) };
    let mut blocks: Vec<*mut c_void> = (0..live).map(|_| malloc(size(next(&mut random)))).collect();
    for _ in 0..steps {
        let random = next(&mut random);
        let (block, size) = (&mut blocks[(random >> 32) as usize % live], size(random));
        match mix {
            Mix::Temporary => free(malloc(size)),
            Mix::Mixed | Mix::Resize if matches!(mix, Mix::Resize) || (random >> 4).is_multiple_of(4) => {
                // SAFETY: see `free`.
                *block = unsafe { (table.realloc)(table.ctx, *block, size) };
            }
            _ => {
                free(*block);
                *block = malloc(size);
            }
        }
    }
    blocks.into_iter().for_each(free);
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, way, mix, threads, live, steps] = arguments.as_slice() else {
        panic!("usage: rust_table table|tracked|bare temporary|replace|mixed|resize THREADS LIVE STEPS")
    };
    let table = match way.as_str() {
        "table" => python::table(MemoryAllocatorBackend::Rust),
        "tracked" => tracked::table(),
        "bare" => bare::table(),
        _ => panic!("no way {way}"),
    };
    let mix = Mix::parse(mix);
    let [threads, live, steps] = [threads, live, steps].map(|number| number.parse::<u64>().unwrap());
    let work = |thread| work(&table, mix, (live / threads) as usize, steps, thread);
    // The main thread works as well: with one, this is a program of one thread, as most Pythons are.
    thread::scope(|scope| {
        let work = &work;
        (2..=threads).for_each(|thread| {
            scope.spawn(move || work(thread * 0x9e37_79b9_7f4a_7c15));
        });
        work(0x9e37_79b9_7f4a_7c15);
    });
}
