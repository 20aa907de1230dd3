//! The libraries that a program would have, found as the dynamic loader finds them (ld.so(8)) before it runs.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::allocator::Allocator;
use crate::elf::Elf;
use crate::host::host;

/// The dynamic loader, and where it looks for libraries.
pub struct Loader<'a> {
    /// Where the program sees its files: empty for this process's own.
    root: &'a Path,
    /// LD_LIBRARY_PATH.
    of_user: Vec<PathBuf>,
    machine: String,
    /// What ldconfig(8) has found in the system's folders.
    cache: OnceCell<Vec<u8>>,
}

/// A library, or the program itself.
struct Object {
    path: PathBuf,
    elf: Elf,
}

impl<'a> Loader<'a> {
    /// The loader's ways under that root, for a program with that LD_LIBRARY_PATH.
    pub fn new(root: &'a Path, library_path: Option<&OsStr>) -> Self {
        let folders = library_path.map_or(&b""[..], OsStr::as_bytes).split(|byte| b":;".contains(byte));
        let folders = folders.filter(|folder| !folder.is_empty());
        Self {
            root,
            of_user: folders.map(|folder| PathBuf::from(OsStr::from_bytes(folder))).collect(),
            machine: host().machine,
            cache: OnceCell::new(),
        }
    }

    /// What the system preloads, by its entries in /etc/ld.so.preload.
    pub fn preloaded_by_system(&self) -> Vec<Vec<u8>> {
        preloaded_by_system(self.root)
    }

    /// Whether the file that an entry of LD_PRELOAD or /etc/ld.so.preload names has a malloc.
    pub fn is_allocator(&self, entry: &[u8]) -> bool {
        self.find(Path::new(OsStr::from_bytes(entry)), &[])
            .is_some_and(|object| object.elf.defined(["malloc"]).is_some())
    }

    /// What the program, or a library of its, calls of another allocator's own functions that the library of ours does
    /// not have: the one who calls, the function, and the allocator's file. Its blocks would come from one heap and go
    /// to the other.
    pub fn private_call(&self, program: &Path, shim: &Path) -> Option<(PathBuf, String, PathBuf)> {
        let program = Object { path: program.to_owned(), elf: Elf::open(program).ok()? };
        let objects = self.with_needed(program);
        let is_foreign = |object: &&Object| {
            matches!(Allocator::in_file(&object.elf, &object.path), Some(Allocator::Foreign(_)))
        };
        let (allocators, others): (Vec<_>, Vec<_>) = objects.iter().partition(is_foreign);
        if allocators.is_empty() {
            return None;
        }
        let shim = Elf::open(shim).ok()?;
        let has = |elf: &Elf, name: &str| elf.defined([name]).is_some();
        others.iter().find_map(|caller| {
            let imports = caller.elf.imports();
            let names = imports
                .into_iter()
                .filter(|name| !has(&shim, name) && !others.iter().any(|other| has(&other.elf, name)));
            let mut calls = names.filter_map(|name| {
                let allocator = allocators.iter().find(|allocator| has(&allocator.elf, &name))?;
                Some((caller.path.clone(), name, allocator.path.clone()))
            });
            calls.next()
        })
    }

    /// The program, what the system preloads, and what these need, and what those need in turn.
    fn with_needed(&self, program: Object) -> Vec<Object> {
        let system = self.preloaded_by_system();
        let preloaded = system.iter().filter_map(|entry| self.find(Path::new(OsStr::from_bytes(entry)), &[]));
        let mut objects: Vec<Object> = [program].into_iter().chain(preloaded).collect();
        let mut seen: Vec<PathBuf> = Vec::new();
        let mut at = 0;
        while at < objects.len() {
            let object = &objects[at];
            let dependencies = object.elf.dependencies();
            let origin = object.path.parent().unwrap_or(Path::new("/"));
            let folders: Vec<PathBuf> =
                dependencies.search.iter().map(|folder| from_origin(folder, origin)).collect();
            for name in dependencies.needed {
                if !seen.contains(&name) {
                    objects.extend(self.find(&name, &folders));
                    seen.push(name);
                }
            }
            at += 1;
        }
        objects
    }

