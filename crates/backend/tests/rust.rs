//! Tests the backend `rust`: which allocator it uses, and that it frees each block with the layout of its allocation.

mod support;

use malloc_backend::{Functions, GLOBAL_ALLOCATOR, MemoryAllocatorBackend, RawAllocator, Rust};
use support::{Block, IMPOSSIBLE};

const RUST: Functions = Functions::of::<Rust>();

#[test]
fn it_says_what_it_stands_on() {
    let version = Rust::version().expect("a name at least");
    let behind = GLOBAL_ALLOCATOR.functions().expect("the build has it");
    match (behind.version)() {
        Some(number) => assert_eq!(version, format!("{GLOBAL_ALLOCATOR} {number}")),
        None => assert_eq!(version, GLOBAL_ALLOCATOR.as_str()),
    }
}

/// Blocks of `rust` and of Rust itself change the statistics of the allocator behind `rust`, and of no other allocator.
#[test]
fn its_memory_is_the_global_allocator_s() {
    // Nothing touches these blocks, so they use address space but no memory. More than the 1 GiB that mimalloc maps in
    // advance.
    const LARGE: usize = 1536 << 20;
    let raw = || {
        let block = Rust::malloc(LARGE);
        assert!(!block.is_null());
        // SAFETY: a live block.
        Box::new(move || unsafe { Rust::free(block) }) as Box<dyn FnOnce()>
    };
    let own = || {
        let vector = Vec::<u8>::with_capacity(LARGE);
        Box::new(move || drop(vector)) as Box<dyn FnOnce()>
    };
    for allocate in [&raw as &dyn Fn() -> Box<dyn FnOnce()>, &own] {
        let figures = || MemoryAllocatorBackend::ALL.map(|backend| figure(backend).map(|bytes| bytes >> 20));
        let before = figures();
        let free = allocate();
        let with = figures();
        free();
        for (index, backend) in MemoryAllocatorBackend::ALL.into_iter().enumerate() {
            let (Some(before), Some(with)) = (before[index], with[index]) else { continue };
            let grew = with - before;
            let serves = backend == GLOBAL_ALLOCATOR || backend == MemoryAllocatorBackend::Rust;
            // An allocator that counts only mapped or used bytes may have mapped a part before, and rounds up.
            let expected = if !serves {
                -64..=64
            } else if counts_blocks() {
                1536..=1537
            } else {
                512..=2100
            };
            assert!(expected.contains(&grew), "{backend} grew by {grew} MiB");
        }
    }
}

fn figure(backend: MemoryAllocatorBackend) -> Option<i128> {
    let stats = (backend.functions().ok()?.stats)();
    stats.allocated.or(stats.mapped).or(stats.active).map(i128::from)
}

/// Whether the global allocator counts allocated bytes exactly.
fn counts_blocks() -> bool {
    Rust::stats().allocated.is_some()
}

#[test]
fn layouts_survive_any_mix() {
    #[cfg(not(any(feature = "global-jemalloc", feature = "global-mimalloc", feature = "global-snmalloc")))]
    let before = watched::live();
    let alignments = (0..=16).map(|power| 1 << power).chain([2 << 20]);
    for alignment in alignments {
        for size in [0, 1, 15, 16, 17, 100, alignment - 1, alignment, alignment + 1] {
            let mut aligned = Block::aligned_alloc(RUST, alignment, size).expect("memory");
            let mut plain = Block::calloc(RUST, 3, size).expect("memory");
            assert_eq!((aligned.usable(), plain.usable()), (size, 3 * size), "exactly what was asked for");
            for size in [size + 1, 3 * size + 100, size / 2, 0, 40_000, size] {
                for block in [&mut aligned, &mut plain] {
                    let before = block.usable();
                    assert!(block.realloc(size));
                    let stays = size <= before && before - size <= (before / 2).min(4096);
                    assert_eq!(block.usable(), if stays { before } else { size });
                    // The header of an aligned block contains the alignment, so the memory stays aligned.
                }
                assert!(aligned.address().is_multiple_of(alignment));
            }
            for impossible in IMPOSSIBLE {
                assert!(!aligned.realloc(impossible) && !plain.realloc(impossible));
            }
        }
    }
    #[cfg(not(any(feature = "global-jemalloc", feature = "global-mimalloc", feature = "global-snmalloc")))]
    {
        watched::no_layout_was_wrong();
        assert_eq!(watched::live(), before, "every block was freed");
    }
}

/// A global allocator that records each layout, for builds without a `global-*` feature. Allocators that do not need the
/// layout would not notice a `free` with a wrong layout.
#[cfg(not(any(feature = "global-jemalloc", feature = "global-mimalloc", feature = "global-snmalloc")))]
mod watched {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[global_allocator]
    static GLOBAL: Watched = Watched;

    struct Watched;

    static FREED: AtomicUsize = AtomicUsize::new(0);
    static WRONG: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static LIVE: Cell<isize> = const { Cell::new(0) };
    }

    /// The number of blocks that this thread has allocated, minus the number that it has freed.
    pub fn live() -> isize {
        LIVE.get()
    }

    /// The layout stands behind the caller's bytes. A read with a wrong size does not find it.
    fn with_note(layout: Layout) -> Layout {
        let size = layout.size() + size_of::<Layout>();
        Layout::from_size_align(size, layout.align()).expect("tests do not ask for so much")
    }

    // SAFETY: `System` with larger blocks. `realloc` and `alloc_zeroed` are the trait's defaults, which use these two.
    unsafe impl GlobalAlloc for Watched {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if layout.size() > isize::MAX as usize / 2 {
                return std::ptr::null_mut();
            }
            // SAFETY: the size is not zero, and the block has room for the layout behind the caller's bytes.
            unsafe {
                let block = System.alloc(with_note(layout));
                if !block.is_null() {
                    block.add(layout.size()).cast::<Layout>().write_unaligned(layout);
                    LIVE.set(LIVE.get() + 1);
                }
                block
            }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            FREED.fetch_add(1, Ordering::Relaxed);
            // SAFETY: with the right layout, the record is there. With a wrong layout, the block is not freed.
            unsafe {
                let noted = block.add(layout.size()).cast::<[u8; size_of::<Layout>()]>().read_unaligned();
                if noted != std::mem::transmute::<Layout, [u8; size_of::<Layout>()]>(layout) {
                    WRONG.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                LIVE.set(LIVE.get() - 1);
                System.dealloc(block, with_note(layout));
            }
        }
    }

    pub fn no_layout_was_wrong() {
        assert!(FREED.load(Ordering::Relaxed) > 1000, "the blocks went through this allocator");
        assert_eq!(WRONG.load(Ordering::Relaxed), 0, "blocks were freed with another layout than they had");
    }
}
