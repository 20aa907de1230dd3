//! Did you mean …?

use napi_derive::napi;

/// The name that was probably meant by one that is not known.
#[napi]
pub fn nearest(word: String, names: Vec<String>) -> Option<String> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    malloc_backend::nearest(&word, &names).map(str::to_owned)
}
