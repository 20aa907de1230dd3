//! The properties of each allocator that can serve a process's `malloc`: backends, C libraries and others. No other file
//! makes a decision by an allocator's name.

/// The mappings of a process in which an allocator has its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The heap that `brk` grows, arenas at multiples of 64 MiB, and a mapping of its own for each large block.
    BrkAndArenas,
    /// Address space that the allocator reserves in advance.
    Reserved,
    /// Unknown to this package.
    Unknown,
}

/// How an allocator returns free memory to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The allocator has a function that returns memory.
    OnRequest,
    /// The allocator returns memory only by itself.
    ByItself,
    /// This package knows no function that returns memory.
    Unknown,
}

/// The properties of an allocator. The name is the name in [`crate::foreign::SIGNATURES`], of a backend or of a C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// The name, such as `glibc` or `jemalloc`.
    pub name: &'static str,
    /// The mappings with its memory.
    pub place: Place,
    /// How it returns memory.
    pub release: Release,
}

/// All allocators with known properties.
pub const TRAITS: [Traits; 4] = [
    Traits { name: "glibc", place: Place::BrkAndArenas, release: Release::OnRequest },
    Traits { name: "jemalloc", place: Place::Reserved, release: Release::OnRequest },
    Traits { name: "mimalloc", place: Place::Reserved, release: Release::OnRequest },
    Traits { name: "snmalloc", place: Place::Reserved, release: Release::ByItself },
];

impl Traits {
    /// The properties of the allocator with this name.
    pub fn of(name: &str) -> Self {
        const NONE: Traits = Traits { name: "", place: Place::Unknown, release: Release::Unknown };
        TRAITS.into_iter().find(|traits| traits.name == name).unwrap_or(NONE)
    }
}
