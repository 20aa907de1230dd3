//! Values between JavaScript and `malloc_backend_python`. `src/python/value.ts` has refused what is no such value.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use malloc_backend_python::interpreter::{Bytes, Failure, Outcome, OwnedBytes, Value};
use napi::bindgen_prelude::{
    Array, BigInt, Buffer, FromNapiValue, JsObjectValue, JsValue, Null, Object, Result, ToNapiValue,
    TypeName, Uint8ArraySlice, Unknown, ValidateNapiValue,
};
use napi::{Env, Error, JsString, Status, ValueType, check_status, sys};
use napi_derive::napi;

/// The largest integer up to which every one is a number.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;
/// Up to here a buffer is copied into memory of V8's own.
const SMALL: usize = 64 << 10;

/// The most bytes that a buffer of this engine can have: `buffer.constants.MAX_LENGTH`, which each port tells.
pub static MAX_BUFFER: AtomicUsize = AtomicUsize::new(usize::MAX);

/// A value that came from JavaScript.
pub struct FromJs(pub Value);

impl FromJs {
    /// Those of a dict.
    pub fn into_entries(self) -> Vec<(Value, Value)> {
        match self.0 {
            Value::Dict(entries) => entries,
            _ => Vec::new(),
        }
    }
}

impl TypeName for FromJs {
    fn type_name() -> &'static str {
        "value"
    }
    fn value_type() -> ValueType {
        ValueType::Unknown
    }
}

impl ValidateNapiValue for FromJs {}

impl FromNapiValue for FromJs {
    unsafe fn from_napi_value(env: sys::napi_env, raw: sys::napi_value) -> Result<Self> {
        // SAFETY: the caller gives a value of this environment, and each cast is to the type that was found.
        unsafe {
            let value = Unknown::from_raw_unchecked(env, raw);
            Ok(Self(match value.get_type()? {
                ValueType::Boolean => Value::Bool(value.cast()?),
                ValueType::Number => number(value.cast()?),
                ValueType::BigInt => big_int(&value.cast()?),
                ValueType::String => wide(value.cast()?)?,
                ValueType::Object if value.is_array()? => {
                    let array: Array = value.cast()?;
                    let mut values = Vec::with_capacity(array.len() as usize);
                    for index in 0..array.len() {
                        values.push(array.get_element::<Self>(index)?.0);
                    }
                    Value::List(values)
                }
                ValueType::Object if value.is_typedarray()? => {
                    Value::Bytes(Bytes::copy(&value.cast::<Uint8ArraySlice>()?))
                }
                ValueType::Object => entries(&value.cast()?)?,
                _ => Value::None,
            }))
        }
    }
}

fn number(value: f64) -> Value {
    let is_integer = value.fract() == 0.0 && value.abs() <= MAX_SAFE_INTEGER;
    match is_integer && !(value == 0.0 && value.is_sign_negative()) {
        true => Value::Int(value as i64),
        false => Value::Float(value),
    }
}

fn big_int(value: &BigInt) -> Value {
    let digits: String = value.words.iter().rev().map(|word| format!("{word:016x}")).collect();
    Value::BigInt(value.sign_bit, digits)
}

fn wide(text: JsString) -> Result<Value> {
    let text = text.into_utf16()?;
    // (Its slice ends in the zero that Node-API puts there.)
    let units = text.as_slice();
    Ok(Value::Wide(units.strip_suffix(&[0]).unwrap_or(units).to_vec()))
}

fn entries(object: &Object) -> Result<Value> {
    let names = object.get_property_names()?;
    let length = names.get_array_length()?;
    let mut entries = Vec::with_capacity(length as usize);
    for index in 0..length {
        let name: JsString = names.get_element(index)?;
        let value: Unknown = object.get_property(name)?;
        // SAFETY: any value will do.
        let value: FromJs = unsafe { value.cast()? };
        entries.push((wide(name)?, value.0));
    }
    Ok(Value::Dict(entries))
}

/// The outcome of a job. A job that was called off before it began has none of the three.
#[napi(object, object_from_js = false)]
pub struct PythonOutcome {
    /// The job's.
    pub number: f64,
    #[napi(ts_type = "PythonValue")]
    pub value: Option<Unknown<'static>>,
    #[napi(ts_type = "[type: string, message: string, traceback: string]")]
    pub exception: Option<Unknown<'static>>,
    /// What the value is or contains that JavaScript has no equivalent for.
    pub no_equivalent: Option<String>,
}

