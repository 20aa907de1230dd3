//! What serves a process's `malloc`, and which backends could.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::shim_file;
use malloc_backend_process::{Allocator, Owner, OwnerKind};
use serde::Serialize;

/// A backend, and whether it can serve a whole process that is started here.
#[derive(Serialize)]
pub struct Backend {
    pub backend: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub available: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The allocator that serves `malloc`, with the fields of the package's `activeBackend`.
#[derive(Serialize)]
pub struct Malloc {
    pub kind: &'static str,
    pub allocator: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The file, as the process sees it.
    pub owner: String,
}

impl Malloc {
    /// `root` is where the process sees its files.
    pub fn new(owner: &Owner, root: &Path, folder: &Path, tried: &[Backend]) -> Self {
        let path = owner.path.clone();
        let file = root.join(path.trim_start_matches('/'));
        let version_of = |backend: MemoryAllocatorBackend, own: &Path| {
            let known = tried.iter().find(|each| each.backend == backend.as_str())?.version.clone()?;
            is_same(own, &file).then_some(known)
        };
        let (kind, allocator, backend, version) = match &owner.kind {
            OwnerKind::StaticProgram => ("static", "unknown".to_owned(), None, None),
            OwnerKind::Allocator(Allocator::Foreign(name)) => ("foreign", name.clone(), None, None),
            OwnerKind::Allocator(Allocator::Libc(name)) => {
                // The probe's report is about the C library of this root.
                let known = version_of(MemoryAllocatorBackend::Default, Path::new(&path));
                let known = known.and_then(|known| Some(known.strip_prefix(name)?.trim().to_owned()));
                ("libc", (*name).to_owned(), Some(MemoryAllocatorBackend::Default.as_str()), known)
            }
            OwnerKind::Allocator(Allocator::Shim(backend)) => {
                let known = version_of(*backend, &shim_file(folder, *backend));
                ("shim", backend.to_string(), Some(backend.as_str()), known)
            }
        };
        Self { kind, allocator, backend, version: owner.version.clone().or(version), owner: path }
    }
}

pub fn root_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root"))
}

pub fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |file: &Path| fs::metadata(file).map(|file| (file.dev(), file.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}
