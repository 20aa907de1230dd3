//! What is known of every allocator that can serve a process's `malloc`: of the backends, the C libraries' and others'.
//! No other file decides anything by an allocator's name.

/// Where an allocator's memory is among the mappings of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the heap that `brk` grows, in arenas at multiples of 64 MiB, and each large block in a mapping of its own.
    BrkAndArenas,
    /// In address space that it reserves beforehand.
    Reserved,
    /// This package does not know it.
    Unknown,
}

/// How an allocator gives free memory back to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It has a function for it.
    OnRequest,
    /// By itself alone.
    ByItself,
    /// This package knows no function for it.
    Unknown,
}

/// An allocator, by the name that [`crate::foreign::SIGNATURES`], a backend or a C library has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// `glibc`, `jemalloc` …
    pub name: &'static str,
    /// Where its memory is.
    pub place: Place,
    /// How it gives memory back.
    pub release: Release,
}

/// Those of which something is known.
pub const TRAITS: [Traits; 4] = [
    Traits { name: "glibc", place: Place::BrkAndArenas, release: Release::OnRequest },
    Traits { name: "jemalloc", place: Place::Reserved, release: Release::OnRequest },
    Traits { name: "mimalloc", place: Place::Reserved, release: Release::OnRequest },
    Traits { name: "snmalloc", place: Place::Reserved, release: Release::ByItself },
];

impl Traits {
    /// What is known of the allocator of that name.
    pub fn of(name: &str) -> Self {
        const NONE: Traits = Traits { name: "", place: Place::Unknown, release: Release::Unknown };
        TRAITS.into_iter().find(|traits| traits.name == name).unwrap_or(NONE)
    }
}
