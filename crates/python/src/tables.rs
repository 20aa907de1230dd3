//! The tables that CPython calls: `PyMemAllocatorEx` and `PyObjectArenaAllocator`, on a [`RawAllocator`].
//!
//! CPython's contract for a domain (c-api/memory) is the contract of [`RawAllocator`]: a request of 0 bytes returns a
//! block of its own, `realloc` of null allocates, and `free` of null does nothing.

use core::ffi::c_void;

use malloc_backend::RawAllocator;

use crate::c_api::{PyMemAllocatorEx, PyObjectArenaAllocator};
use crate::counters::{Counters, DomainCounters};
use crate::{Config, Domain};

/// The pools of pymalloc have 16 KiB (4 KiB before 3.10). If an arena does not begin at a multiple of this size, pymalloc
/// wastes one pool (Objects/obmalloc.c, `new_arena`).
const ARENA_ALIGNMENT: usize = 16 << 10;

/// The tables of all domains for one allocator.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    pub domains: [PyMemAllocatorEx; 3],
    pub arena: PyObjectArenaAllocator,
}

impl Tables {
    /// Makes the tables. Only with `config.counters`, the functions count their calls.
    pub fn new<A: RawAllocator>(config: &Config, counters: &'static DomainCounters) -> Self {
        let context = |domain: Domain| (&raw const counters[domain as usize]).cast_mut().cast::<c_void>();
        let domain = |domain| {
            #[cfg(feature = "tagged")]
            return crate::tagged::table::<A>(context(domain));
            #[cfg(not(feature = "tagged"))]
            match config.counters {
                true => counted::table::<A>(context(domain)),
                false => plain::table::<A>(),
            }
        };
        Self {
            domains: [domain(Domain::Raw), domain(Domain::Mem), domain(Domain::Obj)],
            arena: match config.counters {
                true => counted::arena::<A>(context(Domain::Arena)),
                false => plain::arena::<A>(),
            },
        }
    }
}

/// Functions that call the allocator directly, each by a tail call. The context is [`RawAllocator::LEAST`], so `malloc` need
/// not load this number.
#[cfg_attr(feature = "tagged", allow(dead_code))]
mod plain {
    use super::*;

    pub fn table<A: RawAllocator>() -> PyMemAllocatorEx {
        let ctx = core::ptr::without_provenance_mut(A::LEAST);
        PyMemAllocatorEx::new(ctx, malloc::<A>, calloc::<A>, realloc::<A>, free::<A>)
    }

    pub fn arena<A: RawAllocator>() -> PyObjectArenaAllocator {
        PyObjectArenaAllocator {
            ctx: core::ptr::null_mut(),
            alloc: Some(alloc_arena::<A>),
            free: Some(free_arena::<A>),
        }
    }

    unsafe extern "C" fn malloc<A: RawAllocator>(ctx: *mut c_void, size: usize) -> *mut c_void {
        if A::LEAST == 0 {
            return A::malloc(size);
        }
        // SAFETY: the context is `LEAST`. CPython passes it unchanged.
        unsafe { A::malloc_raised(size.max(ctx.addr())) }
    }

    unsafe extern "C" fn calloc<A: RawAllocator>(
        _ctx: *mut c_void,
        count: usize,
        size: usize,
    ) -> *mut c_void {
        A::calloc(count, size)
    }

    unsafe extern "C" fn realloc<A: RawAllocator>(
        _ctx: *mut c_void,
        block: *mut c_void,
        size: usize,
    ) -> *mut c_void {
        // SAFETY: CPython passes a block of the same table.
        unsafe { A::realloc(block, size) }
    }

    unsafe extern "C" fn free<A: RawAllocator>(_ctx: *mut c_void, block: *mut c_void) {
        // SAFETY: see `realloc`.
        unsafe { A::free(block) }
    }

    unsafe extern "C" fn alloc_arena<A: RawAllocator>(_ctx: *mut c_void, size: usize) -> *mut c_void {
        A::aligned_alloc(ARENA_ALIGNMENT, size)
    }

    unsafe extern "C" fn free_arena<A: RawAllocator>(_ctx: *mut c_void, arena: *mut c_void, _size: usize) {
        // SAFETY: see `realloc`.
        unsafe { A::free(arena) }
    }
}

/// Functions that also count. The context points to the domain's [`Counters`].
#[cfg_attr(feature = "tagged", allow(dead_code))]
pub mod counted {
    use super::*;

    pub fn table<A: RawAllocator>(ctx: *mut c_void) -> PyMemAllocatorEx {
        PyMemAllocatorEx::new(ctx, malloc::<A>, calloc::<A>, realloc::<A>, free::<A>)
    }

    pub fn arena<A: RawAllocator>(ctx: *mut c_void) -> PyObjectArenaAllocator {
        PyObjectArenaAllocator { ctx, alloc: Some(alloc_arena::<A>), free: Some(free_arena::<A>) }
    }

    /// # Safety
    /// `ctx` is the context of a table of this module. `block` is null or a live block of `A`.
    unsafe fn handed_out<A: RawAllocator>(ctx: *mut c_void, block: *mut c_void) -> *mut c_void {
        if !block.is_null() {
            // SAFETY: the caller's obligations.
            unsafe { Counters::of(ctx).allocated(A::usable_size(block)) };
        }
        block
    }

    unsafe extern "C" fn malloc<A: RawAllocator>(ctx: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: CPython passes the table's context. The block is new.
        unsafe { handed_out::<A>(ctx, A::malloc(size)) }
    }

    unsafe extern "C" fn calloc<A: RawAllocator>(ctx: *mut c_void, count: usize, size: usize) -> *mut c_void {
        // SAFETY: see `malloc`.
        unsafe { handed_out::<A>(ctx, A::calloc(count, size)) }
    }

    unsafe extern "C" fn realloc<A: RawAllocator>(
        ctx: *mut c_void,
        block: *mut c_void,
        size: usize,
    ) -> *mut c_void {
        // SAFETY: CPython passes a block of the same table, and the table's context.
        unsafe {
            if block.is_null() {
                return malloc::<A>(ctx, size);
            }
            let before = A::usable_size(block);
            let resized = A::realloc(block, size);
            if !resized.is_null() {
                Counters::of(ctx).reallocated(before, A::usable_size(resized));
            }
            resized
        }
    }

    unsafe extern "C" fn free<A: RawAllocator>(ctx: *mut c_void, block: *mut c_void) {
        if block.is_null() {
            return;
        }
        // SAFETY: see `realloc`.
        unsafe {
            Counters::of(ctx).freed(A::usable_size(block));
            A::free(block);
        }
    }

    unsafe extern "C" fn alloc_arena<A: RawAllocator>(ctx: *mut c_void, size: usize) -> *mut c_void {
        // SAFETY: see `malloc`.
        unsafe { handed_out::<A>(ctx, A::aligned_alloc(ARENA_ALIGNMENT, size)) }
    }

    unsafe extern "C" fn free_arena<A: RawAllocator>(ctx: *mut c_void, arena: *mut c_void, _size: usize) {
        // SAFETY: see `realloc`.
        unsafe { free::<A>(ctx, arena) }
    }
}
