//! An allocator as JavaScript sees it: an object of functions, each of which knows its allocator.
//!
//! What they refuse they say by a number in place of a result; `src/binding.ts` has the same numbers.

use std::cell::RefCell;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use malloc_backend::MemoryAllocatorBackend;
use napi::bindgen_prelude::{Env, Float64Array, FromNapiValue, Object};
use napi::{Error, JsValue, Result, sys};
use napi_derive::napi;

use crate::account::{Account, everywhere};
use crate::external::{self, Failure};
use crate::functions::{self, Numbers, call, list, number};
use crate::heap::{Heap, Refusal};
use crate::quarantine::Quarantine;
use crate::slots::{Block, Slot};

/// Why a function has no result. 0, where a function has none, says that all is well.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Refused {
    No = 0,
    Limit = 1,
    OutOfMemory = 2,
    External = 3,
    NotAllocated = 4,
    Failed = 5,
    Unsupported = 6,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Limit => Self::Limit,
            Refusal::OutOfMemory => Self::OutOfMemory,
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Limit => Self::Limit,
            Failure::Refused => Self::External,
            Failure::Failed => Self::Failed,
        }
    }
}

/// What the functions of one allocator share. They all run on the thread that made it.
pub struct Handle {
    heap: Arc<Heap>,
    quarantine: RefCell<Quarantine>,
    /// Where the slot of a new buffer is left for JavaScript: a second result, without an object to carry it.
    slot: Numbers,
}

/// Makes an allocator. `limit` and `quarantine` are in bytes, `limit` is infinite for none. The slot of each buffer
/// that a function returns is then in `slot[0]`.
#[napi]
pub fn create_allocator(
    env: &Env,
    backend: String,
    limit: f64,
    quarantine: f64,
    slot: Float64Array,
) -> Result<Object<'_>> {
    let functions = backend
        .parse::<MemoryAllocatorBackend>()
        .map_err(|error| Error::from_reason(error.to_string()))?
        .functions()
        .map_err(|error| Error::from_reason(error.to_string()))?;
    let account = Account::new(functions.backend, bytes(limit), None);
    object(env.raw(), Handle::new(Heap::new(functions, account), quarantine, slot))
}

/// Bytes and buffers that are live on the backend in the whole process.
#[napi]
pub fn allocated_everywhere(backend: String) -> Vec<f64> {
    let (bytes, buffers) = backend.parse().map_or((0, 0), everywhere);
    vec![bytes as f64, buffers as f64]
}

/// `as` saturates, so infinity is all there is.
fn bytes(number: f64) -> u64 {
    number as u64
}

impl Handle {
    fn new(heap: Arc<Heap>, quarantine: f64, slot: Float64Array) -> Self {
        Self {
            quarantine: RefCell::new(Quarantine::new(heap.clone(), bytes(quarantine) as usize)),
            heap,
            slot: Numbers::new(slot),
        }
    }
}

fn object<'env>(env: sys::napi_env, handle: Handle) -> Result<Object<'env>> {
    functions::object(
        env,
        Rc::new(handle),
        &[
            (c"allocate", allocate),
            (c"reallocate", reallocate),
            (c"free", free),
            (c"holds", holds),
            (c"child", child),
            (c"region", region),
            (c"figures", figures),
            (c"live", live),
            (c"flush", flush),
        ],
    )
}

/// A refusal as a result.
///
/// # Safety
/// `env` is the current environment.
unsafe fn say(env: sys::napi_env, refused: Refused) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe { functions::give(env, f64::from(refused as u32)) }
}

/// What `allocate` does apart from the block itself.
const ZERO: u32 = 1;
const COPY: u32 = 2;

