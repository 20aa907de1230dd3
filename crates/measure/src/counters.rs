//! Processor events of the program and all its descendants, counted by the kernel (perf_event_open(2)).

use std::ffi::c_ulong;
use std::fs::File;
use std::io::Read;
use std::mem;
use std::os::fd::FromRawFd;

use crate::event::Counters;

/// Counters that begin when a process becomes the program.
pub struct Counting {
    instructions: Option<File>,
    cache_misses: Option<File>,
    dtlb_misses: Option<File>,
}

/// The first version of `struct perf_event_attr`. The kernel accepts each version by its size.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    config1: u64,
}

// linux/perf_event.h
const HARDWARE: u32 = 0;
const HARDWARE_CACHE: u32 = 3;
const INSTRUCTIONS: u64 = 1;
const CACHE_MISSES: u64 = 3;
const DTLB_READ_MISSES: u64 = 3 | 1 << 16;
const TIME_ENABLED_AND_RUNNING: u64 = 1 | 2;
const DISABLED: u64 = 1;
const INHERIT: u64 = 1 << 1;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
const ENABLE_ON_EXEC: u64 = 1 << 12;
const CLOSE_ON_EXEC: c_ulong = 1 << 3;

impl Counting {
    /// Opens the counters that the system allows, for a process that has not become the program yet.
    pub fn open(pid: i32) -> Option<Self> {
        let counting = Self {
            instructions: open(pid, HARDWARE, INSTRUCTIONS),
            cache_misses: open(pid, HARDWARE, CACHE_MISSES),
            dtlb_misses: open(pid, HARDWARE_CACHE, DTLB_READ_MISSES),
        };
        let Self { instructions, cache_misses, dtlb_misses } = &counting;
        (instructions.is_some() || cache_misses.is_some() || dtlb_misses.is_some()).then_some(counting)
    }

    /// The counts so far, of processes that have ended too.
    pub fn read(&mut self) -> Counters {
        Counters {
            instructions: self.instructions.as_mut().and_then(count),
            cache_misses: self.cache_misses.as_mut().and_then(count),
            dtlb_misses: self.dtlb_misses.as_mut().and_then(count),
        }
    }
}

/// Counts the kernel's work for the program too, if the system allows that.
fn open(pid: i32, kind: u32, config: u64) -> Option<File> {
    [0, EXCLUDE_KERNEL].into_iter().find_map(|exclude| {
        let attributes = Attributes {
            kind,
            size: size_of::<Attributes>() as u32,
            config,
            sample_period: 0,
            sample_type: 0,
            read_format: TIME_ENABLED_AND_RUNNING,
            flags: DISABLED | INHERIT | ENABLE_ON_EXEC | EXCLUDE_HYPERVISOR | exclude,
            wakeup_events: 0,
            breakpoint_type: 0,
            config1: 0,
        };
        let (any_processor, no_group) = (-1, -1);
        // SAFETY: a structure of the size that it names; the new descriptor belongs to nobody else.
        unsafe {
            let fd = libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                pid,
                any_processor,
                no_group,
                CLOSE_ON_EXEC,
            );
            i32::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| File::from_raw_fd(fd))
        }
    })
}

/// If the processor cannot count all events at once, the kernel counts each for a part of the time.
fn count(file: &mut File) -> Option<u64> {
    let mut bytes = [[0; size_of::<u64>()]; 3];
    file.read_exact(bytes.as_flattened_mut()).ok()?;
    let [count, enabled, running] = bytes.map(u64::from_ne_bytes);
    match running {
        0 if enabled > 0 => None,
        _ if running >= enabled => Some(count),
        _ => Some((count as f64 * enabled as f64 / running as f64) as u64),
    }
}

const _: () = assert!(mem::size_of::<Attributes>() == 64, "PERF_ATTR_SIZE_VER0");
