//! A region as JavaScript sees it: an ArrayBuffer over the whole range, and functions that deal in offsets. The views
//! are made in JavaScript, which costs less than to make them here.

use napi::bindgen_prelude::Unknown;
use napi_derive::napi;

#[cfg(not(all(unix, feature = "jemalloc")))]
pub use absent::create;
#[cfg(all(unix, feature = "jemalloc"))]
pub use present::create;

/// A region. Offsets and sizes are in bytes. `allocate` and `free` find their arguments in the first two of the four `numbers`
/// that it was made with: passed as arguments they would cost as much as the block. The first number is `Damaged` of
/// `NoOffset` after a call that found a block which was written to after it was freed; the others are then its offset, its
/// size, and the byte in it.
#[napi(object, object_from_js = false)]
pub struct NativeRegion {
    /// The whole range.
    #[napi(ts_type = "ArrayBuffer")]
    pub memory: Unknown<'static>,
    /// So many bytes, at such an alignment. The first number is then an offset, or a number of `NoOffset`.
    #[napi(ts_type = "() => void")]
    pub allocate: Unknown<'static>,
    /// A live block's offset, and the bytes that were asked for: nothing here checks them.
    #[napi(ts_type = "() => void")]
    pub free: Unknown<'static>,
    /// With `debug`, looks at all blocks that are held back.
    #[napi(ts_type = "() => void")]
    pub check: Unknown<'static>,
    /// False where the region cannot go on.
    #[napi(ts_type = "() => boolean")]
    pub reset: Unknown<'static>,
    /// Ends the heap, and detaches the memory where that was not transferred.
    #[napi(ts_type = "(memory: ArrayBuffer) => void")]
    pub dispose: Unknown<'static>,
}

/// In place of an offset.
#[napi]
pub enum NoOffset {
    /// The region has no room.
    Full = -1,
    /// A limit of the allocator's is in the way.
    Limit = -2,
    /// A block was written to after it was freed.
    Damaged = -3,
}

#[cfg(all(unix, feature = "jemalloc"))]
mod present {
    use std::cell::{Cell, RefCell};
    use std::ffi::c_void;
    use std::ptr;
    use std::rc::Rc;
    use std::sync::Arc;

    use malloc_backend::MemoryAllocatorBackend;
    use malloc_backend_pool::region::{Damaged, Memory, NoArena, NoBlock, Region};
    use malloc_backend_pool::{Account, Refusal};
    use napi::bindgen_prelude::Unknown;
    use napi::sys;

    use super::{NativeRegion, NoOffset};
    #[cfg(target_os = "linux")]
    use crate::backing_store;
    use crate::external;
    use crate::function_objects::{self, Numbers, call};
    use crate::refused::Refused;

    /// What the functions of a region share. It is on the thread of the region: Node calls a function's finaliser there.
    struct Held {
        env: sys::napi_env,
        /// The heap, until the region is disposed or its memory was transferred.
        region: RefCell<Option<Region>>,
        /// How many bytes V8 was told of. `None` where it counts them by itself: all that are reserved.
        told: Option<Cell<usize>>,
        /// What `allocate` and `free` are given, and `allocate` answers.
        numbers: Numbers,
    }

    impl Held {
        /// V8 hears of so many bytes more at a time, and of so many less: what is freed and allocated by turns costs no
        /// call.
        const MORE: usize = 1 << 20;
        const LESS: usize = 8 << 20;

        /// Tells V8 how many bytes are in use, so that it collects what nobody has any more.
        fn tell(&self, bytes: usize) {
            let Some(told) = &self.told else { return };
            let mut all = 0;
            // SAFETY: the environment is there as long as what it has a finaliser for.
            unsafe { sys::napi_adjust_external_memory(self.env, bytes as i64 - told.get() as i64, &mut all) };
            told.set(bytes);
        }

        fn tell_now_and_then(&self, region: &Region) {
            let (live, told) = (region.memory().live(), self.told.as_ref().map_or(0, Cell::get));
            if live >= told + Self::MORE || told >= live + Self::LESS {
                self.tell(live);
            }
        }

        /// Ends the heap. The memory is V8's from then on.
        fn end(&self) {
            self.region.take();
            self.tell(0);
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            self.end();
        }
    }

