//! Whose `malloc` a process runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use malloc_backend::files::shim_name;
use malloc_backend::owner::Object;
use malloc_backend::{MemoryAllocatorBackend, foreign, libc_version, shim};

use crate::about::environment_of;
use crate::allocator::Allocator;
use crate::elf::{Dependencies, Elf};
use crate::loader::preloaded_by_system;

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

/// Whose `malloc` the process runs on, judged from its maps: of the mapped files that define `malloc`, the one
/// that the loader's search comes to first. That is the program, then what is preloaded in its order, then the
/// libraries that these need, of which libc is searched after those that need it. What the program opened later
/// (`dlopen`) comes behind libc and serves nobody else, and the loader itself, which has a small `malloc` for its own
/// start in older versions of glibc, serves nobody.
///
/// # Errors
/// Where there is no such process, or it may not be looked into (ptrace(2), "Ptrace access mode checking"); ENODATA
/// where it has another allocator than libc's, and nothing tells any more whether that one was preloaded.
pub fn owner_of(pid: u32) -> io::Result<Option<Owner>> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let program = without_mark(fs::read_link(process.join("exe"))?.as_os_str().as_bytes()).0;
    let maps = fs::read(process.join("maps"))?;
    // As the process sees them: it may be in a container.
    let outside = |path: &Path| process.join("root").join(path.strip_prefix("/").unwrap_or(path));
    let files = mapped_files(&process, &maps, &outside);
    let kind = Elf::open(&process.join("exe")).ok().and_then(|elf| elf.kind());
    let interpreter = kind.as_ref().and_then(|kind| kind.interpreter.as_ref());
    let loader = interpreter.map(|path| outside(Path::new(path)));
    const LIBC: (u8, usize) = (3, 0);
    const LATER: (u8, usize) = (4, 0);
    let libraries = Libraries::new(&files, &outside);
    let preloaded = preloaded(pid, &process);
    let index_of = |path: &Path| {
        preloaded.iter().flatten().position(|entry| {
            // A name is looked for in folders; a path may lead somewhere else from here.
            let found = entry.is_absolute().then(|| is_same(&outside(entry), &outside(path))).flatten();
            found.unwrap_or_else(|| libraries.is_meant(entry, path))
        })
    };
    let needed = libraries.needed(|path| path == program || index_of(path).is_some());
    let order = |path: &Path, allocator: &Allocator| match allocator {
        _ if path == program => (0, 0),
        Allocator::Libc(_) => LIBC,
        _ => match index_of(path) {
            Some(index) => (1, index),
            // Nobody opens one of ours later.
            None if matches!(allocator, Allocator::Shim(_)) => (1, usize::MAX),
            // A program without a loader of its own was started by naming the loader, which hides what it needs.
            None if loader.is_none() || needed.contains(path) => (2, 0),
            None => LATER,
        },
    };
    let candidates: Vec<_> = files
        .iter()
        .filter_map(|(path, file)| {
            let allocator = match &file.elf {
                Some(elf) => Allocator::in_file(elf, path)?,
                // It is gone, and only the superuser may follow map_files: what is left is the name.
                None => Allocator::of_name(path)?,
            };
            let is_loader = || loader.as_ref().is_some_and(|loader| same_file(loader, &outside(path)));
            // (musl's loader is its libc.)
            (matches!(allocator, Allocator::Libc(_)) || !is_loader())
                .then(|| (order(path, &allocator), path, file, allocator))
        })
        .collect();
    // Opened later; or preloaded, and the environment that said so is overwritten.
    let has_later = candidates.iter().any(|(order, _, file, _)| *order == LATER && file.elf.is_some());
    let owner = candidates.into_iter().min_by_key(|(order, ..)| *order);
    if preloaded.is_none() && has_later && owner.as_ref().is_some_and(|(order, ..)| *order == LIBC) {
        return Err(io::Error::from_raw_os_error(libc::ENODATA));
    }
    if let Some((_, path, file, allocator)) = owner {
        let version = (!file.is_gone).then(|| version_of(&allocator, &outside(path))).flatten();
        let kind = OwnerKind::Allocator(allocator);
        return Ok(Some(Owner { path: path.to_string_lossy().into_owned(), kind, version }));
    }
    let is_static = kind.is_some_and(|kind| kind.interpreter.is_none());
    let path = program.to_string_lossy().into_owned();
    Ok(is_static.then_some(Owner { path, kind: OwnerKind::StaticProgram, version: None }))
}

/// A version that does not need the process to be asked: our library is of the version that is in this one, and a C
/// library of that here, if it is the very file that belongs to this.
fn version_of(allocator: &Allocator, file: &Path) -> Option<String> {
    static HERE: u8 = 0;
    match allocator {
        Allocator::Shim(backend) => {
            let here = PathBuf::from(Object::of((&raw const HERE).cast())?.path());
            let own = here.with_file_name(shim_name(*backend));
            is_same(&own, file)?.then(|| (backend.functions().ok()?.version)()).flatten()
        }
        Allocator::Libc(_) => {
            let own = Object::that_defines(c"__libc_start_main")?.path();
            is_same(Path::new(&own), file)?.then(libc_version).flatten()
        }
        Allocator::Foreign(_) => None,
    }
}

