//! Tests the contract of [`RawAllocator`](malloc_backend::RawAllocator). Each test runs for every backend in the build.

#[macro_use]
mod support;

use std::collections::HashSet;
use std::ptr;
use std::sync::mpsc;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::{panic, thread};

use malloc_backend::{CannotRelease, Functions, MIN_ALIGNMENT, MemoryAllocatorBackend, Stats};
use support::mistakes::MISTAKES;
use support::{Block, IMPOSSIBLE, behind};

for_each_backend! {
    together =>
        no_bytes_get_a_block_of_their_own,
        calloc_refuses_a_product_that_overflows,
        calloc_takes_the_count_once,
        calloc_zeroes_recycled_memory,
        every_block_is_aligned,
        aligned_alloc_aligns,
        aligned_alloc_refuses_what_is_no_power_of_two,
        aligned_blocks_are_resized_and_freed_like_others,
        realloc_keeps_the_contents,
        realloc_of_null_is_malloc,
        realloc_to_no_bytes_never_frees,
        realloc_that_fails_keeps_the_block,
        impossible_sizes_are_null,
        all_usable_bytes_are_the_block_s,
        null_is_no_block,
        other_threads_free_and_resize,
        blocks_outlive_their_thread,
        short_lived_threads_allocate,
        version_is_plausible;
    alone =>
        stats_tell_what_the_backend_knows,
        release_gives_memory_back,
}

static MEASURING: RwLock<()> = RwLock::new(());

/// Runs at the same time as other tests.
fn together() -> RwLockReadGuard<'static, ()> {
    MEASURING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs while no other test allocates.
fn alone() -> RwLockWriteGuard<'static, ()> {
    MEASURING.write().unwrap_or_else(PoisonError::into_inner)
}

/// Sizes near the limits of size classes, pages, chunks and blocks with a mapping of their own.
fn larger_sizes() -> impl Iterator<Item = usize> {
    (12..=24).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1, 3 << (power - 1)])
}

fn no_bytes_get_a_block_of_their_own(f: Functions) {
    let blocks: Vec<Block> = (0..100)
        .flat_map(|_| {
            [
                Block::malloc(f, 0),
                Block::calloc(f, 0, 0),
                Block::calloc(f, 0, 8),
                Block::calloc(f, usize::MAX, 0),
                Block::realloc_null(f, 0),
                Block::aligned_alloc(f, 1, 0),
                Block::aligned_alloc(f, 64, 0),
                Block::aligned_alloc(f, 8192, 0),
            ]
        })
        .map(|block| block.expect("no bytes can always be had"))
        .collect();
    let addresses: HashSet<usize> = blocks.iter().map(Block::address).collect();
    assert_eq!(addresses.len(), blocks.len());
}

fn calloc_refuses_a_product_that_overflows(f: Functions) {
    const HALF: usize = 1 << (usize::BITS / 2);
    const TOP: usize = 1 << (usize::BITS - 1);
    // After the overflow, the products are small. A calloc without a check would serve them.
    for (count, size) in [
        (HALF, HALF),
        (HALF + 1, HALF),
        (TOP, 2),
        (TOP + 1, 2),
        (TOP + 8, 2),
        (usize::MAX, 2),
        (usize::MAX, usize::MAX),
        (usize::MAX / 3 + 1, 3),
        (usize::MAX / 100 + 1, 100),
    ] {
        assert!((f.calloc)(count, size).is_null(), "calloc({count}, {size})");
        assert!((f.calloc)(size, count).is_null(), "calloc({size}, {count})");
    }
}

fn calloc_takes_the_count_once(f: Functions) {
    // If the count were used twice, these requests would be TiB. `Block` also detects smaller errors.
    for (count, size) in [(4 << 20, 1), (1 << 18, 16), (3, 5), (1000, 1000), (1, 4 << 20)] {
        assert!(Block::calloc(f, count, size).is_some(), "calloc({count}, {size})");
    }
    assert!(Block::calloc(f, 1000, 7).is_some_and(|block| block.size() == 7000));
}

fn calloc_zeroes_recycled_memory(f: Functions) {
    for size in (0..=128).chain([200, 1000, 4096, 10_000, 65_536, 200_000, 1 << 20, 5 << 20]) {
        let count = if size > 10_000 { 4 } else { 32 };
        let dirty: Vec<Block> = (0..count).filter_map(|_| Block::malloc(f, size)).collect();
        assert_eq!(dirty.len(), count);
        drop(dirty);
        // `Block::calloc` checks that the memory is zero.
        let zeroed: Vec<Block> = (0..count).filter_map(|_| Block::calloc(f, 1, size)).collect();
        assert_eq!(zeroed.len(), count);
    }
}

