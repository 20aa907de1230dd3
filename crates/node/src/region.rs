//! A region as JavaScript sees it: an ArrayBuffer over the whole range, and functions that deal in offsets. The views
//! are made in JavaScript, which costs less than to make them here.

#[cfg(not(all(unix, any(feature = "jemalloc", feature = "mimalloc"))))]
pub use absent::create;
#[cfg(all(unix, any(feature = "jemalloc", feature = "mimalloc")))]
pub use present::create;

#[cfg(all(unix, any(feature = "jemalloc", feature = "mimalloc")))]
mod present {
    use std::cell::{Cell, RefCell};
    use std::ffi::c_void;
    use std::ptr;
    use std::rc::Rc;
    use std::sync::Arc;

    use malloc_backend::MemoryAllocatorBackend;
    use malloc_backend::region::{NoRegion, Region};
    use napi::{JsValue, sys};

    use crate::account::Account;
    use crate::allocator::Refused;
    use crate::external;
    use crate::functions::{self, Numbers, call};

    /// A region and what is live in it. The ArrayBuffer's finaliser and each function have a count of it; the region
    /// itself goes when it is disposed, or with the ArrayBuffer.
    ///
    /// All of them are on one thread: Node calls a finaliser on its environment's.
    struct Held {
        region: RefCell<Option<Region>>,
        account: Arc<Account>,
        /// Live bytes, as they were asked for.
        live: Cell<usize>,
        /// What `allocate` and `free` are given, and `allocate` answers.
        numbers: Numbers,
    }

    impl Held {
        fn end(&self) {
            self.account.give_back(self.live.take());
            self.region.take();
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
        account: Arc<Account>,
        numbers: Numbers,
    ) -> Result<sys::napi_value, Refused> {
        let region = Region::new(backend, size).map_err(|error| match error {
            NoRegion::Unsupported(_) => Refused::Unsupported,
            NoRegion::OutOfMemory => Refused::OutOfMemory,
        })?;
        let (start, size) = (region.start(), region.size());
        let held = Rc::new(Held { region: RefCell::new(Some(region)), account, live: Cell::new(0), numbers });
        let object = functions::object(
            env,
            held.clone(),
            &[(c"allocate", allocate), (c"free", free), (c"reset", reset), (c"dispose", dispose)],
        )
        .map_err(|_| Refused::Failed)?
        .raw();
        let mut memory = ptr::null_mut();
        let hint: *mut c_void = Rc::into_raw(held).cast_mut().cast();
        // SAFETY: the range has that many bytes, and is there until the region is disposed, which detaches, or until
        // the finaliser.
        unsafe {
            match sys::napi_create_external_arraybuffer(env, start, size, Some(finalize), hint, &mut memory) {
                sys::Status::napi_ok => {}
                sys::Status::napi_no_external_buffers_allowed => {
                    drop(Rc::from_raw(hint.cast::<Held>()));
                    return Err(Refused::External);
                }
                _ => return Err(Refused::Failed),
            }
            match sys::napi_set_named_property(env, object, c"memory".as_ptr(), memory) {
                sys::Status::napi_ok => Ok(object),
                _ => Err(Refused::Failed),
            }
        }
    }

    /// The finaliser of the ArrayBuffer: whatever the functions are asked for from then on, there is no region.
    ///
    /// # Safety
    /// `hint` is what `create` gave.
    unsafe extern "C" fn finalize(_: sys::napi_env, _: *mut c_void, hint: *mut c_void) {
        // SAFETY: the caller's obligation.
        unsafe { Rc::from_raw(hint.cast::<Held>()) }.end();
    }

    /// In place of an offset.
    const FULL: f64 = -1.0;
    const LIMIT: f64 = -2.0;

    /// `allocate()`, of so many bytes at such an alignment; an offset, or a negative number.
    ///
    /// # Safety
    /// Called by Node, as a function of the region.
    unsafe extern "C" fn allocate(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
        // SAFETY: the caller's obligation.
        let ([], held) = unsafe { call::<Held, 0>(env, info) };
        let [size, alignment] = held.numbers.given().map(|number| number as usize);
        held.numbers.put(if held.account.has_room(size) {
            let region = held.region.borrow();
            match region.as_ref().and_then(|region| region.allocate(size, alignment)) {
                Some(offset) => {
                    held.account.take(size);
                    held.live.set(held.live.get() + size);
                    offset as f64
                }
                None => FULL,
            }
        } else {
            LIMIT
        });
        ptr::null_mut()
    }

    /// `free()`, at such an offset, of so many bytes. `src/allocator/region.ts` gives it each offset once, from a field
    /// that nothing else can write to.
    ///
    /// # Safety
    /// Called by Node, as a function of the region, with what `allocate` answered and was given.
    unsafe extern "C" fn free(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
        // SAFETY: the caller's obligation.
        unsafe {
            let ([], held) = call::<Held, 0>(env, info);
            let [offset, size] = held.numbers.given().map(|number| number as usize);
            if let Some(region) = held.region.borrow().as_ref() {
                region.free(offset);
                held.live.set(held.live.get().saturating_sub(size));
                held.account.give_back(size);
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
            held.account.give_back(held.live.take());
            let usable = held.region.borrow_mut().as_mut().is_some_and(|region| region.reset());
            sys::napi_get_boolean(env, usable, &mut result);
        }
        result
    }

    /// `dispose(memory)`: detaches the ArrayBuffer, and gives the range back. False where it was detached before: what
    /// took the memory over may still use it, and it is given back when that is collected.
    ///
    /// # Safety
    /// Called by Node, as a function of the region, with its own ArrayBuffer.
    unsafe extern "C" fn dispose(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
        let mut result = ptr::null_mut();
        // SAFETY: the caller's obligation. Once it is detached no view shows the range any more.
        unsafe {
            let ([memory], held) = call::<Held, 1>(env, info);
            let whole = external::memory_of(env, memory).is_some_and(|(_, size)| size > 0);
            let detached = whole && external::detach(env, memory);
            if detached {
                held.end();
            }
            sys::napi_get_boolean(env, detached, &mut result);
        }
        result
    }
}

#[cfg(not(all(unix, any(feature = "jemalloc", feature = "mimalloc"))))]
mod absent {
    use std::sync::Arc;

    use malloc_backend::MemoryAllocatorBackend;
    use napi::sys;

    use crate::account::Account;
    use crate::allocator::Refused;
    use crate::functions::Numbers;

    /// There are no regions on this platform, or without a backend for them.
    ///
    /// # Safety
    /// None is needed.
    pub unsafe fn create(
        _: sys::napi_env,
        _: MemoryAllocatorBackend,
        _: usize,
        _: Arc<Account>,
        _: Numbers,
    ) -> Result<sys::napi_value, Refused> {
        Err(Refused::Unsupported)
    }
}
