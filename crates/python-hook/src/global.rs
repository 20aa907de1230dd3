//! Rust's global allocator in the hook: the process's `malloc`. So this is also the allocator of the backend `rust`.

use core::alloc::{GlobalAlloc, Layout};

use malloc_backend::{Default, MIN_ALIGNMENT, RawAllocator};

struct C;

#[global_allocator]
static GLOBAL: C = C;

// SAFETY: blocks come from `malloc`, whose contract guarantees size and alignment.
unsafe impl GlobalAlloc for C {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match layout.align() <= MIN_ALIGNMENT {
            true => Default::malloc(layout.size()).cast(),
            false => Default::aligned_alloc(layout.align(), layout.size()).cast(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= MIN_ALIGNMENT {
            return Default::calloc(1, layout.size()).cast();
        }
        let block: *mut u8 = Default::aligned_alloc(layout.align(), layout.size()).cast();
        if !block.is_null() {
            // SAFETY: a new block of this size.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= MIN_ALIGNMENT {
            // SAFETY: the block came from `alloc`.
            return unsafe { Default::realloc(block.cast(), size) }.cast();
        }
        // SAFETY: the caller guarantees that the new layout is valid, and that the block has the old layout.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block came from `alloc`.
        unsafe { Default::free(block.cast()) }
    }
}
