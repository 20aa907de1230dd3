//! Code that all tests of the backends use.

// Each test file is a separate crate and uses only a part of this module.
#![allow(dead_code, unused_macros)]

pub mod mistakes;

use std::ffi::c_void;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use malloc_backend::{Functions, GLOBAL_ALLOCATOR, MIN_ALIGNMENT, MemoryAllocatorBackend};

/// Makes tests from functions that take [`Functions`]: one test for each function and each backend in the build. The name
/// before the arrow is a function whose result lives while the test runs.
macro_rules! for_each_backend {
    ($($turn:ident => $($test:ident),+ $(,)?);+ $(;)?) => {
        for_each_backend!(@default Default all() $($turn $($test)+;)+);
        for_each_backend!(@jemalloc Jemalloc all(feature = "jemalloc", not(windows)) $($turn $($test)+;)+);
        for_each_backend!(@mimalloc Mimalloc feature = "mimalloc" $($turn $($test)+;)+);
        for_each_backend!(@snmalloc Snmalloc feature = "snmalloc" $($turn $($test)+;)+);
        for_each_backend!(@rust Rust all() $($turn $($test)+;)+);
    };
    (@$module:ident $backend:ident $built:meta $($turn:ident $($test:ident)+;)+) => {
        #[cfg($built)]
        mod $module {
            $($(
                #[test]
                fn $test() {
                    let _turn = super::$turn();
                    let backend = malloc_backend::MemoryAllocatorBackend::$backend;
                    super::$test(backend.functions().expect("the build has it"));
                }
            )+)+
        }
    };
}

/// The backend of the allocator that serves. For `rust`, the backend of the global allocator.
pub fn behind(backend: MemoryAllocatorBackend) -> MemoryAllocatorBackend {
    if backend == MemoryAllocatorBackend::Rust { GLOBAL_ALLOCATOR } else { backend }
}

/// Sizes that no allocator can serve: more than the address space, and more than a `Layout` allows.
pub const IMPOSSIBLE: [usize; 7] = [
    1 << 56,
    1 << 62,
    isize::MAX as usize - 4096,
    isize::MAX as usize,
    isize::MAX as usize + 1,
    usize::MAX - 15,
    usize::MAX,
];

/// A block that is filled with a pattern of its own, up to its usable size. Every operation on the block checks the pattern.
/// So an overlapping block or a lost byte is detected.
pub struct Block {
    functions: Functions,
    start: NonNull<u8>,
    size: usize,
    usable: usize,
    seed: u64,
}

// SAFETY: a block owns its memory, and any thread may call the functions of a backend.
unsafe impl Send for Block {}

impl Block {
    pub fn malloc(functions: Functions, size: usize) -> Option<Self> {
        // SAFETY: the result of an allocation of that size.
        unsafe { Self::own(functions, (functions.malloc)(size), size, MIN_ALIGNMENT) }
    }