fn every_block_is_aligned(f: Functions) {
    for size in (0..=4096).chain(larger_sizes()) {
        // Several blocks, because the first block of a page is always aligned. `Block` checks each of them.
        let mut blocks: Vec<Block> = (0..if size > 4096 { 1 } else { 3 })
            .flat_map(|_| [Block::malloc(f, size), Block::calloc(f, 1, size), Block::realloc_null(f, size)])
            .map(|block| block.expect("a block"))
            .collect();
        for block in &mut blocks {
            assert!(block.realloc(size / 2 + 1));
        }
    }
}

/// Alignments of a usual block, and of more than a page or a huge page.
const ALIGNMENTS: [usize; 16] =
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 64 << 10, 2 << 20];

fn aligned_alloc_aligns(f: Functions) {
    for alignment in ALIGNMENTS {
        let around = [alignment - 1, alignment, alignment + 1, alignment * 3 + 5];
        for size in [0, 1, 7, 8, 16, 17, 24, 100, 1000, 5000].into_iter().chain(around) {
            let blocks: Vec<Block> =
                (0..3).filter_map(|_| Block::aligned_alloc(f, alignment, size)).collect();
            assert_eq!(blocks.len(), 3, "aligned_alloc({alignment}, {size})");
        }
    }
}

fn aligned_alloc_refuses_what_is_no_power_of_two(f: Functions) {
    for alignment in [0, 3, 5, 6, 7, 9, 12, 15, 17, 24, 48, 100, 4095, 4097, 12_288, usize::MAX] {
        for size in [0, 1, 24, 48, 4096, 100_000] {
            assert!((f.aligned_alloc)(alignment, size).is_null(), "aligned_alloc({alignment}, {size})");
        }
    }
}

fn aligned_blocks_are_resized_and_freed_like_others(f: Functions) {
    for alignment in ALIGNMENTS {
        for size in [0, 1, 40, 1000, 5000, 100_000] {
            let mut block = Block::aligned_alloc(f, alignment, size).expect("a block");
            for size in [size + 1, size * 2 + 100, size / 2, 0, 300_000, 24] {
                assert!(block.realloc(size));
            }
            assert!(!block.realloc(usize::MAX));
        }
    }
}

fn realloc_keeps_the_contents(f: Functions) {
    // First byte by byte through the small classes, and then in the steps of a growing vector, up and down.
    let small = || 0..=1100;
    let large = || (0..48).map(|step| 1100 + (1 << (step / 4 + 10)) * (step % 4 + 4) / 4);
    let mut block = Block::malloc(f, 0).expect("a block");
    // Neighbours, so that not every block can grow in place.
    let mut neighbours = Vec::new();
    for size in small().chain(large()).chain(large().rev()).chain(small().rev()) {
        assert!(block.realloc(size));
        if size <= 1100 || size % 64 == 0 {
            neighbours.push(Block::malloc(f, size.min(2000)).expect("a block"));
        }
    }
    assert_eq!(block.size(), 0);
}

fn realloc_of_null_is_malloc(f: Functions) {
    for size in [0, 1, 16, 100, 10_000, 1 << 20] {
        assert!(Block::realloc_null(f, size).is_some_and(|block| block.size() == size));
    }
}

fn realloc_to_no_bytes_never_frees(f: Functions) {
    for size in [0, 1, 16, 100, 5000, 1 << 20] {
        // If the memory were free, a later block would get it, and the two patterns would overlap.
        let mut shrunk: Vec<Block> = (0..50).filter_map(|_| Block::malloc(f, size)).collect();
        for block in &mut shrunk {
            assert!(block.realloc(0));
        }
        let others: Vec<Block> = (0..100).filter_map(|_| Block::malloc(f, 0)).collect();
        let all: HashSet<usize> = shrunk.iter().chain(&others).map(Block::address).collect();
        assert_eq!(all.len(), shrunk.len() + others.len());
        for block in &mut shrunk {
            assert!(block.realloc(0) && block.realloc(200));
        }
    }
}