    /// The library of that name: a path is the file's, and a mere name is looked for, first in the folders that the one
    /// who needs it names. What is built for another machine the loader passes over.
    fn find(&self, name: &Path, folders: &[PathBuf]) -> Option<Object> {
        if name.as_os_str().as_bytes().contains(&b'/') {
            return self.open(name.to_owned());
        }
        let named = folders.iter().chain(&self.of_user).map(|folder| folder.join(name));
        let cache = || fs::read(outside(self.root, Path::new("/etc/ld.so.cache"))).unwrap_or_default();
        let cached = cached(self.cache.get_or_init(cache), name.as_os_str().as_bytes());
        // Where there is no cache of the loader's (musl), its own list begins as this one.
        let machine = &self.machine;
        let of_system = ["/usr/local/lib", "/lib64", "/usr/lib64", "/lib", "/usr/lib"]
            .map(PathBuf::from)
            .into_iter()
            .chain(["/lib", "/usr/lib"].map(|folder| PathBuf::from(format!("{folder}/{machine}-linux-gnu"))))
            .map(|folder| folder.join(name));
        named.chain(cached.into_iter().flatten()).chain(of_system).find_map(|file| self.open(file))
    }

    fn open(&self, path: PathBuf) -> Option<Object> {
        let elf = Elf::open(&outside(self.root, &path)).ok()?;
        let kind = elf.kind()?;
        (kind.machine == self.machine && kind.bits == 64).then_some(Object { path, elf })
    }
}

/// What the system's administrator has preloaded into every program, whose files lie under that root. (musl has no such
/// list.)
pub(crate) fn preloaded_by_system(root: &Path) -> Vec<Vec<u8>> {
    let list = fs::read(outside(root, Path::new("/etc/ld.so.preload"))).unwrap_or_default();
    // As glibc reads it: a # and what follows it in the line is a comment.
    list.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b'#').next())
        .flat_map(|line| line.split(|byte| b" \t:".contains(byte)))
        .filter(|entry| !entry.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// The path as it is seen from outside of a root.
fn outside(root: &Path, file: &Path) -> PathBuf {
    match root.as_os_str().is_empty() {
        true => file.to_owned(),
        false => root.join(file.strip_prefix("/").unwrap_or(file)),
    }
}

/// The files of that name in a cache (glibc, sysdeps/generic/dl-cache.h, `cache_file_new`); an old one may stand before it,
/// which ends with it. Behind a header of 48 bytes come entries of 24, each with the offsets of two strings.
fn cached(file: &[u8], wanted: &[u8]) -> Option<impl Iterator<Item = PathBuf>> {
    const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
    const HEADER: usize = 48;
    const ENTRY: usize = 24;
    let start = file.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let cache = &file[start..];
    let number = move |at: usize| {
        let bytes = cache.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?) as usize)
    };
    let string = move |at: usize| cache.get(at..)?.split(|byte| *byte == 0).next();
    let count = number(MAGIC.len())?;
    let entries = (0..count).map_while(move |index| {
        let entry = HEADER + index * ENTRY;
        Some((string(number(entry + 4)?)?, string(number(entry + 8)?)?))
    });
    let files = entries.filter(move |(name, _)| *name == wanted);
    Some(files.map(|(_, path)| PathBuf::from(OsStr::from_bytes(path))).collect::<Vec<_>>().into_iter())
}

/// A folder of DT_RUNPATH or DT_RPATH, in which $ORIGIN is the one that the object itself is in.
fn from_origin(folder: &Path, origin: &Path) -> PathBuf {
    let Some(text) = folder.to_str() else { return folder.to_owned() };
    let origin = origin.to_string_lossy();
    PathBuf::from(text.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin))
}

/// Whether that is the file of musl's C library, by its name: `libc.so` where musl's own tools, Debian's or zig linked it,
/// and `libc.musl-x86_64.so.1` in Alpine. Its loader is the same file. glibc's is `libc.so.6`.
pub fn is_musl_libc(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().as_bytes();
    name == b"libc.so" || name.starts_with(b"libc.musl-") || name.starts_with(b"ld-musl-")
}
