//! An allocator as JavaScript sees it: an object of functions, each of which knows its allocator.
//!
//! What they refuse they say by a number of [`Refused`].

use std::ptr;
use std::rc::Rc;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_pool::slots::Slot;
use malloc_backend_pool::{Heap, everywhere};
use napi::bindgen_prelude::{Env, Float64Array, FromNapiValue, ToNapiValue, Unknown};
use napi::{Error, Result, sys};
use napi_derive::napi;

use crate::backend::Backend;
use crate::external::{self, Failure};
use crate::function_objects::{self, Numbers, call, list, number};
use crate::refused::Refused;
use crate::region::NativeRegion;

/// What the functions of one allocator share. They all run on the thread that made it.
pub struct Handle {
    heap: Heap,
    /// What `allocate`, `reallocate` and `free` are given, and answer in the first place.
    numbers: Numbers,
}

/// An allocator. `allocate`, `reallocate` and `free` find their arguments in the three `numbers` that it was made with: passed
/// as arguments they would cost as much as the block. In the first one these functions leave the slot of the buffer that they
/// return, or why they return none: a number of `Refused`.
#[napi(object, object_from_js = false)]
pub struct NativeAllocator {
    /// The numbers are bytes, alignment and flags of `AllocateFlag`.
    #[napi(ts_type = "() => ArrayBuffer | undefined")]
    pub allocate: Unknown<'static>,
    /// The numbers are slot, bytes and flags.
    #[napi(ts_type = "(buffer: ArrayBuffer) => ArrayBuffer | undefined")]
    pub reallocate: Unknown<'static>,
    /// The number is the slot.
    #[napi(ts_type = "(buffer: ArrayBuffer) => void")]
    pub free: Unknown<'static>,
    /// Whether the slot is live and the buffer's.
    #[napi(ts_type = "(buffer: ArrayBuffer, slot: number) => boolean")]
    pub holds: Unknown<'static>,
    #[napi(ts_type = "(limit: number, quarantine: number, numbers: Float64Array) => NativeAllocator")]
    pub child: Unknown<'static>,
    #[napi(ts_type = "(bytes: number, debug: 0 | 1, numbers: Float64Array) => NativeRegion | Refused")]
    pub region: Unknown<'static>,
    /// Bytes, high-water mark, bytes ever, allocations ever, buffers, bytes in quarantine, damaged blocks.
    #[napi(ts_type = "() => Array<number>")]
    pub stats: Unknown<'static>,
    /// The slot and the size of each live buffer, one after another.
    #[napi(ts_type = "() => Array<number>")]
    pub live: Unknown<'static>,
    /// Empties the quarantine, and frees the blocks that are kept for the next requests.
    #[napi(ts_type = "() => void")]
    pub flush: Unknown<'static>,
    /// The same, once nothing more will be allocated here or by a child.
    #[napi(ts_type = "() => void")]
    pub end: Unknown<'static>,
}

/// Makes an allocator. `limit` and `quarantine` are in bytes, `limit` is infinite for none. `numbers` has three places.
#[napi]
pub fn create_allocator(
    env: &Env,
    backend: Backend,
    limit: f64,
    quarantine: f64,
    numbers: Float64Array,
) -> Result<NativeAllocator> {
    let functions = MemoryAllocatorBackend::from(backend)
        .functions()
        .map_err(|error| Error::from_reason(error.to_string()))?;
    let heap = Heap::new(functions, bytes(limit), bytes(quarantine) as usize);
    object(env.raw(), Handle { heap, numbers: Numbers::new(numbers) })
}

/// What is live on a backend.
#[napi(object)]
pub struct Live {
    pub bytes: f64,
    pub buffers: f64,
}

/// Bytes and buffers that are live on the backend in the whole process.
#[napi]
pub fn allocated_everywhere(backend: Backend) -> Live {
    let (bytes, buffers) = everywhere(backend.into());
    Live { bytes: bytes as f64, buffers: buffers as f64 }
}

/// `as` saturates, so infinity is all there is.
fn bytes(number: f64) -> u64 {
    number as u64
}

fn object(env: sys::napi_env, handle: Handle) -> Result<NativeAllocator> {
    let handle = Rc::new(handle);
    let function = |name, callback| function_objects::function(env, &handle, name, callback);
    Ok(NativeAllocator {
        allocate: function(c"allocate", allocate)?,
        reallocate: function(c"reallocate", reallocate)?,
        free: function(c"free", free)?,
        holds: function(c"holds", holds)?,
        child: function(c"child", child)?,
        region: function(c"region", region)?,
        stats: function(c"stats", stats)?,
        live: function(c"live", live)?,
        flush: function(c"flush", flush)?,
        end: function(c"end", end)?,
    })
}

