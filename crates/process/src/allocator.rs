//! Naming the allocator in an object file.

use std::path::Path;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend::files::shim_backend;
use malloc_backend::foreign;

use crate::elf::Elf;

/// Whose `malloc` an object file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// One of our preloadable libraries.
    Shim(MemoryAllocatorBackend),
    /// The C library's: `glibc` or `musl`.
    Libc(&'static str),
    /// Another allocator of that name.
    Foreign(String),
}

impl Allocator {
    /// The allocator that the file defines `malloc` for, or `None` where it defines none.
    pub fn in_file(elf: &Elf, path: &Path) -> Option<Self> {
        elf.defined(["malloc"])?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if elf.defined(["malloc_backend_shim"]).is_some()
            && let Some(backend) = shim_backend(&name)
        {
            return Some(Self::Shim(backend));
        }
        if elf.defined(["__libc_start_main"]).is_some() {
            return Some(Self::Libc(if elf.defined(["gnu_get_libc_version"]).is_some() {
                "glibc"
            } else {
                "musl"
            }));
        }
        let by_function = foreign::SIGNATURES.iter().find(|(function, _)| elf.defined([*function]).is_some());
        let allocator = by_function.map(|(_, allocator)| *allocator).or_else(|| foreign_name(&name));
        Some(Self::Foreign(allocator.unwrap_or("unknown").to_owned()))
    }

    /// What the file's name says that it is, for want of its contents.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy();
        let foreign = || foreign_name(&name).map(|allocator| Self::Foreign(allocator.to_owned()));
        shim_backend(&name).map(Self::Shim).or_else(foreign)
    }
}

/// The allocator of others whose name is in the file's.
fn foreign_name(file_name: &str) -> Option<&'static str> {
    foreign::SIGNATURES.iter().map(|(_, allocator)| *allocator).find(|known| file_name.contains(known))
}
