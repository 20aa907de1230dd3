//! The structures of CPython's allocator tables.

use core::ffi::c_void;

type Malloc = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type Calloc = unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void;
type Realloc = unsafe extern "C" fn(*mut c_void, *mut c_void, usize) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// CPython's structure of that name (Include/cpython/pymem.h).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PyMemAllocatorEx {
    pub ctx: *mut c_void,
    pub malloc: Option<Malloc>,
    pub calloc: Option<Calloc>,
    pub realloc: Option<Realloc>,
    pub free: Option<Free>,
}

impl PyMemAllocatorEx {
    pub fn new(ctx: *mut c_void, malloc: Malloc, calloc: Calloc, realloc: Realloc, free: Free) -> Self {
        Self { ctx, malloc: Some(malloc), calloc: Some(calloc), realloc: Some(realloc), free: Some(free) }
    }

    /// The addresses in its slots, to compare tables.
    pub fn addresses(&self) -> [usize; 5] {
        let [malloc, calloc, realloc, free] = self.functions();
        [self.ctx as usize, malloc, calloc, realloc, free]
    }

    /// The addresses of its functions, without the context.
    pub fn functions(&self) -> [usize; 4] {
        [
            self.malloc.map_or(0, |function| function as usize),
            self.calloc.map_or(0, |function| function as usize),
            self.realloc.map_or(0, |function| function as usize),
            self.free.map_or(0, |function| function as usize),
        ]
    }
}

/// CPython's structure of that name (Include/cpython/objimpl.h).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PyObjectArenaAllocator {
    pub ctx: *mut c_void,
    pub alloc: Option<unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void>,
    pub free: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, usize)>,
}

impl PyObjectArenaAllocator {
    /// The addresses in its slots, to compare tables.
    pub fn addresses(&self) -> [usize; 3] {
        [
            self.ctx as usize,
            self.alloc.map_or(0, |function| function as usize),
            self.free.map_or(0, |function| function as usize),
        ]
    }
}