/// A refusal as a result.
///
/// # Safety
/// `env` is the current environment.
unsafe fn say(env: sys::napi_env, refused: Refused) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe { function_objects::give(env, f64::from(refused as u32)) }
}

/// What `allocate` and `reallocate` are asked for beside the block. The flags add up.
#[napi]
pub enum AllocateFlag {
    /// What is new is filled with zeros.
    Zero = 1,
    /// Where this runtime refuses memory that is not its own, it makes a buffer of its own.
    Copy = 2,
}

const ZERO: u32 = AllocateFlag::Zero as u32;
const COPY: u32 = AllocateFlag::Copy as u32;

/// `allocate()` of the numbers bytes, alignment and flags: an ArrayBuffer, and its slot as the first number; or
/// undefined, and why.
///
/// # Safety
/// Called by Node, as a function of the allocator.
unsafe extern "C" fn allocate(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation; the block is new, and given to `create` alone.
    unsafe {
        let ([], handle) = call::<Handle, 0>(env, info);
        let [size, alignment, flags] = handle.numbers.given();
        let (size, alignment, flags) = (size as usize, (alignment as usize).max(1), flags as u32);
        let block = match handle.heap.allocate(size, alignment, flags & ZERO != 0) {
            Ok(block) => block,
            Err(refusal) => return handle.refuse(refusal),
        };
        match external::create(env, &handle.heap.pool, block) {
            Ok((buffer, slot)) => handle.hand_out(buffer, slot),
            Err(Failure::Refused) if flags & COPY != 0 => {
                match external::create_v8s(env, &handle.heap.pool, size, alignment) {
                    Ok((buffer, _, slot)) => handle.hand_out(buffer, slot),
                    Err(failure) => handle.refuse(failure),
                }
            }
            Err(failure) => handle.refuse(failure),
        }
    }
}

/// Detaches an ArrayBuffer whose block was taken out of its slot; the slot may be another's from then on.
///
/// # Safety
/// `env` is the current environment, and the value an ArrayBuffer of ours.
unsafe fn detach(env: sys::napi_env, buffer: sys::napi_value) {
    // SAFETY: the caller's obligation.
    if !unsafe { external::detach(env, buffer) } {
        // Never seen: only WebAssembly's memories refuse. JavaScript could reach the block, which is as good as freed.
        std::process::abort();
    }
}

/// `free(buffer)`, with its slot as the first number: then that is 0, or why not.
///
/// # Safety
/// Called by Node, as a function of the allocator.
unsafe extern "C" fn free(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation. The block is freed once no view shows it any more, by who took it.
    unsafe {
        let ([buffer], handle) = call::<Handle, 1>(env, info);
        let [slot] = handle.numbers.given();
        let Some(block) = handle.find(env, buffer, slot).and_then(Slot::take) else {
            return handle.refuse(Refused::NotAllocated);
        };
        detach(env, buffer);
        handle.heap.free(block);
        handle.refuse(Refused::No)
    }
}

/// `reallocate(buffer)` with the numbers slot, bytes and flags: a new ArrayBuffer in place of that one, and its slot as
/// the first number; or undefined and why, and then that one is as before.
///
/// # Safety
/// Called by Node, as a function of the allocator.
unsafe extern "C" fn reallocate(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation. Between the block's move and the detachment no JavaScript runs.
    unsafe {
        let ([buffer], handle) = call::<Handle, 1>(env, info);
        let [slot, size, flags] = handle.numbers.given();
        let (size, flags) = (size as usize, flags as u32);
        let Some(slot) = handle.find(env, buffer, slot) else { return handle.refuse(Refused::NotAllocated) };
        // Out of the slot from here on, or put back: nobody else frees it meanwhile.
        let Some(old) = slot.take() else { return handle.refuse(Refused::NotAllocated) };
        if old.is_borrowed() {
            return match external::create_v8s(env, &handle.heap.pool, size, 1) {
                Ok((new, start, index)) => {
                    start.cast::<u8>().copy_from_nonoverlapping(old.start.cast(), old.size.min(size));
                    detach(env, buffer);
                    handle.heap.free(old);
                    handle.hand_out(new, index)
                }
                Err(failure) => {
                    slot.put(old);
                    handle.refuse(failure)
                }
            };
        }
        let block = match handle.heap.reallocate(old, size, flags & ZERO != 0) {
            Ok(block) => block,
            Err(refusal) => {
                slot.put(old);
                return handle.refuse(refusal);
            }
        };
        detach(env, buffer);
        match external::create(env, &handle.heap.pool, block) {
            Ok((buffer, slot)) => handle.hand_out(buffer, slot),
            Err(failure) => handle.refuse(failure),
        }
    }
}

impl Handle {
    /// An ArrayBuffer as a result, with its slot.
    fn hand_out(&self, buffer: sys::napi_value, slot: u32) -> sys::napi_value {
        self.numbers.put(f64::from(slot));
        buffer
    }

