//! mlockall(2) beside an allocator that reserves address space before it needs memory.
//!
//! mimalloc maps 1 GiB at a time and snmalloc 256 GiB, readable and writable. By itself mlockall has the kernel fill all of
//! that with memory. With MCL_ONFAULT it locks each page as the program touches it. No page is swapped out either way.

use core::ffi::c_int;

use malloc_backend::owner::Object;
use malloc_backend_preload::own;

use crate::system_calls::{in_c, system_call};

#[unsafe(no_mangle)]
extern "C" fn mlockall(flags: c_int) -> c_int {
    // SAFETY: the call takes no memory.
    let lock = |flags: c_int| unsafe { system_call(libc::SYS_mlockall, &[flags as usize]) };
    let locks = flags & (libc::MCL_CURRENT | libc::MCL_FUTURE) != 0;
    let result = match locks && own() == Object::that_defines(c"malloc") {
        true => lock(flags | libc::MCL_ONFAULT),
        false => lock(flags),
    };
    // Kernels before 4.4 have no MCL_ONFAULT.
    in_c(if result == -libc::EINVAL as isize { lock(flags) } else { result }) as c_int
}
