//! Whose `malloc` a process runs on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use malloc_backend::owner::Object;
use malloc_backend::{MemoryAllocatorBackend, RawAllocator, foreign, shim};

use crate::allocator::Allocator;
use crate::elf::Elf;

/// The library or program that serves a process's `malloc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its file, as the process sees it.
    pub path: String,
    /// What it is.
    pub kind: OwnerKind,
    /// The allocator's version, where it can be told.
    pub version: Option<String>,
}

/// What serves a process's `malloc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// An allocator in an object that was loaded or linked.
    Allocator(Allocator),
    /// The program itself, which is static: what it contains does not show.
    StaticProgram,
}

/// Whose `malloc` this process runs on, judged from the symbol that resolves.
pub fn owner_here() -> Option<Owner> {
    let object = Object::that_defines(c"malloc")?;
    if let Some(shim) = shim::current() {
        let backend = shim.backend().unwrap_or(MemoryAllocatorBackend::Default);
        let kind = OwnerKind::Allocator(Allocator::Shim(backend));
        return Some(Owner { path: shim.path(), kind, version: Some(shim.version()) });
    }
    // The loader names the program as it was called; the kernel knows the file.
    let own_program = fs::read_link("/proc/self/exe").unwrap_or_default();
    let named = PathBuf::from(object.path());
    let path = if named.is_absolute() { named } else { own_program };
    let allocator = Allocator::in_file(&Elf::open(&path).ok()?, &path)?;
    let version = match &allocator {
        Allocator::Foreign(name) => foreign::version(name),
        _ => libc_version(),
    };
    Some(Owner { path: path.to_string_lossy().into_owned(), kind: OwnerKind::Allocator(allocator), version })
}

/// The C library's version, without its name.
fn libc_version() -> Option<String> {
    let version = malloc_backend::Default::version()?;
    version.strip_prefix("glibc ").map(str::to_owned)
}

/// Whose `malloc` the process runs on, judged from its maps: of the mapped files that define `malloc`, the one
/// that the loader's search comes to first. That is the program, then what is preloaded in its order, then the
/// libraries, of which libc is searched after those that need it.
///
/// # Errors
/// Where there is no such process, or it may not be looked into (ptrace(2), "Ptrace access mode checking").
pub fn owner_of(pid: u32) -> io::Result<Option<Owner>> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let program = fs::read_link(process.join("exe"))?;
    let maps = fs::read(process.join("maps"))?;
    let files = mapped_files(&maps);
    let preloaded = preloaded(&process);
    let order = |path: &Path, allocator: &Allocator| match allocator {
        _ if path == program => (0, 0),
        Allocator::Libc(_) => (3, 0),
        _ => match preloaded.iter().position(|entry| same_file(entry, path)) {
            Some(index) => (1, index),
            None => (2, 0),
        },
    };
    // As the process sees them: it may be in a container.
    let outside = |path: &Path| process.join("root").join(path.strip_prefix("/").unwrap_or(path));
    // An update may have taken the file away; what is mapped is still there (proc(5), map_files).
    let open = |path: &Path, range: &str| {
        Elf::open(&outside(path)).or_else(|_| Elf::open(&process.join("map_files").join(range)))
    };
    let owner = files
        .into_iter()
        .filter_map(|(path, range)| {
            let allocator = match open(&path, &range) {
                Ok(elf) => Allocator::in_file(&elf, &path)?,
                // Only the superuser may follow map_files: what is left is the name.
                Err(_) => Allocator::of_name(&path)?,
            };
            Some((order(&path, &allocator), path, allocator))
        })
        .min_by(|(one, ..), (other, ..)| one.cmp(other));
    if let Some((_, path, allocator)) = owner {
        let version = version_of(&allocator, &outside(&path));
        let kind = OwnerKind::Allocator(allocator);
        return Ok(Some(Owner { path: path.to_string_lossy().into_owned(), kind, version }));
    }
    let is_static = Elf::open(&outside(&program))
        .ok()
        .and_then(|elf| elf.kind())
        .is_some_and(|kind| kind.interpreter.is_none());
    let path = program.to_string_lossy().into_owned();
    Ok(is_static.then_some(Owner { path, kind: OwnerKind::StaticProgram, version: None }))
}

/// A version that does not need the process to be asked: our libraries are of the version that is in this one,
/// if they are of this installation, and a C library is, if it is the very file that serves here.
fn version_of(allocator: &Allocator, file: &Path) -> Option<String> {
    match allocator {
        Allocator::Shim(backend) => (backend.functions().ok()?.version)(),
        Allocator::Libc(_) => {
            let own = Object::that_defines(c"__libc_start_main")?.path();
            same_file(Path::new(&own), file).then(libc_version).flatten()
        }
        Allocator::Foreign(_) => None,
    }
}

/// The files behind the executable parts of a process's memory, and one such part of each (proc_pid_maps(5)).
fn mapped_files(maps: &[u8]) -> BTreeMap<PathBuf, String> {
    maps.split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.splitn(6, |byte| *byte == b' ');
            let range = String::from_utf8_lossy(fields.next()?).into_owned();
            let permissions = fields.next()?;
            let path = fields.nth(3)?.trim_ascii_start();
            let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
            (permissions.contains(&b'x') && path.starts_with(b"/"))
                .then(|| (PathBuf::from(std::ffi::OsStr::from_bytes(path)), range))
        })
        .collect()
}

/// What the process was started with to be preloaded, in the order of ld.so(8): the environment's, then the
/// system's.
fn preloaded(process: &Path) -> Vec<PathBuf> {
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    let of_environment =
        environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"LD_PRELOAD="));
    let of_system = fs::read(process.join("root/etc/ld.so.preload")).unwrap_or_default();
    of_environment
        .unwrap_or_default()
        .split(|byte| b" :".contains(byte))
        .chain(of_system.split(|byte| b" \t\n:".contains(byte)))
        .filter(|entry| !entry.is_empty())
        .map(|entry| PathBuf::from(std::ffi::OsStr::from_bytes(entry)))
        .collect()
}

/// The same file, or, where one of them is out of reach or a mere name, files of the same name.
fn same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => one.file_name() == other.file_name(),
    }
}
