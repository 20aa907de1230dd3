//! How mimalloc gets its options: by its own functions, before it looks at a variable of the user's.
//!
//! It starts when it is first asked for memory, which may be before any constructor of this library, or in its own
//! constructor. In the first case it begins with a key for its threads, so the call for one is where options can be set.

use core::ffi::{c_int, c_void};

use malloc_backend::Mimalloc;
use malloc_backend::mimalloc_option_names::NAMES;

use crate::options::{Options, pairs};
use malloc_backend::variables::MIMALLOC;

/// Before mimalloc's own constructor: the linker sorts by the number, and those without one come last.
#[used]
#[unsafe(link_section = ".init_array.00001")]
static CONSTRUCTOR: extern "C" fn() = apply;

/// The second time it changes nothing.
extern "C" fn apply() {
    let options = Options::of(MIMALLOC);
    for (option, value) in numbers(options.preset()) {
        Mimalloc::set_option_default(option, value);
    }
    for (option, value) in numbers(options.over_users().to_bytes()) {
        Mimalloc::set_option(option, value);
    }
}

/// The numbers of the options, and their values: whole, in the unit in which mimalloc keeps them.
fn numbers(part: &[u8]) -> impl Iterator<Item = (usize, i64)> {
    pairs(part).filter_map(|(key, value)| {
        let option = NAMES.iter().position(|name| *name == key)?;
        Some((option, value.parse().ok()?))
    })
}

type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;

unsafe extern "C" {
    fn __real_pthread_key_create(key: *mut libc::pthread_key_t, destructor: Destructor) -> c_int;
}

unsafe extern "C" fn pthread_key_create(key: *mut libc::pthread_key_t, destructor: Destructor) -> c_int {
    apply();
    // SAFETY: the arguments are handed on.
    unsafe { __real_pthread_key_create(key, destructor) }
}

crate::wrap!("__wrap_pthread_key_create", pthread_key_create);