pub struct Outcomes(pub Vec<(u64, Outcome)>);

impl ToNapiValue for Outcomes {
    unsafe fn to_napi_value(env: sys::napi_env, outcomes: Self) -> Result<sys::napi_value> {
        let outcomes = outcomes.0.into_iter();
        // SAFETY: the caller's environment.
        unsafe {
            let all: Result<Vec<PythonOutcome>> =
                outcomes.map(|(number, outcome)| describe(env, number, outcome)).collect();
            Vec::to_napi_value(env, all?)
        }
    }
}

/// Each by itself: one that the engine cannot hold takes no other with it.
///
/// # Safety
/// A live environment.
unsafe fn describe(env: sys::napi_env, number: u64, outcome: Outcome) -> Result<PythonOutcome> {
    let nothing = PythonOutcome { number: number as f64, value: None, exception: None, no_equivalent: None };
    // SAFETY: the caller's environment.
    match outcome.and_then(|value| unsafe { convert(env, value) }) {
        Ok(value) => Ok(PythonOutcome { value: Some(value), ..nothing }),
        Err(Failure::Exception { class, message, traceback }) => {
            // SAFETY: the caller's environment.
            let said = unsafe {
                texts(env, [&class, &message, &traceback]).or_else(|_| texts(env, [&class, TOO_LONG, ""]))
            };
            Ok(PythonOutcome { exception: Some(said?), ..nothing })
        }
        Err(Failure::NoEquivalent(what)) => Ok(PythonOutcome { no_equivalent: Some(what), ..nothing }),
        Err(Failure::Cancelled) => Ok(nothing),
    }
}

/// In the place of an exception's message that makes no string.
const TOO_LONG: &str = "(its message is longer than a string can be)";

/// A value that the engine refuses is one without an equivalent, and leaves no exception behind.
///
/// # Safety
/// A live environment.
unsafe fn convert(env: sys::napi_env, value: Value) -> std::result::Result<Unknown<'static>, Failure> {
    // SAFETY: values of this environment, of which the result is one.
    unsafe {
        match ToJs::to_napi_value(env, ToJs(value)) {
            Ok(value) => Ok(Unknown::from_raw_unchecked(env, value)),
            Err(error) => {
                clear_exception(env);
                Err(Failure::NoEquivalent(match error.reason.as_str() {
                    "" => "a value larger than the engine can hold".to_owned(),
                    why => format!("a value larger than the engine can hold ({why})"),
                }))
            }
        }
    }
}

/// # Safety
/// A live environment.
unsafe fn texts(env: sys::napi_env, texts: [&str; 3]) -> Result<Unknown<'static>> {
    // SAFETY: values of this environment.
    unsafe {
        let array = <Vec<&str>>::to_napi_value(env, texts.into());
        let array = array.inspect_err(|_| clear_exception(env))?;
        Ok(Unknown::from_raw_unchecked(env, array))
    }
}

/// # Safety
/// A live environment.
unsafe fn clear_exception(env: sys::napi_env) {
    let mut exception = ptr::null_mut();
    // SAFETY: the caller's obligation. Where none is pending it gives undefined.
    unsafe { sys::napi_get_and_clear_last_exception(env, &mut exception) };
}

struct ToJs(Value);

