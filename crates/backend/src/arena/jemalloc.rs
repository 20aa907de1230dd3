//! An arena of jemalloc whose extents come from a range, by jemalloc's extent hooks. jemalloc's own data structures lie
//! outside the range. So no write into the range can damage the heap.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::ffi::{c_uint, c_void};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tikv_jemalloc_sys::{self as sys, extent_hooks_t};

use super::{Range, purge};
use crate::raw::aligned_by_size;

/// An extent is a multiple of the page size, and starts at a multiple of the requested alignment. The size of a huge page is
/// enough for both.
pub(super) const ALIGNMENT: usize = 2 << 20;

/// A heap within a range, for one thread at a time.
pub struct Arena {
    /// The pointer of a box. jemalloc also has a pointer to it.
    place: NonNull<Place>,
    arena: c_uint,
    /// The arena's own cache for small blocks. A thread's cache would mix the blocks of several arenas.
    cache: c_uint,
    flags: [i32; 2],
}

/// The range and its used part. The hooks are the first field, because jemalloc passes a pointer to them.
#[repr(C)]
struct Place {
    hooks: extent_hooks_t,
    range: Arc<Range>,
    /// Whether the arena is being destroyed. Then it must not return memory of the range any more.
    going: AtomicBool,
    /// Number of bytes that jemalloc has taken. jemalloc keeps them until the arena is destroyed.
    used: AtomicUsize,
}

/// jemalloc's `arena_config_t`.
#[repr(C)]
struct ArenaConfig {
    hooks: *mut extent_hooks_t,
    metadata_use_hooks: bool,
}

/// The hook that provides address space.
unsafe extern "C" fn extend(
    hooks: *mut extent_hooks_t,
    wanted: *mut c_void,
    size: usize,
    alignment: usize,
    zero: *mut bool,
    commit: *mut bool,
    _: c_uint,
) -> *mut c_void {
    // SAFETY: the hooks are the first field of a place, which lives as long as its arena.
    let place = unsafe { &*hooks.cast::<Place>() };
    let mut used = place.used.load(Ordering::Relaxed);
    loop {
        // SAFETY: `used` is within the range, or one past its end.
        let free = unsafe { place.range.start().byte_add(used) };
        let offset = used + free.align_offset(alignment);
        let end = match offset.checked_add(size) {
            Some(end) if end <= place.range.size() => end,
            _ => return ptr::null_mut(),
        };
        // SAFETY: as above. The range has `size` bytes from there on.
        let start = unsafe { place.range.start().byte_add(offset) };
        if !wanted.is_null() && wanted != start {
            return ptr::null_mut();
        }
        match place.used.compare_exchange_weak(used, end, Ordering::Relaxed, Ordering::Relaxed) {
            Err(other) => used = other,
            Ok(_) => {
                // SAFETY: two flags of the caller. Nothing has been written to this memory since the arena was made.
                unsafe {
                    *zero = false;
                    *commit = true;
                }
                return start;
            }
        }
    }
}

/// The hook that returns address space. `true` means that jemalloc must keep it.
unsafe extern "C" fn keep(_: *mut extent_hooks_t, _: *mut c_void, _: usize, _: bool, _: c_uint) -> bool {
    true
}

/// The hook that commits memory. The whole range is committed from the beginning.
unsafe extern "C" fn commit(
    _: *mut extent_hooks_t,
    _: *mut c_void,
    _: usize,
    _: usize,
    _: usize,
    _: c_uint,
) -> bool {
    false
}

/// The hook that returns memory to the system. `false` means success.
unsafe extern "C" fn give_back(
    hooks: *mut extent_hooks_t,
    start: *mut c_void,
    _: usize,
    offset: usize,
    size: usize,
    _: c_uint,
) -> bool {
    // SAFETY: the hooks are the first field of a place, which lives as long as its arena. The pages belong to an extent of this
    // arena and are free.
    unsafe {
        let place = &*hooks.cast::<Place>();
        place.going.load(Ordering::Acquire) || !Range::discard(start.byte_add(offset), size)
    }
}

unsafe extern "C" fn split(
    _: *mut extent_hooks_t,
    _: *mut c_void,
    _: usize,
    _: usize,
    _: usize,
    _: bool,
    _: c_uint,
) -> bool {
    false
}

/// The hook that allows merging. All extents of a range are one mapping.
unsafe extern "C" fn merge(
    _: *mut extent_hooks_t,
    _: *mut c_void,
    _: usize,
    _: *mut c_void,
    _: usize,
    _: bool,
    _: c_uint,
) -> bool {
    false
}