fn realloc_that_fails_keeps_the_block(f: Functions) {
    let sizes = [0, 1, 100, 5000, 70_000, 3 << 20];
    let mut blocks: Vec<Block> = sizes
        .into_iter()
        .flat_map(|size| [Block::malloc(f, size), Block::aligned_alloc(f, 4096, size)])
        .map(|block| block.expect("a block"))
        .collect();
    for block in &mut blocks {
        for impossible in IMPOSSIBLE {
            let before = (block.address(), block.usable());
            // `realloc` checks the contents after the failure.
            assert!(!block.realloc(impossible), "realloc to {impossible}");
            // SAFETY: the block is still live.
            assert_eq!((block.address(), unsafe { (f.usable_size)(block.as_ptr()) }), before);
        }
    }
    for (block, size) in blocks.iter_mut().zip([50, 20_000].into_iter().cycle()) {
        assert!(block.realloc(size));
    }
}

fn impossible_sizes_are_null(f: Functions) {
    for size in IMPOSSIBLE {
        assert!((f.malloc)(size).is_null(), "malloc({size})");
        assert!((f.calloc)(1, size).is_null() && (f.calloc)(size, 1).is_null(), "calloc({size})");
        // SAFETY: null is allowed.
        assert!(unsafe { (f.realloc)(ptr::null_mut(), size) }.is_null(), "realloc(null, {size})");
        for alignment in ALIGNMENTS {
            assert!((f.aligned_alloc)(alignment, size).is_null(), "aligned_alloc({alignment}, {size})");
        }
        assert!(Block::malloc(f, 100).is_some(), "after {size}");
    }
    for power in [56, 62, 63] {
        for size in [0, 1, 100, 1 << power, usize::MAX] {
            assert!((f.aligned_alloc)(1 << power, size).is_null(), "aligned_alloc(1 << {power}, {size})");
        }
    }
    assert!(Block::aligned_alloc(f, 64, 100).is_some());
}

fn all_usable_bytes_are_the_block_s(f: Functions) {
    // `Block` writes all usable bytes. All sizes are alive at once, so a block with too many bytes overwrites another block.
    let mut blocks: Vec<Block> =
        (0..=4096).chain(larger_sizes()).map(|size| Block::malloc(f, size).expect("a block")).collect();
    blocks.extend((0..=4096).step_by(7).filter_map(|size| Block::aligned_alloc(f, 128, size)));
    for block in &blocks {
        block.check();
    }
    let kept: Vec<Block> = blocks.into_iter().step_by(3).collect();
    let _others: Vec<Block> = (0..4000).filter_map(|size| Block::malloc(f, size)).collect();
    for block in &kept {
        block.check();
    }
}

fn null_is_no_block(f: Functions) {
    // SAFETY: null is allowed by both.
    unsafe {
        (f.free)(ptr::null_mut());
        assert_eq!((f.usable_size)(ptr::null_mut()), 0);
    }
}

/// Sizes of all kinds, most of them small, so that the threads reuse each other's memory.
fn mixed_size(index: usize) -> usize {
    match index % 97 {
        0 => 200_000,
        1..=5 => 1000 * index % 20_000,
        _ => index * 31 % 600,
    }
}

fn other_threads_free_and_resize(f: Functions) {
    // A ring: each thread allocates blocks, and the next thread resizes and frees them. All threads run at the same time.
    const THREADS: usize = 4;
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::sync_channel::<Block>(500)).unzip();
    thread::scope(|scope| {
        for (receiver, next) in receivers.into_iter().zip(senders.into_iter().cycle().skip(1)) {
            scope.spawn(move || {
                let mut kept = Vec::new();
                for index in 0..5000 {
                    let block = Block::malloc(f, mixed_size(index)).expect("a block");
                    // If the next thread is too slow, this thread frees the block.
                    let _ = next.try_send(block);
                    if let Ok(mut foreign) = receiver.try_recv() {
                        foreign.check();
                        match index % 3 {
                            0 => assert!(foreign.realloc(mixed_size(index * 7))),
                            1 => kept.push(foreign),
                            _ => drop(foreign),
                        }
                    }
                }
                drop(next);
                drop(kept);
                receiver.into_iter().for_each(drop);
            });
        }
    });
}