/// `allocate(bytes, alignment, flags)`: an ArrayBuffer, or why there is none.
///
/// # Safety
/// Called by Node, as a function of `object`.
unsafe extern "C" fn allocate(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation; the block is new, and given to `create` alone.
    unsafe {
        let ([size, alignment, flags], handle) = call::<Handle, 3>(env, info);
        let size = number(env, size) as usize;
        let alignment = number(env, alignment) as usize;
        let flags = number(env, flags) as u32;
        let block = match handle.heap.allocate(size, alignment.max(1), flags & ZERO != 0) {
            Ok(block) => block,
            Err(refusal) => return say(env, refusal.into()),
        };
        let (buffer, slot) = match external::create(env, &handle.heap, block) {
            Ok(made) => made,
            Err(Failure::Refused) if flags & COPY != 0 => {
                match external::create_v8s(env, &handle.heap, size, alignment.max(1)) {
                    Ok((buffer, _, slot)) => (buffer, slot),
                    Err(failure) => return say(env, failure.into()),
                }
            }
            Err(failure) => return say(env, failure.into()),
        };
        handle.slot.put(f64::from(slot));
        buffer
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

/// `free(buffer, slot)`: 0, or why not.
///
/// # Safety
/// Called by Node, as a function of `object`.
unsafe extern "C" fn free(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation. The block is freed once no view shows it any more, by who took it.
    unsafe {
        let ([buffer, slot], handle) = call::<Handle, 2>(env, info);
        let slot = handle.find(env, buffer, slot);
        let Some(block) = slot.and_then(Slot::take) else { return say(env, Refused::NotAllocated) };
        detach(env, buffer);
        handle.retire(block);
        say(env, Refused::No)
    }
}

/// `reallocate(buffer, slot, bytes, flags)`: a new ArrayBuffer in place of that one, or why there is none, and then
/// that one is as before.
///
/// # Safety
/// Called by Node, as a function of `object`.
unsafe extern "C" fn reallocate(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation. Between the block's move and the detachment no JavaScript runs.
    unsafe {
        let ([buffer, slot, size, flags], handle) = call::<Handle, 4>(env, info);
        let (size, flags) = (number(env, size) as usize, number(env, flags) as u32);
        let Some(slot) = handle.find(env, buffer, slot) else { return say(env, Refused::NotAllocated) };
        // Out of the slot from here on, or put back: nobody else frees it meanwhile.
        let Some(old) = slot.take() else { return say(env, Refused::NotAllocated) };
        if old.is_v8s() {
            return match external::create_v8s(env, &handle.heap, size, 1) {
                Ok((new, start, index)) => {
                    start.cast::<u8>().copy_from_nonoverlapping(old.start.cast(), old.size.min(size));
                    detach(env, buffer);
                    handle.heap.free(old);
                    handle.slot.put(f64::from(index));
                    new
                }
                Err(failure) => {
                    slot.put(old);
                    say(env, failure.into())
                }
            };
        }
        // A job that still reads the old block is what the quarantine is for.
        let quarantined = handle.quarantine.borrow().is_on();
        let block = match handle.heap.reallocate(old, size, flags & ZERO != 0, quarantined) {
            Ok(block) => block,
            Err(refusal) => {
                slot.put(old);
                return say(env, refusal.into());
            }
        };
        detach(env, buffer);
        if quarantined {
            handle.quarantine.borrow_mut().take_in(old);
        }
        match external::create(env, &handle.heap, block) {
            Ok((buffer, slot)) => {
                handle.slot.put(f64::from(slot));
                buffer
            }
            Err(failure) => say(env, failure.into()),
        }
    }
}

impl Handle {
    /// The slot, if it is that of the ArrayBuffer, and live.
    ///
    /// # Safety
    /// `env` is the current environment, and the values are of it.
    unsafe fn find(
        &self,
        env: sys::napi_env,
        buffer: sys::napi_value,
        slot: sys::napi_value,
    ) -> Option<&Slot> {
        // SAFETY: the caller's obligation.
        let (index, (start, size)) = unsafe { (number(env, slot), external::memory_of(env, buffer)?) };
        let slot = self.heap.slots.get(index as u32)?;
        let block = slot.block()?;
        // No bytes have no address in JavaScript, and nothing to be mistaken for.
        (block.size == size && (size == 0 || block.start == start)).then_some(slot)
    }

    /// Frees a block, or puts it into quarantine.
    ///
    /// # Safety
    /// The block is a live one of the heap, and the caller gives it up.
    unsafe fn retire(&self, block: Block) {
        let mut quarantine = self.quarantine.borrow_mut();
        // SAFETY: the caller's obligation.
        unsafe {
            if quarantine.is_on() && !block.is_v8s() {
                self.heap.account.close(block.size);
                quarantine.take_in(block);
            } else {
                self.heap.free(block);
            }
        }
    }
}

/// `holds(buffer, slot)`: whether the slot is live and the ArrayBuffer's.
///
/// # Safety
/// Called by Node, as a function of `object`.
unsafe extern "C" fn holds(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let mut result = ptr::null_mut();
    // SAFETY: the caller's obligation.
    unsafe {
        let ([buffer, slot], handle) = call::<Handle, 2>(env, info);
        sys::napi_get_boolean(env, handle.find(env, buffer, slot).is_some(), &mut result);
    }
    result
}

/// `child(limit, quarantine, slot)`: an allocator whose bytes count here too.
///
/// # Safety
/// Called by Node, as a function of `object`.
unsafe extern "C" fn child(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([limit, quarantine, slot], handle) = call::<Handle, 3>(env, info);
        let (limit, quarantine) = (number(env, limit), number(env, quarantine));
        let parent = &handle.heap;
        let account = Account::new(parent.functions.backend, bytes(limit), Some(parent.account.clone()));
        // Only V8 itself can fail here, and has then set an exception, or is ending.
        let made = Float64Array::from_napi_value(env, slot).and_then(|slot| {
            object(env, Handle::new(Heap::new(parent.functions, account), quarantine, slot))
        });
        made.map_or(ptr::null_mut(), |object| object.raw())
    }
}

/// `region(bytes, numbers)`: a region whose bytes count here too, or why there is none.
///
/// # Safety
/// Called by Node, as a function of `object`.
unsafe extern "C" fn region(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([size, numbers], handle) = call::<Handle, 2>(env, info);
        let size = number(env, size) as usize;
        let Ok(numbers) = Float64Array::from_napi_value(env, numbers) else {
            return say(env, Refused::Failed);
        };
        let (backend, account) = (handle.heap.functions.backend, handle.heap.account.clone());
        match crate::region::create(env, backend, size, account, Numbers::new(numbers)) {
            Ok(region) => region,
            Err(refused) => say(env, refused),
        }
    }
}

