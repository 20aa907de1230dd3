//! An arena of jemalloc's whose extents come from a range, by hooks. Its own structures lie elsewhere, so that nothing
//! that is written within the range can damage the heap.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::ffi::{c_uint, c_void};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tikv_jemalloc_sys::{self as sys, extent_hooks_t};

use super::{Range, purge};
use crate::raw::aligned_by_size;

/// Extents are multiples of pages, and begin at a multiple of what they ask for. A huge page serves all of that.
pub(super) const ALIGNMENT: usize = 2 << 20;

/// A heap within a range, for one thread at a time.
pub struct Arena {
    /// A box's, as a pointer: jemalloc has one to it as well.
    place: NonNull<Place>,
    arena: c_uint,
    /// Small blocks go through a cache of this arena's own: a thread's would mix them with other arenas'.
    cache: c_uint,
    flags: [i32; 2],
}

/// The range, with what is given out of it. The hooks come first: they are what jemalloc hands back.
#[repr(C)]
struct Place {
    hooks: extent_hooks_t,
    range: Arc<Range>,
    /// Whether the arena is going: the range is no longer its own to give memory of it back.
    going: AtomicBool,
    /// How much of it jemalloc has. It keeps what it has until the arena goes.
    used: AtomicUsize,
}

/// jemalloc's `arena_config_t`.
#[repr(C)]
struct ArenaConfig {
    hooks: *mut extent_hooks_t,
    metadata_use_hooks: bool,
}

/// What jemalloc calls for address space.
unsafe extern "C" fn extend(
    hooks: *mut extent_hooks_t,
    wanted: *mut c_void,
    size: usize,
    alignment: usize,
    zero: *mut bool,
    commit: *mut bool,
    _: c_uint,
) -> *mut c_void {
    // SAFETY: the hooks are the first field of a place that lives as long as its arena.
    let place = unsafe { &*hooks.cast::<Place>() };
    let mut used = place.used.load(Ordering::Relaxed);
    loop {
        // SAFETY: `used` is within the range, or one past it.
        let free = unsafe { place.range.start().byte_add(used) };
        let offset = used + free.align_offset(alignment);
        let end = match offset.checked_add(size) {
            Some(end) if end <= place.range.size() => end,
            _ => return ptr::null_mut(),
        };
        // SAFETY: as above; there are `size` bytes from there on.
        let start = unsafe { place.range.start().byte_add(offset) };
        if !wanted.is_null() && wanted != start {
            return ptr::null_mut();
        }
        match place.used.compare_exchange_weak(used, end, Ordering::Relaxed, Ordering::Relaxed) {
            Err(other) => used = other,
            Ok(_) => {
                // SAFETY: two flags of the caller's. Nothing has been written there since the arena was made.
                unsafe {
                    *zero = false;
                    *commit = true;
                }
                return start;
            }
        }
    }
}

/// What jemalloc calls to give address space back, which it is to keep.
unsafe extern "C" fn keep(_: *mut extent_hooks_t, _: *mut c_void, _: usize, _: bool, _: c_uint) -> bool {
    true
}

/// The range is all there from the beginning.
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

/// What jemalloc calls to give memory back. False is success.
unsafe extern "C" fn give_back(
    hooks: *mut extent_hooks_t,
    start: *mut c_void,
    _: usize,
    offset: usize,
    size: usize,
    _: c_uint,
) -> bool {
    // SAFETY: the hooks are the first field of a place that lives as long as its arena; pages of an extent of this arena,
    // which are free.
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

/// Extents of one range are one mapping.
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

/// Reads, writes or carries out one of jemalloc's keys.
///
/// # Safety
/// The types are those that jemalloc has for the key, `()` for none, and what is written is what it may be.
unsafe fn control<New, Old>(key: &str, old: Option<&mut Old>, new: Option<&mut New>) -> bool {
    let key = format!("{key}\0");
    let mut size = size_of::<Old>();
    // SAFETY: a key that ends with a zero; the caller's obligation for the rest.
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
        // SAFETY: the keys take and give these types; the hooks stay where they are until the arena is destroyed.
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

    /// The range that the arena lies in. It stays as long as somebody has a count of it. Once the arena is dropped, its
    /// memory is that of whoever has one.
    pub fn range(&self) -> Arc<Range> {
        self.place().range.clone()
    }

    fn place(&self) -> &Place {
        // SAFETY: it lives as long as the arena, and nothing has it to itself.
        unsafe { self.place.as_ref() }
    }

    /// A block, or null: also where the alignment is not a power of two.
    #[inline(always)]
    pub fn allocate(&self, size: usize, alignment: usize) -> *mut c_void {
        // SAFETY: a power of two, and a size that is not 0, which `aligned_by_size` excludes.
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

    /// How many bytes of the block may be used.
    ///
    /// # Safety
    /// A live block of this arena.
    #[inline(always)]
    pub unsafe fn usable_size(&self, block: *mut c_void) -> usize {
        // SAFETY: the caller's obligation.
        unsafe { sys::malloc_usable_size(block) }
    }

    /// Frees a block.
    ///
    /// # Safety
    /// A live block of this arena, which is not used after.
    #[inline(always)]
    pub unsafe fn free(&self, block: *mut c_void) {
        // SAFETY: the caller's obligation.
        unsafe { sys::dallocx(block, self.flags[1]) }
    }

    /// Frees all blocks. False where the arena is of no use any more.
    ///
    /// # Safety
    /// No block is used after.
    #[must_use]
    pub unsafe fn reset(&mut self) -> bool {
        // SAFETY: the cache and the arena are this value's own; what the cache holds goes back to the arena first.
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
        // SAFETY: as in `reset`; who drops the arena uses its blocks no more.
        let destroyed = unsafe {
            control("tcache.destroy", None::<&mut ()>, Some(&mut self.cache))
                && control(&format!("arena.{}.destroy", self.arena), None::<&mut ()>, None::<&mut ()>)
        };
        if destroyed {
            // SAFETY: a box's pointer, dropped once, here. Otherwise jemalloc may still look at it, and it stays.
            drop(unsafe { Box::from_raw(self.place.as_ptr()) });
        }
    }
}
