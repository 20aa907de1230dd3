//! A heap of mimalloc's in an arena of its own. mimalloc keeps its structures and its lists of free blocks within the
//! range.

use alloc::boxed::Box;
use core::ffi::{c_int, c_void};
use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use libmimalloc_sys as sys;

use super::{Range, RangeHeap};
use crate::raw::aligned_by_size;

unsafe extern "C" {
    // mimalloc.h, 2.3: the crate has no declaration of the first, and of the other only behind a feature.
    fn mi_heap_new_ex(tag: c_int, allow_destroy: bool, arena: c_int) -> *mut sys::mi_heap_t;
    fn mi_manage_os_memory_ex(
        start: *mut c_void,
        size: usize,
        is_committed: bool,
        is_large: bool,
        is_zero: bool,
        numa_node: c_int,
        exclusive: bool,
        arena: *mut c_int,
    ) -> bool;
}

/// mimalloc's segments: an arena is made of them.
const SEGMENT: usize = 32 << 20;

pub struct Heap {
    heap: *mut sys::mi_heap_t,
    arena: ManuallyDrop<Box<Arena>>,
}

/// A range that mimalloc manages, which it does for good: there are at most 132, and none can be taken back.
struct Arena {
    range: Range,
    id: c_int,
}

/// Arenas whose heap is gone, for the next heap of their size.
static IDLE: [AtomicPtr<Arena>; 132] = [const { AtomicPtr::new(ptr::null_mut()) }; 132];

impl Arena {
    fn new(size: usize) -> Option<Box<Self>> {
        let range = Range::reserve(size, SEGMENT)?;
        let mut id = 0;
        // SAFETY: the range is mapped, aligned to segments, and stays so. It is not `is_zero`: by the time mimalloc
        // uses a part of it, someone may have written there. Exclusive: no other heap allocates from it.
        let managed = unsafe {
            mi_manage_os_memory_ex(range.start(), range.size(), true, false, false, -1, true, &mut id)
        };
        managed.then(|| Box::new(Self { range, id }))
    }

    /// An idle arena of that size, or a new one.
    fn take(size: usize) -> Option<Box<Self>> {
        // Few sizes, so that an idle one is likely to fit: it is address space, of which there is plenty.
        let size = size.checked_next_multiple_of(SEGMENT)?.checked_next_power_of_two()?;
        for place in &IDLE {
            let idle = place.swap(ptr::null_mut(), Ordering::Acquire);
            if idle.is_null() {
                continue;
            }
            // SAFETY: it came from `give_back`, and whoever swaps it out has it alone.
            let arena = unsafe { Box::from_raw(idle) };
            if arena.range.size() == size {
                return Some(arena);
            }
            arena.give_back();
        }
        Self::new(size)
    }

    /// There is a place for each arena that there can be.
    fn give_back(self: Box<Self>) {
        let arena = Box::into_raw(self);
        for place in &IDLE {
            let null = ptr::null_mut();
            if place.compare_exchange(null, arena, Ordering::Release, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }
}

impl Heap {
    pub fn new(size: usize) -> Option<Self> {
        let arena = Arena::take(size)?;
        match Self::heap_in(&arena) {
            Some(heap) => Some(Self { heap, arena: ManuallyDrop::new(arena) }),
            None => {
                arena.give_back();
                None
            }
        }
    }

    fn heap_in(arena: &Arena) -> Option<*mut sys::mi_heap_t> {
        // SAFETY: an arena of mimalloc's; a heap that can be destroyed.
        let heap = unsafe { mi_heap_new_ex(0, true, arena.id) };
        (!heap.is_null()).then_some(heap)
    }
}

impl RangeHeap for Heap {
    fn extent(&self) -> (*mut c_void, usize) {
        (self.arena.range.start(), self.arena.range.size())
    }

    fn allocate(&self, size: usize, alignment: usize) -> *mut c_void {
        // SAFETY: a heap of this thread; any size, and a power of two.
        unsafe {
            if alignment <= crate::MIN_ALIGNMENT {
                sys::mi_heap_malloc(self.heap, aligned_by_size(size))
            } else {
                sys::mi_heap_malloc_aligned(self.heap, size, alignment)
            }
        }
    }

    unsafe fn free(&self, block: *mut c_void) {
        // SAFETY: the caller's obligation.
        unsafe { sys::mi_free(block) }
    }

    unsafe fn reset(&mut self) -> bool {
        // SAFETY: a heap of this thread that allows it; its blocks are used no more.
        unsafe { sys::mi_heap_destroy(self.heap) };
        let heap = Self::heap_in(&self.arena);
        self.heap = heap.unwrap_or(ptr::null_mut());
        heap.is_some()
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: as in `reset`; null is none. The arena is taken out once, and nothing in it is live.
        unsafe {
            sys::mi_heap_destroy(self.heap);
            let arena = ManuallyDrop::take(&mut self.arena);
            Range::discard(arena.range.start(), arena.range.size());
            arena.give_back();
        }
    }
}