/// `figures()`: bytes, high-water mark, bytes ever, allocations ever, live buffers, bytes in quarantine, damaged blocks.
///
/// # Safety
/// Called by Node, as a function of `object`.
unsafe extern "C" fn figures(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([], handle) = call::<Handle, 0>(env, info);
        let figures = handle.heap.account.figures();
        let quarantine = handle.quarantine.borrow();
        let numbers = [
            figures.bytes,
            figures.peak,
            figures.total,
            figures.allocations,
            figures.buffers,
            quarantine.held() as u64,
            quarantine.damaged(),
        ];
        list(env, &numbers.map(|number| number as f64))
    }
}

/// `live()`: the slot and the size of each live buffer, one after another.
///
/// # Safety
/// Called by Node, as a function of `object`.
unsafe extern "C" fn live(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([], handle) = call::<Handle, 0>(env, info);
        let blocks: Vec<f64> =
            handle.heap.slots.live().flat_map(|(slot, block)| [f64::from(slot), block.size as f64]).collect();
        list(env, &blocks)
    }
}

/// `flush()`: empties the quarantine.
///
/// # Safety
/// Called by Node, as a function of `object`.
unsafe extern "C" fn flush(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: the caller's obligation.
    unsafe {
        let ([], handle) = call::<Handle, 0>(env, info);
        handle.quarantine.borrow_mut().keep(0);
        say(env, Refused::No)
    }
}