/// A file that a process has mapped to execute it.
struct Mapped {
    /// `None` where it cannot be read any more.
    elf: Option<Elf>,
    /// Taken away since, by an update for example: another file may have its name now.
    is_gone: bool,
}

/// The files behind the executable parts of a process's memory (proc_pid_maps(5)).
fn mapped_files(
    process: &Path,
    maps: &[u8],
    outside: &impl Fn(&Path) -> PathBuf,
) -> BTreeMap<PathBuf, Mapped> {
    let mut files = BTreeMap::new();
    for line in maps.split(|byte| *byte == b'\n') {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let (Some(range), Some(permissions), Some(path)) = (fields.next(), fields.next(), fields.nth(3))
        else {
            continue;
        };
        let name = path.trim_ascii_start();
        if !permissions.contains(&b'x') || !name.starts_with(b"/") {
            continue;
        }
        let (path, is_gone) = without_mark(name);
        files.entry(path).or_insert_with_key(|path| {
            // What is mapped is still there (proc(5), map_files).
            let range = process.join("map_files").join(OsStr::from_bytes(range));
            let (first, second) = if is_gone { (range, outside(path)) } else { (outside(path), range) };
            Mapped { elf: Elf::open(&first).or_else(|_| Elf::open(&second)).ok(), is_gone }
        });
    }
    files
}

/// A file's name as the kernel gives it, without the mark of one that is gone; and whether it had that.
fn without_mark(name: &[u8]) -> (PathBuf, bool) {
    let gone = name.strip_suffix(b" (deleted)");
    (PathBuf::from(OsStr::from_bytes(gone.unwrap_or(name))), gone.is_some())
}

/// The mapped files as the dynamic loader knows them.
struct Libraries<'a, Outside> {
    dependencies: BTreeMap<&'a Path, Dependencies>,
    outside: &'a Outside,
}

impl<'a, Outside: Fn(&Path) -> PathBuf> Libraries<'a, Outside> {
    fn new(files: &'a BTreeMap<PathBuf, Mapped>, outside: &'a Outside) -> Self {
        let dependencies = |file: &Mapped| file.elf.as_ref().map(Elf::dependencies).unwrap_or_default();
        Self {
            dependencies: files.iter().map(|(path, file)| (path.as_path(), dependencies(file))).collect(),
            outside,
        }
    }

    /// Whether the name led the loader to that file: its own name, its file's, or that of a link beside it.
    fn is_meant(&self, name: &Path, path: &Path) -> bool {
        let own_name = self.dependencies.get(path).and_then(|file| file.own_name.as_deref());
        name.file_name() == path.file_name()
            || own_name.is_some_and(|own_name| name.file_name() == own_name.file_name())
            || name.file_name().is_some_and(|name| {
                is_same(&(self.outside)(&path.with_file_name(name)), &(self.outside)(path)) == Some(true)
            })
    }

    /// Which of the files the loader brought with the roots: those that they need, and what these need in turn.
    fn needed(&self, is_root: impl Fn(&Path) -> bool) -> BTreeSet<&'a Path> {
        let mut found = BTreeSet::new();
        let paths = || self.dependencies.keys().copied();
        let mut open: Vec<&Path> = paths().filter(|path| is_root(path)).collect();
        while let Some(from) = open.pop() {
            for name in &self.dependencies[from].needed {
                for path in paths().filter(|path| self.is_meant(name, path)) {
                    if found.insert(path) {
                        open.push(path);
                    }
                }
            }
        }
        found
    }
}

/// What the process was started with to be preloaded, in the order of ld.so(8): the environment's, then the
/// system's. `None` where the environment that it was started with is overwritten, as by what gives itself a title
/// (setproctitle), which leaves nothing to tell by.
fn preloaded(pid: u32, process: &Path) -> Option<Vec<PathBuf>> {
    let environment = environment_of(pid).unwrap_or_else(|_| Some(Vec::new()))?;
    let of_environment = environment.iter().find_map(|entry| entry.strip_prefix(b"LD_PRELOAD="));
    let of_system = preloaded_by_system(&process.join("root"));
    let entries = of_environment
        .unwrap_or_default()
        .split(|byte| b" :".contains(byte))
        .chain(of_system.iter().map(Vec::as_slice))
        .filter(|entry| !entry.is_empty())
        .map(|entry| PathBuf::from(OsStr::from_bytes(entry)))
        .collect();
    Some(entries)
}

/// The same file, or, where one of them is out of reach or a mere name, files of the same name.
fn same_file(one: &Path, other: &Path) -> bool {
    is_same(one, other).unwrap_or_else(|| one.file_name() == other.file_name())
}

/// Whether they are the same file, if that can be told.
pub(crate) fn is_same(one: &Path, other: &Path) -> Option<bool> {
    let (one, other) = (fs::metadata(one).ok()?, fs::metadata(other).ok()?);
    Some((one.dev(), one.ino()) == (other.dev(), other.ino()))
}
