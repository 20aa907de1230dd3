//! What `memory_map` tells of a program that does as others do.

// Of the C libraries only glibc has arenas.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]

use std::{fs, process, thread};

use malloc_backend_process::memory_map;

#[test]
fn what_a_thread_allocates_is_in_arenas() {
    const BLOCK: usize = 1500;
    const BLOCKS: usize = (300 << 20) / BLOCK;
    if fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "2") {
        eprintln!("skipped: no mapping is marked as reserved (vm.overcommit_memory is 2)");
        return;
    }
    let map = || memory_map(process::id()).expect("this process may look at itself");
    let before = map();
    let thread = thread::spawn(move || {
        let blocks: Vec<_> = (0..BLOCKS).map(|_| vec![1_u8; BLOCK]).collect();
        let after = map();
        drop(blocks);
        after
    });
    let after = thread.join().expect("it does not panic");
    assert!(after.arenas - before.arenas >= (BLOCK * BLOCKS) as u64, "{before:?} {after:?}");
}
