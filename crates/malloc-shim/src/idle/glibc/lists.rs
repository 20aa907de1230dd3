//! glibc's lists of free chunks, read from beside.
//!
//! A chunk is a block with its header: 8 bytes before the block are its size, a multiple of 16, and three flags in the bits
//! that this leaves. In a free one the block begins with the two pointers of a list. There is a ring for each class of
//! sizes, and one for what was freed lately. A ring's head is a pair of pointers in the arena, which looks to its neighbours
//! like a chunk; the heads are one behind another. All that has been so since glibc has had this malloc. Where it is not,
//! [`find`] says so.

use core::ffi::c_void;
use core::hint;
use core::sync::atomic::{AtomicUsize, Ordering};

use malloc_backend::RawAllocator;
use malloc_backend::owner::Object;

use crate::backend::Backend;
use crate::system_calls::system_call;

/// A block that is mapped for itself, and one of another arena than the main one.
const MAPPED: usize = 2;
const OTHER_ARENA: usize = 4;
const FLAGS: usize = 7;

/// The offsets of a chunk's fields.
const SIZE: usize = 8;
const FORWARD: usize = 16;
const BACKWARD: usize = 24;
/// From a chunk to its block.
pub const HEADER: usize = 16;

/// The rings: the first is of what was freed lately, and the last of what is a megabyte or more.
const RINGS: usize = 126;
/// The first ring with chunks of [`LEAST`] bytes.
const FIRST: usize = 107;
/// No ring that is worth the time has more chunks.
const STEPS: usize = 1 << 17;
/// A chunk of so many bytes has at least one whole page of 4 KiB. Smaller ones are many, and each is worth little.
pub const LEAST: usize = 8 << 10;

/// The head of the first ring: the field `top` of the main arena.
static HEAD: AtomicUsize = AtomicUsize::new(0);

/// By `malloc`, as glibc does it: the compiler would leave out one whose block is only freed.
pub fn allocate(size: usize) -> *mut c_void {
    hint::black_box(Backend::malloc(hint::black_box(size)))
}

/// Finds the main arena, in the main thread of a process that has no other: what is freed there is put behind the first
/// head. Says whether all is as this module expects it.
pub fn find() -> bool {
    // Not from a thread's cache, and nothing is made one with what is beside it: the second one is in between.
    const BLOCK: usize = 2000;
    let [block, fence] = [allocate(BLOCK), allocate(BLOCK)];
    // SAFETY: the block is readable also when it is freed, because the heap does not shrink for so little; nobody else is
    // here to take it meanwhile.
    let head = unsafe {
        Backend::free(block);
        let block = hint::black_box(block);
        let head = if block.is_null() { 0 } else { block.cast::<usize>().add(1).read_volatile() };
        Backend::free(fence);
        head
    };
    let is_libc_s = Object::of(head as *const c_void)
        .is_some_and(|object| Some(object) == Object::that_defines(c"__libc_start_main"));
    if !is_libc_s || head % 8 != 0 {
        return false;
    }
    HEAD.store(head, Ordering::Relaxed);
    let arena = Arena::main();
    let top = arena.top();
    // SAFETY: moves nothing.
    let end = unsafe { libc::sbrk(0) as usize };
    let rings = (1..=RINGS).all(|ring| arena.is_ring(ring));
    rings && top.is_some_and(|top| top.address + top.size == end)
}

/// A free piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub address: usize,
    pub size: usize,
}

impl Chunk {
    /// That of a block, which belongs to whoever asks. `None` where it is not of the main arena's heap.
    pub fn of(block: *mut c_void) -> Option<Self> {
        let address = (block as usize).checked_sub(HEADER)?;
        // SAFETY: the size is before each block.
        let size = unsafe { ((address + SIZE) as *const usize).read_volatile() };
        (size & (MAPPED | OTHER_ARENA) == 0).then_some(Self { address, size: size & !FLAGS })
    }

    /// What to ask `malloc` for, to be given a chunk of this size.
    pub fn request(self) -> usize {
        self.size - SIZE
    }
}

/// The main arena, of which each look is one at what may change.
pub struct Arena {
    head: usize,
}

impl Arena {
    pub fn main() -> Self {
        Self { head: HEAD.load(Ordering::Relaxed) }
    }

    /// What is behind the last chunk of the heap.
    pub fn top(&self) -> Option<Chunk> {
        // SAFETY: a field of the arena, which is libc's and stays.
        let address = unsafe { (self.head as *const usize).read_volatile() };
        let [size] = read(address + SIZE)?;
        Some(Chunk { address, size: size & !FLAGS })
    }

    /// Whether no more than one chunk was freed lately and is still to be put in the ring of its class.
    pub fn is_sorted(&self) -> bool {
        let field = |at: usize| (self.ring(1) + at) as *const usize;
        // SAFETY: see `top`.
        unsafe { field(FORWARD).read_volatile() == field(BACKWARD).read_volatile() }
    }

    /// Calls with each free chunk of [`LEAST`] bytes or more, the largest first, as long as that says to go on. In the first
    /// ring is at least what was left of the chunk that was last divided.
    pub fn each(&self, mut with: impl FnMut(Chunk) -> bool) {
        for ring in [1].into_iter().chain((FIRST..=RINGS).rev()) {
            let head = self.ring(ring);
            let mut at = {
                // SAFETY: see `top`.
                unsafe { ((head + FORWARD) as *const usize).read_volatile() }
            };
            // (Chunks that move to another ring meanwhile may lead round and round in that one.)
            for _ in 0..STEPS {
                let Some([size, forward]) = read(at + SIZE).filter(|_| at != head) else { break };
                let chunk = Chunk { address: at, size: size & !FLAGS };
                let may_be_free = size & (MAPPED | OTHER_ARENA) == 0 && at % 16 == 0;
                if !may_be_free || ring >= FIRST && chunk.size < LEAST {
                    // Somebody has just taken it, and what follows it in the ring is not known.
                    break;
                }
                if chunk.size >= LEAST && !with(chunk) {
                    return;
                }
                at = forward;
            }
        }
    }

    fn ring(&self, ring: usize) -> usize {
        self.head + (ring - 1) * 16
    }

    /// Whether the head's neighbours know it.
    fn is_ring(&self, ring: usize) -> bool {
        let head = self.ring(ring);
        let Some([forward, backward]) = read(head + FORWARD) else { return false };
        read(forward + BACKWARD) == Some([head]) && read(backward + FORWARD) == Some([head])
    }
}

/// Reads words of this process, as if they were another's: where none are mapped any more, that is an answer.
fn read<const WORDS: usize>(address: usize) -> Option<[usize; WORDS]> {
    let mut words = [0; WORDS];
    let size = size_of_val(&words);
    let local = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: size };
    let remote = libc::iovec { iov_base: address as *mut c_void, iov_len: size };
    // SAFETY: the words are writable; the kernel looks whether the address can be read.
    let done = unsafe {
        let process = system_call(libc::SYS_getpid, &[]) as usize;
        let vectors = [process, (&raw const local) as usize, 1, (&raw const remote) as usize, 1, 0];
        system_call(libc::SYS_process_vm_readv, &vectors)
    };
    (done == size as isize).then_some(words)
}
