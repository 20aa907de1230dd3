//! The backend that this library is built for.

#[cfg(not(any(feature = "jemalloc", feature = "mimalloc", feature = "snmalloc")))]
pub use malloc_backend::Default as Backend;
#[cfg(feature = "jemalloc")]
pub use malloc_backend::Jemalloc as Backend;
#[cfg(feature = "mimalloc")]
pub use malloc_backend::Mimalloc as Backend;
#[cfg(feature = "snmalloc")]
pub use malloc_backend::Snmalloc as Backend;