fn blocks_outlive_their_thread(f: Functions) {
    for round in 0..20 {
        let made = thread::spawn(move || -> Vec<Block> {
            (0..500).filter_map(|index| Block::malloc(f, mixed_size(index + round))).collect()
        });
        let mut blocks = made.join().expect("the thread made them");
        assert_eq!(blocks.len(), 500);
        for (index, block) in blocks.iter_mut().enumerate().step_by(3) {
            assert!(block.realloc(mixed_size(index * 5)));
        }
        // Another thread frees these blocks and ends. The other blocks stay alive here.
        let half = blocks.split_off(250);
        thread::spawn(move || drop(half)).join().expect("the thread freed them");
        let _new: Vec<Block> = (0..100).filter_map(|index| Block::malloc(f, mixed_size(index))).collect();
        blocks.iter().for_each(Block::check);
    }
}

fn short_lived_threads_allocate(f: Functions) {
    // mimalloc 3.3 crashed at the second such thread (mimalloc#1287).
    for index in 0..300 {
        let thread = thread::spawn(move || {
            let small = Block::malloc(f, index).expect("a block");
            let large = Block::calloc(f, 1000, index).expect("a block");
            drop(small);
            large
        });
        drop(thread.join().expect("the thread allocated"));
    }
}

fn version_is_plausible(f: Functions) {
    let version = (f.version)();
    let text = version.as_deref();
    let number = match f.backend {
        MemoryAllocatorBackend::Rust => {
            let name = behind(f.backend).as_str();
            text.and_then(|text| text.strip_prefix(name)).map(|rest| rest.trim_start_matches(" glibc "))
        }
        MemoryAllocatorBackend::Default => text.map(|text| text.trim_start_matches("glibc ")),
        _ => text,
    };
    if behind(f.backend) == MemoryAllocatorBackend::Default && !cfg!(target_env = "gnu") {
        // No other C library has a function for its version.
        return assert!(matches!(number, None | Some("")), "{version:?}");
    }
    let parts: Vec<u32> = number
        .expect("it has a version")
        .trim_start()
        .split('.')
        .map(|part| part.parse().unwrap_or_else(|_| panic!("not a version: {version:?}")))
        .collect();
    assert!((2..=3).contains(&parts.len()), "{version:?}");
    let oldest: &[u32] = match behind(f.backend) {
        MemoryAllocatorBackend::Jemalloc => &[5, 3],
        MemoryAllocatorBackend::Mimalloc => &[2, 2],
        MemoryAllocatorBackend::Snmalloc => &[0, 7],
        _ => &[2, 17],
    };
    let parts = parts.as_slice();
    assert!(parts >= oldest, "{version:?}");
    if behind(f.backend) == MemoryAllocatorBackend::Mimalloc {
        let crashes = ([3, 3, 0].as_slice()..&[3, 4, 3]).contains(&parts);
        assert!(!crashes, "mimalloc#1287 is in {version:?}");
    }
}

/// glibc has had `mallinfo2` since 2.33.
fn libc_tells() -> bool {
    #[cfg(unix)]
    // SAFETY: looks up a C string in the global scope.
    return unsafe { !libc::dlsym(libc::RTLD_DEFAULT, c"mallinfo2".as_ptr()).is_null() };
    #[cfg(not(unix))]
    false
}

fn stats_tell_what_the_backend_knows(f: Functions) {
    // More than the 1 GiB that mimalloc maps in advance.
    const LARGE: usize = 1536 << 20;
    let before = (f.stats)();
    let large = (f.malloc)(LARGE);
    assert!(!large.is_null());
    let with = (f.stats)();
    // SAFETY: a live block. Nothing has touched it, so it uses address space but no memory.
    unsafe { (f.free)(large) };
    let after = (f.stats)();

    let present = |stats: Stats| {
        let Stats { allocated, active, metadata, resident, mapped, retained } = stats;
        [allocated, active, metadata, resident, mapped, retained].map(|figure| figure.is_some())
    };
    let known = match behind(f.backend) {
        MemoryAllocatorBackend::Jemalloc => [true; 6],
        MemoryAllocatorBackend::Mimalloc => [false, false, false, false, true, false],
        MemoryAllocatorBackend::Snmalloc => [false, true, false, false, false, false],
        _ if libc_tells() => [true, false, false, false, true, false],
        _ => [false; 6],
    };
    for stats in [before, with, after] {
        assert_eq!(present(stats), known, "{stats:?}");
    }

    let grew = |figure: fn(Stats) -> Option<u64>| {
        Some(i128::from(figure(with)?) - i128::from(figure(before)?)).map(|bytes| bytes >> 20)
    };
    if let Some(grown) = grew(|stats| stats.allocated) {
        assert!((1536..=1537).contains(&grown), "allocated grew by {grown} MiB");
        let left = i128::from(after.allocated.unwrap_or_default() >> 20);
        let had = i128::from(before.allocated.unwrap_or_default() >> 20);
        assert!((left - had).abs() <= 1, "{left} MiB allocated after the block was freed, and {had} before");
    }
    for (name, figure) in
        [("mapped", (|stats| stats.mapped) as fn(Stats) -> _), ("active", |stats| stats.active)]
    {
        let Some(grown) = grew(figure) else { continue };
        // A part may have been mapped before, and snmalloc rounds up to a power of two.
        assert!((512..=2100).contains(&grown), "{name} grew by {grown} MiB");
        assert!(figure(after) <= figure(with), "{name}: from {with:?} to {after:?}");
    }
    if let Stats { allocated: Some(allocated), active: Some(active), mapped: Some(mapped), .. } = with {
        assert!(allocated <= active && active <= mapped, "{with:?}");
        assert!(with.metadata > Some(0) && with.resident > Some(0), "{with:?}");
    }
}

