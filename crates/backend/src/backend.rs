use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::nearest;

/// The memory allocators of this package.
///
/// The five names are the names in PyOxidizer's enum of the same name. [`Display`](fmt::Display), [`FromStr`] and (with
/// the feature `serde`) serde use the name in lower case.
///
/// ```
/// use malloc_backend::MemoryAllocatorBackend;
///
/// assert_eq!("mimalloc".parse(), Ok(MemoryAllocatorBackend::Mimalloc));
/// assert_eq!(MemoryAllocatorBackend::Jemalloc.to_string(), "jemalloc");
/// assert!("dlmalloc".parse::<MemoryAllocatorBackend>().unwrap_err().to_string().contains("dlmalloc"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryAllocatorBackend {
    /// The C library's allocator, or the library that replaces its `malloc` in this process.
    Default,
    /// jemalloc. Never available on Windows.
    Jemalloc,
    /// mimalloc.
    Mimalloc,
    /// snmalloc.
    Snmalloc,
    /// Rust's global allocator. The build chooses it: see [`GLOBAL_ALLOCATOR`](crate::GLOBAL_ALLOCATOR).
    Rust,
}

impl MemoryAllocatorBackend {
    /// All five backends, in the order of messages.
    pub const ALL: [Self; 5] = [Self::Default, Self::Jemalloc, Self::Mimalloc, Self::Snmalloc, Self::Rust];

    /// The name as a string.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Jemalloc => "jemalloc",
            Self::Mimalloc => "mimalloc",
            Self::Snmalloc => "snmalloc",
            Self::Rust => "rust",
        }
    }

    /// Whether this build contains the backend.
    ///
    /// # Errors
    /// The reason: the platform has no such backend, or the cargo feature was off.
    pub const fn available(self) -> Result<(), Unavailable> {
        let built = match self {
            Self::Default | Self::Rust => true,
            Self::Jemalloc if cfg!(windows) => return Err(Unavailable::Platform(self)),
            Self::Jemalloc => cfg!(feature = "jemalloc"),
            Self::Mimalloc => cfg!(feature = "mimalloc"),
            Self::Snmalloc => cfg!(feature = "snmalloc"),
        };
        if built { Ok(()) } else { Err(Unavailable::Feature(self)) }
    }
}

/// `jemalloc`. On Windows, where jemalloc does not exist, `default`.
impl core::default::Default for MemoryAllocatorBackend {
    fn default() -> Self {
        if cfg!(windows) { Self::Default } else { Self::Jemalloc }
    }
}

impl fmt::Display for MemoryAllocatorBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for MemoryAllocatorBackend {
    type Err = ParseBackendError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|backend| backend.as_str() == name)
            .ok_or_else(|| ParseBackendError { name: name.to_owned() })
    }
}

impl TryFrom<&str> for MemoryAllocatorBackend {
    type Error = ParseBackendError;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        name.parse()
    }
}

/// The string is not the name of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseBackendError {
    /// The string.
    pub name: String,
}

impl fmt::Display for ParseBackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = MemoryAllocatorBackend::ALL.map(MemoryAllocatorBackend::as_str);
        write!(f, "unknown memory allocator backend {:?}", self.name)?;
        match nearest(&self.name, &names) {
            Some(name) => write!(f, ". Did you mean {name}?"),
            None => write!(f, "; it must be one of: {}", names.join(", ")),
        }
    }
}

impl core::error::Error for ParseBackendError {}

/// Why a backend is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The backend does not exist on this platform.
    Platform(MemoryAllocatorBackend),
    /// The cargo feature with the backend's name was off.
    Feature(MemoryAllocatorBackend),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(backend) => write!(f, "{backend} does not exist on this platform"),
            Self::Feature(backend) => {
                write!(f, "this build does not contain {backend}: the cargo feature `{backend}` was off")
            }
        }
    }
}

impl core::error::Error for Unavailable {}

#[cfg(feature = "serde")]
mod serde_impl {
    use super::MemoryAllocatorBackend;
    use serde::de::{Deserialize, Deserializer, Error, Visitor};
    use serde::ser::{Serialize, Serializer};

    impl Serialize for MemoryAllocatorBackend {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.as_str())
        }
    }

    impl<'de> Deserialize<'de> for MemoryAllocatorBackend {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Name;
            impl Visitor<'_> for Name {
                type Value = MemoryAllocatorBackend;

                fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                    f.write_str("the name of a memory allocator backend")
                }

                fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                    name.parse().map_err(E::custom)
                }
            }
            deserializer.deserialize_str(Name)
        }
    }
}