    /// Undefined as a result, with the reason.
    fn refuse(&self, refused: impl Into<Refused>) -> sys::napi_value {
        self.numbers.put(f64::from(refused.into() as u32));
        ptr::null_mut()
    }

    /// The slot, if it is that of the ArrayBuffer, and live.
    ///
    /// # Safety
    /// `env` is the current environment, and the buffer a value of it.
    unsafe fn find(&self, env: sys::napi_env, buffer: sys::napi_value, slot: f64) -> Option<&Slot> {
        // SAFETY: the caller's obligation.
        let (start, size) = unsafe { external::memory_of(env, buffer)? };
        let slot = self.heap.pool.slots.get(slot as u32)?;
        let block = slot.block()?;
        // No bytes have no address in JavaScript, and nothing to be mistaken for.
        (block.size == size && (size == 0 || block.start == start)).then_some(slot)
    }
}

/// `holds(buffer, slot)`: whether the slot is live and the ArrayBuffer's.
///
/// # Safety
/// Called by Node, as a function of the allocator.
unsafe extern "C" fn holds(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let mut result = ptr::null_mut();
    // SAFETY: the caller's obligation.
    unsafe {
        let ([buffer, slot], handle) = call::<Handle, 2>(env, info);
        sys::napi_get_boolean(env, handle.find(env, buffer, number(env, slot)).is_some(), &mut result);
    }
    result
}

/// `child(limit, quarantine, numbers)`: an allocator whose bytes count here too.
///
/// # Safety
/// Called by Node, as a function of the allocator.
unsafe extern "C" fn child(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([limit, quarantine, numbers], handle) = call::<Handle, 3>(env, info);
        let (limit, quarantine) = (number(env, limit), number(env, quarantine));
        let heap = handle.heap.child(bytes(limit), bytes(quarantine) as usize);
        // Only V8 itself can fail here, and has then set an exception, or is ending.
        let made = Float64Array::from_napi_value(env, numbers)
            .and_then(|numbers| object(env, Handle { heap, numbers: Numbers::new(numbers) }));
        made.and_then(|object| NativeAllocator::to_napi_value(env, object)).unwrap_or(ptr::null_mut())
    }
}

/// `region(bytes, debug, numbers)`: a region whose bytes count here too, or why there is none.
///
/// # Safety
/// Called by Node, as a function of the allocator.
unsafe extern "C" fn region(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([size, debug, numbers], handle) = call::<Handle, 3>(env, info);
        let (size, debug) = (number(env, size) as usize, number(env, debug) != 0.0);
        let Ok(numbers) = Float64Array::from_napi_value(env, numbers) else {
            return say(env, Refused::Failed);
        };
        let (backend, account) = (handle.heap.pool.functions.backend, handle.heap.pool.account.clone());
        match crate::region::create(env, backend, size, debug, account, Numbers::new(numbers)) {
            Ok(region) => NativeRegion::to_napi_value(env, region).unwrap_or(ptr::null_mut()),
            Err(refused) => say(env, refused),
        }
    }
}

/// `stats()`: bytes, high-water mark, bytes ever, allocations ever, live buffers, bytes in quarantine, damaged blocks.
///
/// # Safety
/// Called by Node, as a function of the allocator.
unsafe extern "C" fn stats(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([], handle) = call::<Handle, 0>(env, info);
        let stats = handle.heap.pool.account.stats();
        let numbers = [
            stats.bytes,
            stats.peak,
            stats.total,
            stats.allocations,
            stats.buffers,
            handle.heap.quarantined() as u64,
            handle.heap.damaged(),
        ];
        list(env, &numbers.map(|number| number as f64))
    }
}

/// `live()`: the slot and the size of each live buffer, one after another.
///
/// # Safety
/// Called by Node, as a function of the allocator.
unsafe extern "C" fn live(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([], handle) = call::<Handle, 0>(env, info);
        let blocks: Vec<f64> = handle
            .heap
            .pool
            .slots
            .live()
            .flat_map(|(slot, block)| [f64::from(slot), block.size as f64])
            .collect();
        list(env, &blocks)
    }
}

/// `flush()`: empties the quarantine, and keeps nothing at hand.
///
/// # Safety
/// Called by Node, as a function of the allocator.
unsafe extern "C" fn flush(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([], handle) = call::<Handle, 0>(env, info);
        handle.heap.flush();
        ptr::null_mut()
    }
}

/// `end()`: the same, once nothing more will be allocated here or by a child.
///
/// # Safety
/// Called by Node, as a function of the allocator.
unsafe extern "C" fn end(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([], handle) = call::<Handle, 0>(env, info);
        handle.heap.close();
        ptr::null_mut()
    }
}
