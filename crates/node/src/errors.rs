//! Errors that have the codes of `src/errors.ts`: `src/native/loader.ts` makes a `MallocBackendError` of each.

use malloc_backend_launch::Refusal;
use napi::bindgen_prelude::{Env, JsError, Unknown};

/// The code that an error has in JavaScript.
pub struct Code(&'static str);

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.0
    }
}

pub type Error = napi::Error<Code>;
pub type Result<T> = std::result::Result<T, Error>;

pub fn error(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(Code(code), message.into())
}

pub fn refused(Refusal { code, message }: Refusal) -> Error {
    error(code.as_str(), message)
}

/// The error for a promise to reject with: those of a task have a status of napi's for code, unless they hold a value of
/// JavaScript's.
pub fn rejection(env: &Env, error: Error) -> napi::Error {
    // SAFETY: a task is resolved on its environment's thread, and the error is a value of that environment.
    unsafe { Unknown::from_raw_unchecked(env.raw(), JsError::from(error).into_value(env.raw())) }.into()
}