    /// The region as an object with its ArrayBuffer, `memory`.
    ///
    /// # Safety
    /// `env` is the current environment.
    pub unsafe fn create(
        env: sys::napi_env,
        backend: MemoryAllocatorBackend,
        size: usize,
        debug: bool,
        account: Arc<Account>,
        numbers: Numbers,
    ) -> Result<NativeRegion, Refused> {
        let region = Region::new(backend, size, account, debug).map_err(|error| match error {
            NoArena::Unsupported(_) => Refused::Unsupported,
            NoArena::OutOfMemory => Refused::OutOfMemory,
        })?;
        // SAFETY: the caller's obligation.
        let (buffer, counted) = unsafe { array_buffer(env, region.memory().clone())? };
        let region = RefCell::new(Some(region));
        let told = (!counted).then(|| Cell::new(0));
        let held = Rc::new(Held { env, region, told, numbers });
        let function = |name, callback: function_objects::Callback| {
            function_objects::function(env, &held, name, callback).map_err(|_| Refused::Failed)
        };
        Ok(NativeRegion {
            // SAFETY: a value of this environment.
            memory: unsafe { Unknown::from_raw_unchecked(env, buffer) },
            allocate: function(c"allocate", allocate)?,
            free: function(c"free", free)?,
            check: function(c"check", check)?,
            reset: function(c"reset", reset)?,
            dispose: function(c"dispose", dispose)?,
        })
    }

    /// An ArrayBuffer over the memory, and whether V8 counts its bytes: then it does as soon as they are reserved.
    ///
    /// # Safety
    /// `env` is the current environment.
    unsafe fn array_buffer(
        env: sys::napi_env,
        memory: Arc<Memory>,
    ) -> Result<(sys::napi_value, bool), Refused> {
        let (start, size) = (memory.start(), memory.size());
        let hint = Arc::into_raw(memory).cast_mut().cast();
        #[cfg(target_os = "linux")]
        // SAFETY: the memory has that many bytes, and is there until the deleter gives it up.
        if let Some(buffer) = unsafe { backing_store::uncounted_array_buffer(env, start, size, delete, hint) }
        {
            return Ok((buffer, false));
        }
        let mut buffer = ptr::null_mut();
        // SAFETY: as above, for the finaliser. Where there is no ArrayBuffer there is none to come.
        unsafe {
            match sys::napi_create_external_arraybuffer(env, start, size, Some(finalize), hint, &mut buffer) {
                sys::Status::napi_ok => Ok((buffer, true)),
                status => {
                    Arc::decrement_strong_count(hint.cast::<Memory>());
                    Err(if status == sys::Status::napi_no_external_buffers_allowed {
                        Refused::External
                    } else {
                        Refused::Failed
                    })
                }
            }
        }
    }

    /// V8's deleter, called by whichever thread lets go of the memory last.
    ///
    /// # Safety
    /// `hint` is a count of the memory, from `array_buffer`, and this is called once for it.
    unsafe extern "C" fn delete(_: *mut c_void, _: usize, hint: *mut c_void) {
        // SAFETY: the caller's obligation.
        unsafe { Arc::from_raw(hint.cast::<Memory>()) }.finalize();
    }

    /// Node-API's finaliser.
    ///
    /// # Safety
    /// As [`delete`].
    unsafe extern "C" fn finalize(_: sys::napi_env, data: *mut c_void, hint: *mut c_void) {
        // SAFETY: the caller's obligation.
        unsafe { delete(data, 0, hint) }
    }

    impl Held {
        /// Says what was damaged: then the offset of the block, its size, and the byte in it.
        fn report(&self, Damaged { offset, size, byte }: Damaged) {
            self.numbers.put_all([
                f64::from(NoOffset::Damaged as i32),
                offset as f64,
                size as f64,
                byte as f64,
            ]);
        }
    }