fn release_gives_memory_back(f: Functions) {
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib >> 10)
    };
    let mut blocks: Vec<Block> = (0..6 << 10).filter_map(|_| Block::malloc(f, 16 << 10)).collect();
    let full = resident();
    // The last block stays. Otherwise the free memory would lie at the end of a heap, and would be returned without a
    // release.
    blocks.drain(..blocks.len() - 1);
    let released = (f.release)();
    let after = resident();

    if behind(f.backend) == MemoryAllocatorBackend::Snmalloc {
        return assert_eq!(released, Err(CannotRelease(f.backend)));
    }
    if behind(f.backend) == MemoryAllocatorBackend::Default && !cfg!(target_env = "gnu") {
        return assert_eq!(released, Err(CannotRelease(f.backend)));
    }
    assert_eq!(released, Ok(()));
    // 96 MiB minus a part that the allocator may keep.
    if let (Some(full), Some(after)) = (full, after) {
        assert!(after + 80 <= full, "from {full} MiB to {after}");
    }
}

/// Each mistake, and the test that must find it.
#[test]
fn the_tests_bite() {
    type Test = fn(Functions);
    let finds: [(&str, Test); MISTAKES.len()] = [
        ("no bytes are null", no_bytes_get_a_block_of_their_own),
        ("no bytes share a block", no_bytes_get_a_block_of_their_own),
        ("calloc multiplies unchecked", calloc_refuses_a_product_that_overflows),
        ("calloc multiplies twice", calloc_takes_the_count_once),
        ("calloc leaves dirt", calloc_zeroes_recycled_memory),
        ("small blocks are aligned to 8", every_block_is_aligned),
        ("alignments over 64 are ignored", aligned_alloc_aligns),
        ("alignments are ignored for no bytes", aligned_alloc_aligns),
        ("alignments are rounded up", aligned_alloc_refuses_what_is_no_power_of_two),
        ("realloc loses the last byte", realloc_keeps_the_contents),
        ("realloc of null is null", realloc_of_null_is_malloc),
        ("realloc to no bytes frees", realloc_to_no_bytes_never_frees),
        ("realloc that fails loses the contents", realloc_that_fails_keeps_the_block),
        ("realloc that fails says it did not", realloc_that_fails_keeps_the_block),
        ("sizes wrap around", impossible_sizes_are_null),
        ("blocks are given out twice", all_usable_bytes_are_the_block_s),
        ("usable is less than asked for", all_usable_bytes_are_the_block_s),
        ("null has a usable size", null_is_no_block),
        ("only the own thread may resize", other_threads_free_and_resize),
        ("blocks end with their thread", blocks_outlive_their_thread),
        ("threads are limited", short_lived_threads_allocate),
        ("the version is a name", version_is_plausible),
        ("what is absent is 0", stats_tell_what_the_backend_knows),
        ("release does nothing", release_gives_memory_back),
    ];
    let _turn = alone();
    for ((name, functions), (expected, test)) in MISTAKES.into_iter().zip(finds) {
        assert_eq!(name, expected);
        // Without glibc, the remaining memory is unknown, so no test can find the mistake.
        let knows =
            cfg!(target_env = "gnu") || name != "the version is a name" && name != "release does nothing";
        let found = panic::catch_unwind(|| test(functions)).is_err();
        assert!(found || !knows, "{name}: not found");
    }
}

const _: () = assert!(MIN_ALIGNMENT == 16);
