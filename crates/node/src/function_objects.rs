//! JavaScript functions that each know the Rust object they belong to, made by Node-API's own functions, because a call is a
//! large part of what a buffer costs. `allocate` and `free` of 64 bytes together take 250 ns (Node 20, mimalloc). A call takes
//! 12 ns here, 90 ns by a function that `#[napi]` generates, and 270 ns by a method of a class that it generates.

use std::cell::RefCell;
use std::ffi::{CStr, c_void};
use std::ptr;
use std::rc::Rc;

use napi::bindgen_prelude::Float64Array;
use napi::{Result, Unknown, check_status, sys};

pub type Callback = unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

/// A JavaScript function. It keeps `owner` alive, and gets it from [`call`].
pub fn function<Owner>(
    env: sys::napi_env,
    owner: &Rc<Owner>,
    name: &CStr,
    callback: Callback,
) -> Result<Unknown<'static>> {
    let data: *mut c_void = Rc::into_raw(owner.clone()).cast_mut().cast();
    let mut function = ptr::null_mut();
    // SAFETY: the name is as long as said, and the data outlives the function, whose finaliser gives it up. Where one of the
    // calls fails the environment is ending, and the data is never given up.
    unsafe {
        let length = name.count_bytes() as isize;
        check_status!(sys::napi_create_function(
            env,
            name.as_ptr(),
            length,
            Some(callback),
            data,
            &mut function
        ))?;
        let none = ptr::null_mut();
        let give_up = Some(give_up::<Owner> as unsafe extern "C" fn(_, _, _));
        check_status!(sys::napi_add_finalizer(env, function, data, give_up, none, ptr::null_mut()))?;
        Ok(Unknown::from_raw_unchecked(env, function))
    }
}

/// The finaliser of a function: gives up what it kept.
///
/// # Safety
/// `data` is what [`function`] gave the function.
unsafe extern "C" fn give_up<Owner>(_: sys::napi_env, data: *mut c_void, _: *mut c_void) {
    // SAFETY: the caller's obligation.
    unsafe { Rc::decrement_strong_count(data.cast::<Owner>()) };
}

/// A call's arguments, undefined where they are missing, and the function's owner.
///
/// # Safety
/// `info` is that of a call of a function that [`function`] made with such an owner, and the owner is used during that
/// call only.
pub unsafe fn call<'call, Owner, const N: usize>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
) -> ([sys::napi_value; N], &'call Owner) {
    let (mut count, mut arguments, mut data) = (N, [ptr::null_mut(); N], ptr::null_mut());
    // SAFETY: there is room for as many arguments as said; the function, which is being called, keeps its owner.
    unsafe {
        let none = ptr::null_mut();
        sys::napi_get_cb_info(env, info, &mut count, arguments.as_mut_ptr(), none, &mut data);
        (arguments, &*data.cast())
    }
}

/// A number as an argument; what is none is 0.
///
/// # Safety
/// `env` is the current environment, and the value one of its.
pub unsafe fn number(env: sys::napi_env, value: sys::napi_value) -> f64 {
    let mut number = 0.0;
    // SAFETY: the caller's obligation; where the value is no number nothing is written.
    unsafe { sys::napi_get_value_double(env, value, &mut number) };
    number
}

/// A number as a result.
///
/// # Safety
/// `env` is the current environment.
pub unsafe fn give(env: sys::napi_env, number: f64) -> sys::napi_value {
    let mut result = ptr::null_mut();
    // SAFETY: the caller's obligation.
    unsafe { sys::napi_create_double(env, number, &mut result) };
    result
}

/// Numbers as a result.
///
/// # Safety
/// `env` is the current environment.
pub unsafe fn list(env: sys::napi_env, numbers: &[f64]) -> sys::napi_value {
    let mut result = ptr::null_mut();
    // SAFETY: the caller's obligation.
    unsafe {
        sys::napi_create_array_with_length(env, numbers.len(), &mut result);
        for (index, number) in numbers.iter().enumerate() {
            sys::napi_set_element(env, result, index as u32, give(env, *number));
        }
    }
    result
}

/// Numbers that JavaScript and an object's functions leave for each other in an array: as arguments and results they
/// would cost as much as a block.
pub struct Numbers(RefCell<Float64Array>);

impl Numbers {
    pub fn new(array: Float64Array) -> Self {
        Self(RefCell::new(array))
    }

    /// The first numbers, which JavaScript has left; 0 where it has no such place.
    pub fn given<const N: usize>(&self) -> [f64; N] {
        self.0.borrow().first_chunk().copied().unwrap_or([0.0; N])
    }

    /// Leaves a number in the first place.
    pub fn put(&self, number: f64) {
        self.put_all([number]);
    }

    /// Leaves numbers in the first places, if it has so many.
    pub fn put_all<const N: usize>(&self, numbers: [f64; N]) {
        let mut array = self.0.borrow_mut();
        // SAFETY: the array belongs to one object in JavaScript, which reads it between calls, on this thread.
        if let Some(places) = unsafe { array.as_mut() }.first_chunk_mut() {
            *places = numbers;
        }
    }
}
