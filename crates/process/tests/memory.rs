//! What `memory_map` tells of a program that does as others do.

// Of the C libraries only glibc has arenas.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::{fs, process, ptr, thread};

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

#[test]
fn stacks_are_those_of_threads() {
    const MIB: usize = 1 << 20;
    const HOLE: usize = 4096 * 16;
    const SIZE: usize = 64 * MIB;
    let stacks = || memory_map(process::id()).expect("this process may look at itself").stacks as usize;
    let before = stacks();
    // As jemalloc leaves it where it decommits: a MiB in use, and then a hole.
    // SAFETY: a new mapping, of which nothing is used but what is written here.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
        let memory = libc::mmap(ptr::null_mut(), SIZE, protection, flags, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED);
        for start in (0..SIZE).step_by(MIB) {
            libc::memset(memory.byte_add(start), 1, MIB);
            assert_eq!(libc::mprotect(memory.byte_add(start), HOLE, libc::PROT_NONE), 0);
        }
    }
    assert!(stacks() < before + 2 * MIB, "{before} {}", stacks());
    let looked = Barrier::new(2);
    let (used, thread_id) = channel();
    let with_thread = thread::scope(|scope| {
        let deep = thread::Builder::new().stack_size(8 * MIB);
        let deep = deep.spawn_scoped(scope, || {
            black_box([1_u8; 4 * MIB]);
            // SAFETY: takes nothing.
            used.send(unsafe { libc::gettid() }).expect("somebody listens");
            looked.wait();
        });
        deep.expect("a thread can be made");
        let thread_id = thread_id.recv().expect("the thread has begun");
        // Of one that runs the kernel does not tell where its stack is.
        while !is_asleep(thread_id) {
            thread::yield_now();
        }
        let with_thread = stacks();
        looked.wait();
        with_thread
    });
    assert!((before + 4 * MIB..before + 8 * MIB).contains(&with_thread), "{before} {with_thread}");
}

/// Whether a thread of this process waits (proc_pid_stat(5)).
fn is_asleep(thread: libc::pid_t) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).expect("the thread lives");
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S'))
}