    pub fn calloc(functions: Functions, count: usize, size: usize) -> Option<Self> {
        let start = (functions.calloc)(count, size);
        let total = count.wrapping_mul(size);
        if !start.is_null() {
            assert_eq!(count.checked_mul(size), Some(total), "calloc({count}, {size}) is not to overflow");
            // SAFETY: calloc initialises all requested bytes.
            let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), total) };
            assert!(is_zero(bytes), "calloc({count}, {size}) is not zeroed");
        }
        // SAFETY: the result of an allocation of that size.
        unsafe { Self::own(functions, start, total, MIN_ALIGNMENT) }
    }

    pub fn aligned_alloc(functions: Functions, alignment: usize, size: usize) -> Option<Self> {
        let start = (functions.aligned_alloc)(alignment, size);
        assert!(start.addr().is_multiple_of(alignment), "aligned_alloc({alignment}, {size}) gave {start:p}");
        // SAFETY: the result of an allocation of that size.
        unsafe { Self::own(functions, start, size, alignment) }
    }

    /// [`realloc`](Self::realloc) of null.
    pub fn realloc_null(functions: Functions, size: usize) -> Option<Self> {
        // SAFETY: null is allowed, and the result is a new block.
        unsafe { Self::own(functions, (functions.realloc)(ptr::null_mut(), size), size, MIN_ALIGNMENT) }
    }

    /// # Safety
    /// `start` is null or a block of `size` bytes that nobody else uses.
    unsafe fn own(functions: Functions, start: *mut c_void, size: usize, alignment: usize) -> Option<Self> {
        let start = NonNull::new(start.cast())?;
        let mut block = Self { functions, start, size, usable: 0, seed: 0 };
        block.measure();
        // At most, an allocator rounds up to the next power of two, or to whole pages for a block with its own mapping.
        let most = 2 * (size + alignment) + 4096;
        assert!(block.usable <= most, "{block:?} has {most} bytes and more where {size} were asked for");
        block.fill();
        Some(block)
    }

    /// Changes the size. Returns `false` if the allocator failed. Then the block is unchanged.
    pub fn realloc(&mut self, size: usize) -> bool {
        let kept = self.size.min(size);
        self.check();
        // SAFETY: a live block of these functions.
        let start = unsafe { (self.functions.realloc)(self.as_ptr(), size) };
        let Some(start) = NonNull::new(start.cast()) else {
            self.check();
            return false;
        };
        let before = self.size;
        (self.start, self.size) = (start, size);
        self.measure();
        if let Some(offset) = self.first_difference(kept) {
            panic!("realloc from {before} to {size} lost the byte at {offset}");
        }
        self.fill();
        true
    }

    /// Checks that the pattern is unchanged.
    pub fn check(&self) {
        if let Some(offset) = self.first_difference(self.usable) {
            panic!("the byte at {offset} of {self:?} changed");
        }
    }

    pub fn as_ptr(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }

    pub fn address(&self) -> usize {
        self.start.addr().get()
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn usable(&self) -> usize {
        self.usable
    }

    fn measure(&mut self) {
        assert!(self.address().is_multiple_of(MIN_ALIGNMENT), "{self:?} is not aligned");
        // SAFETY: a live block of these functions.
        self.usable = unsafe { (self.functions.usable_size)(self.as_ptr()) };
        assert!(self.usable >= self.size, "{self:?} has fewer usable bytes than were asked for");
    }

    /// Writes a pattern that no other block has: words that count upwards from a number.
    fn fill(&mut self) {
        static BLOCKS: AtomicU64 = AtomicU64::new(1);
        self.seed = BLOCKS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let words = self.usable / 8;
        // SAFETY: all usable bytes may be written, and the block is aligned for words.
        unsafe {
            let start = self.start.cast::<u64>();
            for index in 0..words {
                start.add(index).write(self.word(index));
            }
            let rest = self.word(words).to_ne_bytes();
            self.start.add(words * 8).copy_from(NonNull::from(&rest).cast(), self.usable % 8);
        }
    }

    /// The offset of a byte that [`fill`](Self::fill) did not write, among the first `length` bytes.
    fn first_difference(&self, length: usize) -> Option<usize> {
        // SAFETY: `length` is at most the number of bytes that `fill` wrote here, or that `realloc` copied.
        let bytes = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), length) };
        let (words, rest) = bytes.as_chunks::<8>();
        // Two steps. The first loop has no branch, which makes 10^6 operations fast enough.
        let all = words
            .iter()
            .enumerate()
            .fold(0, |difference, (index, word)| difference | (u64::from_ne_bytes(*word) ^ self.word(index)));
        let expected = |offset: usize| self.word(offset / 8).to_ne_bytes()[offset % 8];
        let tail = words.len() * 8;
        if all == 0 && rest.iter().zip(tail..).all(|(byte, offset)| *byte == expected(offset)) {
            return None;
        }
        (0..length).find(|offset| bytes[*offset] != expected(*offset))
    }

    fn word(&self, index: usize) -> u64 {
        self.seed.wrapping_add(index as u64)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the block at {:p} of {} bytes ({} usable)", self.start, self.size, self.usable)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
        // SAFETY: a live block of these functions. Nobody uses it afterwards.
        unsafe { (self.functions.free)(self.as_ptr()) }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}