impl ToNapiValue for ToJs {
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> Result<sys::napi_value> {
        // SAFETY: the caller's environment, all the way.
        unsafe {
            match value.0 {
                Value::None => Null::to_napi_value(env, Null),
                Value::Bool(value) => bool::to_napi_value(env, value),
                Value::Int(value) if value.unsigned_abs() as f64 <= MAX_SAFE_INTEGER => {
                    f64::to_napi_value(env, value as f64)
                }
                Value::Int(value) => BigInt::to_napi_value(env, BigInt::from(value)),
                Value::BigInt(negative, digits) => BigInt::to_napi_value(env, big(negative, &digits)),
                Value::Float(value) => f64::to_napi_value(env, value),
                Value::Text(text) => <&str>::to_napi_value(env, &text),
                Value::Wide(text) => {
                    let mut result = ptr::null_mut();
                    check_status!(sys::napi_create_string_utf16(
                        env,
                        text.as_ptr(),
                        text.len() as isize,
                        &mut result
                    ))?;
                    Ok(result)
                }
                Value::Bytes(bytes) if bytes.len() > MAX_BUFFER.load(Ordering::Relaxed) => Err(Error::new(
                    Status::InvalidArg,
                    format!("{} bytes, and a buffer cannot have that many", bytes.len()),
                )),
                Value::Bytes(Bytes::Owned(bytes)) => handed_over(env, bytes),
                Value::Bytes(Bytes::Copied(bytes)) if bytes.len() <= SMALL => {
                    let mut result = ptr::null_mut();
                    check_status!(sys::napi_create_buffer_copy(
                        env,
                        bytes.len(),
                        bytes.as_ptr().cast(),
                        ptr::null_mut(),
                        &mut result
                    ))?;
                    Ok(result)
                }
                Value::Bytes(Bytes::Copied(bytes)) => Buffer::to_napi_value(env, bytes.into()),
                Value::Bytes(Bytes::Pieces(pieces)) => Buffer::to_napi_value(env, pieces.concat().into()),
                Value::List(values) => {
                    let owner = Env::from_raw(env);
                    let mut array = owner.create_array(values.len() as u32)?;
                    for (index, value) in values.into_iter().enumerate() {
                        array.set(index as u32, Self(value))?;
                    }
                    Array::to_napi_value(env, array)
                }
                Value::Dict(entries) => dict(env, entries),
            }
        }
    }
}

fn big(negative: bool, digits: &str) -> BigInt {
    let words = digits.as_bytes().rchunks(16).map(|word| {
        std::str::from_utf8(word).ok().and_then(|word| u64::from_str_radix(word, 16).ok()).unwrap_or(0)
    });
    BigInt { sign_bit: negative, words: words.collect() }
}

/// # Safety
/// A live environment.
unsafe fn dict(env: sys::napi_env, entries: Vec<(Value, Value)>) -> Result<sys::napi_value> {
    // SAFETY: values of this environment.
    unsafe {
        let mut object = ptr::null_mut();
        check_status!(sys::napi_create_object(env, &mut object))?;
        for (name, value) in entries {
            let name = ToJs::to_napi_value(env, ToJs(name))?;
            let value = ToJs::to_napi_value(env, ToJs(value))?;
            // Defined and not set: one of the name `__proto__` is a property like any other.
            let property = sys::napi_property_descriptor {
                utf8name: ptr::null::<c_char>(),
                name,
                method: None,
                getter: None,
                setter: None,
                value,
                attributes: sys::PropertyAttributes::writable
                    | sys::PropertyAttributes::enumerable
                    | sys::PropertyAttributes::configurable,
                data: ptr::null_mut(),
            };
            check_status!(sys::napi_define_properties(env, object, 1, &property))?;
        }
        Ok(object)
    }
}

/// A buffer over the memory of a `bytes` itself, or a copy where the engine wants no memory but its own.
///
/// # Safety
/// A live environment.
unsafe fn handed_over(env: sys::napi_env, bytes: OwnedBytes) -> Result<sys::napi_value> {
    unsafe extern "C" fn free(_env: sys::napi_env, _data: *mut c_void, hint: *mut c_void) {
        // SAFETY: the hint is the box from below, and this is called once.
        drop(unsafe { Box::from_raw(hint.cast::<OwnedBytes>()) });
    }
    let (data, length) = (bytes.as_ptr(), bytes.len());
    let hint = Box::into_raw(Box::new(bytes));
    let mut result = ptr::null_mut();
    // SAFETY: the memory lives until the finaliser gives it back, or, where there is none, to the end of this block.
    unsafe {
        let status =
            sys::napi_create_external_buffer(env, length, data.cast(), Some(free), hint.cast(), &mut result);
        match status {
            sys::Status::napi_ok => return Ok(result),
            // The finaliser is not called only in this case: the box is this function's again.
            sys::Status::napi_no_external_buffers_allowed => {}
            // Node may have taken it over, and calls it then; a leak at the worst.
            _ => return check_status!(status).map(|()| result),
        }
        let copied = sys::napi_create_buffer_copy(env, length, data.cast(), ptr::null_mut(), &mut result);
        drop(Box::from_raw(hint));
        check_status!(copied)?;
        Ok(result)
    }
}