/// Reads, writes or executes a key of jemalloc.
///
/// # Safety
/// The types are the types of the key in jemalloc, or `()` for no value. The new value is valid.
unsafe fn control<New, Old>(key: &str, old: Option<&mut Old>, new: Option<&mut New>) -> bool {
    let key = format!("{key}\0");
    let mut size = size_of::<Old>();
    // SAFETY: the key ends with a zero byte. The rest is the caller's obligation.
    unsafe {
        let (place, length) = match old {
            Some(old) => (ptr::from_mut(old).cast(), &raw mut size),
            None => (ptr::null_mut(), ptr::null_mut()),
        };
        let (value, written) = match new {
            Some(new) => (ptr::from_mut(new).cast(), size_of::<New>()),
            None => (ptr::null_mut(), 0),
        };
        sys::mallctl(key.as_ptr().cast(), place, length, value, written) == 0
    }
}

impl Arena {
    pub(super) fn new(range: Arc<Range>) -> Option<Self> {
        let place = Box::into_raw(Box::new(Place {
            hooks: extent_hooks_t {
                alloc: Some(extend),
                dalloc: Some(keep),
                destroy: None,
                commit: Some(commit),
                decommit: None,
                purge_lazy: None,
                purge_forced: Some(give_back),
                split: Some(split),
                merge: Some(merge),
            },
            range,
            going: AtomicBool::new(false),
            used: AtomicUsize::new(0),
        }));
        let mut config = ArenaConfig { hooks: place.cast(), metadata_use_hooks: false };
        let (mut arena, mut cache): (c_uint, c_uint) = (0, 0);
        // SAFETY: the keys have these types. The hooks do not move until the arena is destroyed.
        unsafe {
            if !control("experimental.arenas_create_ext", Some(&mut arena), Some(&mut config)) {
                drop(Box::from_raw(place));
                return None;
            }
            if !control("tcache.create", Some(&mut cache), None::<&mut ()>) {
                let _turn = purge::destroy();
                control(&format!("arena.{arena}.destroy"), None::<&mut ()>, None::<&mut ()>);
                drop(Box::from_raw(place));
                return None;
            }
        }
        let place_flag = sys::MALLOCX_ARENA(arena as usize);
        let cache_flag = sys::MALLOCX_TCACHE(cache as usize);
        Some(Self { place: NonNull::new(place)?, arena, cache, flags: [place_flag | cache_flag, cache_flag] })
    }

    /// The range of the arena. The range exists as long as a reference to it exists. After the arena is dropped, the owners
    /// of the references own the memory.
    pub fn range(&self) -> Arc<Range> {
        self.place().range.clone()
    }

    fn place(&self) -> &Place {
        // SAFETY: the place lives as long as the arena, and nothing has an exclusive reference to it.
        unsafe { self.place.as_ref() }
    }

    /// Allocates a block. Returns null after a failure, or if the alignment is not a power of two.
    #[inline(always)]
    pub fn allocate(&self, size: usize, alignment: usize) -> *mut c_void {
        // SAFETY: the alignment is a power of two, and `aligned_by_size` never returns the size 0.
        unsafe {
            if alignment <= crate::MIN_ALIGNMENT {
                sys::mallocx(aligned_by_size(size), self.flags[0])
            } else if alignment.is_power_of_two() {
                sys::mallocx(size.max(1), self.flags[0] | sys::MALLOCX_ALIGN(alignment))
            } else {
                ptr::null_mut()
            }
        }
    }

    /// Number of usable bytes of the block.
    ///
    /// # Safety
    /// The block is a live block of this arena.
    #[inline(always)]
    pub unsafe fn usable_size(&self, block: *mut c_void) -> usize {
        // SAFETY: the caller's obligation.
        unsafe { sys::malloc_usable_size(block) }
    }

    /// Frees a block.
    ///
    /// # Safety
    /// The block is a live block of this arena. Nothing uses it afterwards.
    #[inline(always)]
    pub unsafe fn free(&self, block: *mut c_void) {
        // SAFETY: the caller's obligation.
        unsafe { sys::dallocx(block, self.flags[1]) }
    }

    /// Frees all blocks. Returns false if the arena is unusable afterwards.
    ///
    /// # Safety
    /// Nothing uses a block afterwards.
    #[must_use]
    pub unsafe fn reset(&mut self) -> bool {
        // SAFETY: this value owns the cache and the arena. The blocks of the cache return to the arena first.
        unsafe {
            control("tcache.flush", None::<&mut ()>, Some(&mut self.cache))
                && control(&format!("arena.{}.reset", self.arena), None::<&mut ()>, None::<&mut ()>)
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let _turn = purge::destroy();
        self.place().going.store(true, Ordering::Release);
        // SAFETY: as in `reset`. Nothing uses a block of a dropped arena.
        let destroyed = unsafe {
            control("tcache.destroy", None::<&mut ()>, Some(&mut self.cache))
                && control(&format!("arena.{}.destroy", self.arena), None::<&mut ()>, None::<&mut ()>)
        };
        if destroyed {
            // SAFETY: the pointer of a box, which is dropped once, here. If jemalloc could not destroy the arena, it may still
            // use the box, so the box is not dropped.
            drop(unsafe { Box::from_raw(self.place.as_ptr()) });
        }
    }
}