    /// `allocate()`, of so many bytes at such an alignment; an offset, or a negative number.
    ///
    /// # Safety
    /// Called by Node, as a function of the region.
    unsafe extern "C" fn allocate(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
        // SAFETY: the caller's obligation.
        let ([], held) = unsafe { call::<Held, 0>(env, info) };
        let [size, alignment] = held.numbers.given().map(|number| number as usize);
        let region = held.region.borrow();
        let answer = match region.as_ref().map(|region| (region, region.allocate(size, alignment))) {
            Some((region, Ok(offset))) => {
                held.tell_now_and_then(region);
                offset as f64
            }
            Some((_, Err(NoBlock::Damaged(damaged)))) => {
                held.report(damaged);
                return ptr::null_mut();
            }
            Some((_, Err(NoBlock::Refused(Refusal::Limit)))) => f64::from(NoOffset::Limit as i32),
            Some((_, Err(NoBlock::Refused(Refusal::OutOfMemory)))) | None => f64::from(NoOffset::Full as i32),
        };
        held.numbers.put(answer);
        ptr::null_mut()
    }

    /// `check()`: looks for damage.
    ///
    /// # Safety
    /// Called by Node, as a function of the region.
    unsafe extern "C" fn check(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
        // SAFETY: the caller's obligation.
        let ([], held) = unsafe { call::<Held, 0>(env, info) };
        held.numbers.put(0.0);
        if let Some(Err(damaged)) = held.region.borrow().as_ref().map(Region::check) {
            held.report(damaged);
        }
        ptr::null_mut()
    }

    /// `free()`, at such an offset, of so many bytes; the numbers stay as they are, or say what was found damaged.
    /// `src/allocator/region.ts` gives it each offset once, from a field that nothing else can write to.
    ///
    /// # Safety
    /// Called by Node, as a function of the region, with what `allocate` answered and was given.
    unsafe extern "C" fn free(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
        // SAFETY: the caller's obligation.
        unsafe {
            let ([], held) = call::<Held, 0>(env, info);
            let [offset, size] = held.numbers.given().map(|number| number as usize);
            if let Some(region) = held.region.borrow().as_ref() {
                if let Err(damaged) = region.free(offset, size) {
                    held.report(damaged);
                }
                held.tell_now_and_then(region);
            }
        }
        ptr::null_mut()
    }

    /// `reset()`: frees all blocks. False where the region cannot go on.
    ///
    /// # Safety
    /// Called by Node, as a function of the region; no view is used after.
    unsafe extern "C" fn reset(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
        let mut result = ptr::null_mut();
        // SAFETY: the caller's obligation.
        unsafe {
            let ([], held) = call::<Held, 0>(env, info);
            let usable = held.region.borrow_mut().as_mut().is_some_and(|region| {
                let usable = region.reset();
                held.tell_now_and_then(region);
                usable
            });
            sys::napi_get_boolean(env, usable, &mut result);
        }
        result
    }

    /// `dispose(memory)`: ends the heap, and detaches the ArrayBuffer. Where it was detached before, what took the memory
    /// over has it until that is collected.
    ///
    /// # Safety
    /// Called by Node, as a function of the region, with its own ArrayBuffer.
    unsafe extern "C" fn dispose(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
        // SAFETY: the caller's obligation. Once it is detached no view shows the range any more; whether a job of Node's
        // does, Node-API cannot tell.
        unsafe {
            let ([memory], held) = call::<Held, 1>(env, info);
            // Its own count, if not V8's, is the last one.
            let lent = held.region.borrow().as_ref().map(|region| region.memory().clone());
            held.end();
            let whole = external::memory_of(env, memory).is_some_and(|(_, size)| size > 0);
            if whole && external::detach(env, memory) && held.told.is_none() {
                // The finaliser comes in a tick only.
                lent.inspect(|lent| lent.clear());
            }
        }
        ptr::null_mut()
    }
}

#[cfg(not(all(unix, feature = "jemalloc")))]
mod absent {
    use std::sync::Arc;

    use malloc_backend::MemoryAllocatorBackend;
    use malloc_backend_pool::Account;
    use napi::sys;

    use super::NativeRegion;
    use crate::function_objects::Numbers;
    use crate::refused::Refused;

    /// There are no regions on this platform, or without a backend for them.
    ///
    /// # Safety
    /// None is needed.
    pub unsafe fn create(
        _: sys::napi_env,
        _: MemoryAllocatorBackend,
        _: usize,
        _: bool,
        _: Arc<Account>,
        _: Numbers,
    ) -> Result<NativeRegion, Refused> {
        Err(Refused::Unsupported)
    }
}
