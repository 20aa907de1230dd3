//! jemalloc without its class of 8 bytes, the only one that does not align to 16.
//!
//! Sizes find their class in a table, which jemalloc fills in before its first block. Where it says 16 bytes for those
//! of 8 and less, all of jemalloc agrees with it: `malloc` needs no look at its argument, and what a caller of
//! `sdallocx` or `nallocx` says or hears of a block's size is true.

use core::ffi::c_void;

use malloc_backend_preload::wrap;

unsafe extern "C" {
    fn __real__rjem_je_sz_boot(classes: *const c_void, cache_oblivious: bool);
    /// The class of a size, by eights of bytes rounded up.
    static mut _rjem_je_sz_size2index_tab: [u8; 3];
}

unsafe extern "C" fn sz_boot(classes: *const c_void, cache_oblivious: bool) {
    // SAFETY: the arguments are handed on; jemalloc calls this once, under its lock, and reads the table later.
    unsafe {
        __real__rjem_je_sz_boot(classes, cache_oblivious);
        let table = &raw mut _rjem_je_sz_size2index_tab;
        (*table)[0] = (*table)[2];
        (*table)[1] = (*table)[2];
    }
}

wrap!("__wrap__rjem_je_sz_boot", sz_boot);
