//! The environment under which a program runs on a backend, and how that is undone.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend::files::shim_backend;
use malloc_backend::variables::{CHILDREN, PRELOAD, REPORT, REQUIRE, RESTORE, decode, encode};
use malloc_backend_process::{Loader, host};

use crate::library::{BINARY_DIR, shim_file, why_not_preloadable, why_not_usable};
use crate::options::{PRIVATE, option_variables, releases_when_idle};
use crate::{Code, Environment, Preset, Refusal};

/// Whether the programs that a program starts are switched too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Children {
    /// By inheritance.
    #[default]
    Inherit,
    /// They run as if it had not been.
    None,
}

impl FromStr for Children {
    type Err = Refusal;

    fn from_str(name: &str) -> Result<Self, Refusal> {
        match name {
            "inherit" => Ok(Self::Inherit),
            "none" => Ok(Self::None),
            _ => Err(Refusal::new(
                Code::InvalidArgument,
                format!("children must be 'inherit' or 'none', not {name:?}"),
            )),
        }
    }
}

/// How a program is to be switched.
#[derive(Clone, Debug)]
pub struct Switch<'a> {
    /// To which backend.
    pub backend: MemoryAllocatorBackend,
    /// What the allocator is tuned for; `None` for [`Preset::Balanced`], and for a backend without presets.
    pub preset: Option<Preset>,
    /// Single options of the allocator, over the preset and over the user's variables.
    pub set: &'a [(String, String)],
    /// And its children.
    pub children: Children,
    /// For `default`: with the library that proves that libc owns `malloc`.
    pub probe: bool,
    /// The folder of the preloadable libraries.
    pub folder: &'a Path,
}

/// The environment that switches a program.
#[derive(Clone, Debug)]
pub struct Switched {
    /// Its variables.
    pub variables: Environment,
    /// Whether another allocator was left out of LD_PRELOAD, in words for whoever asked for the switch.
    pub notice: Option<String>,
}

/// The environment that switches a program. Another allocator that LD_PRELOAD names is left out: it would keep
/// threads and memory beside the one that serves, and functions that the program might call. The program's children have
/// it again where they are not to be switched.
///
/// # Errors
/// [`Code::UnknownPreset`], [`Code::UnknownOption`], [`Code::InvalidArgument`] for a value that the option does not take,
/// [`Code::BackendUnavailable`], [`Code::ShimMissing`]; [`Code::ForeignPreload`] for `default`, where the system
/// preloads another allocator into every program.
pub fn switched_environment(switch: &Switch<'_>, given: &Environment) -> Result<Switched, Refusal> {
    let &Switch { backend, children, folder, .. } = switch;
    require_process_surface(backend, folder)?;
    let mut env = without_switch(given);
    let Preloaded { allocators, others, of_system } = preloaded(&env, Path::new(""));
    let is_default = backend == MemoryAllocatorBackend::Default;
    if is_default && let Some(allocator) = of_system.first() {
        return Err(preloaded_by_system(allocator));
    }
    with_options(backend, switch.preset, switch.set, &mut env)?;
    // For `default` the library is the probe. It takes the options away from the program's children, too, and has the thread
    // of idle release.
    let own = (!is_default || switch.probe || children == Children::None || releases_when_idle(&env))
        .then(|| preloadable(&shim_file(folder, backend)))
        .transpose()?;
    let is_undone = own.is_some() && !allocators.is_empty();
    let preloaded = own.into_iter().chain(others).collect::<Vec<_>>().join(&b':');
    if is_undone {
        record(&[(PRELOAD.to_bytes().into(), preloaded.clone())], &mut env);
    }
    match preloaded.is_empty() {
        true => env.remove(PRELOAD.to_bytes()),
        false => env.insert(PRELOAD.to_bytes().into(), preloaded),
    };
    if children == Children::None {
        env.insert(CHILDREN.to_bytes().into(), b"none".to_vec());
    }
    Ok(Switched { variables: env, notice: notice(backend, &allocators) })
}

fn notice(backend: MemoryAllocatorBackend, allocators: &[Vec<u8>]) -> Option<String> {
    let names: Vec<_> = allocators.iter().map(|entry| String::from_utf8_lossy(entry)).collect();
    let (what, entries) = match names.len() {
        0 => return None,
        1 => ("another allocator", "this entry is"),
        _ => ("other allocators", "these entries are"),
    };
    let names = names.join(" and ");
    let on = match backend {
        MemoryAllocatorBackend::Default => "libc's malloc",
        backend => backend.as_str(),
    };
    Some(format!("LD_PRELOAD names {what}, {names}; {entries} removed, because the program runs on {on}"))
}

/// Changes the environment so that the allocator finds its options in it, and says how to undo that.
///
/// # Errors
/// [`Code::UnknownPreset`], [`Code::UnknownOption`], [`Code::InvalidArgument`].
pub fn with_options(
    backend: MemoryAllocatorBackend,
    preset: Option<Preset>,
    set: &[(String, String)],
    env: &mut Environment,
) -> Result<(), Refusal> {
    let changed = option_variables(backend, preset, set, env, is_musl())?;
    record(&changed, env);
    env.extend(changed);
    Ok(())
}

/// Writes down what is about to be set and what is there, so that it can be undone. A variable of ours is just removed,
/// where there was none before: an outer switch's, in which this one is nested.
fn record(changes: &[(Vec<u8>, Vec<u8>)], env: &mut Environment) {
    let one = |(name, ours): &(Vec<u8>, Vec<u8>)| {
        let before = env.get(name).map(Vec::as_slice);
        let parts: Vec<Vec<u8>> = [&name[..], ours].into_iter().chain(before).map(encode).collect();
        parts.join(&b'|')
    };
    let is_just_removed =
        |name: &[u8]| PRIVATE.iter().any(|own| own.to_bytes() == name) && !env.contains_key(name);
    let new: Vec<Vec<u8>> = changes.iter().filter(|(name, _)| !is_just_removed(name)).map(one).collect();
    if new.is_empty() {
        return;
    }
    let outer = env.get(RESTORE.to_bytes()).cloned();
    let all: Vec<Vec<u8>> = outer.into_iter().chain(new).collect();
    env.insert(RESTORE.to_bytes().into(), all.join(&b';'));
}

/// Whether the C library here is musl. Its malloc has nothing to be set.
pub fn is_musl() -> bool {
    host().interpreter.is_some_and(|interpreter| interpreter.contains("ld-musl"))
}

/// Why the backend cannot serve a whole process, if it cannot.
pub fn why_not_process(backend: MemoryAllocatorBackend, folder: &Path) -> Option<String> {
    if backend == MemoryAllocatorBackend::Rust {
        return Some(
            "Rust's global allocator uses malloc, so it cannot replace malloc for a whole process".to_owned(),
        );
    }
    why_not_usable(&shim_file(folder, backend))
}

fn require_process_surface(backend: MemoryAllocatorBackend, folder: &Path) -> Result<(), Refusal> {
    let Some(reason) = why_not_process(backend, folder) else { return Ok(()) };
    let (code, remedy) = match backend {
        MemoryAllocatorBackend::Rust => (Code::BackendUnavailable, "choose jemalloc, mimalloc or snmalloc"),
        _ if env::var_os(BINARY_DIR).is_some_and(|folder| !folder.is_empty()) => {
            (Code::ShimMissing, "MALLOC_BACKEND_BINARY_DIR names that folder")
        }
        _ => (Code::ShimMissing, "install the platform package again"),
    };
    Err(Refusal::new(code, format!("cannot run a program on {backend}: {reason}; {remedy}")))
}

/// The library's file, if the loader can be pointed at it.
pub(crate) fn preloadable(file: &Path) -> Result<Vec<u8>, Refusal> {
    match why_not_preloadable(file) {
        None => Ok(file.as_os_str().as_bytes().to_vec()),
        Some(reason) => Err(Refusal::new(Code::ShimMissing, reason)),
    }
}

/// What is preloaded in the environment (ld.so(8)).
pub fn preload_entries(env: &Environment) -> impl Iterator<Item = &[u8]> {
    let value = env.get(PRELOAD.to_bytes()).map_or(&b""[..], Vec::as_slice);
    value.split(|byte| b" :".contains(byte)).filter(|entry| !entry.is_empty())
}

/// What is preloaded and is none of ours.
#[derive(Clone, Debug, Default)]
pub struct Preloaded {
    /// By the environment: what has a malloc.
    pub allocators: Vec<Vec<u8>>,
    /// By the environment: everything else.
    pub others: Vec<Vec<u8>>,
    /// By /etc/ld.so.preload: what has a malloc.
    pub of_system: Vec<Vec<u8>>,
}

/// What is preloaded with that environment; `root` is where another process sees its files.
pub fn preloaded(env: &Environment, root: &Path) -> Preloaded {
    let library_path = env.get(&b"LD_LIBRARY_PATH"[..]).map(|path| OsStr::from_bytes(path));
    let loader = Loader::new(root, library_path);
    let is_allocator = |entry: &Vec<u8>| loader.is_allocator(entry);
    let of_environment = preload_entries(env).filter(|entry| !is_shim(entry)).map(<[u8]>::to_vec);
    let (allocators, others) = of_environment.partition(is_allocator);
    let of_system = if is_musl() { Vec::new() } else { loader.preloaded_by_system() };
    let of_system = of_system.into_iter().filter(|entry| !is_shim(entry) && is_allocator(entry)).collect();
    Preloaded { allocators, others, of_system }
}

/// Whether the file is one of our preloadable libraries, of this or another installation.
fn is_shim(file: &[u8]) -> bool {
    let name = Path::new(OsStr::from_bytes(file)).file_name().map_or(&b""[..], OsStr::as_bytes);
    str::from_utf8(name).is_ok_and(|name| shim_backend(name).is_some())
}

fn preloaded_by_system(allocator: &[u8]) -> Refusal {
    Refusal::new(
        Code::ForeignPreload,
        format!(
            "the program would not run on libc's malloc: /etc/ld.so.preload names {}, which has its own malloc; \
             remove this line from /etc/ld.so.preload",
            String::from_utf8_lossy(allocator)
        ),
    )
}

/// The environment as it was before an outer switch, if there was one.
pub fn without_switch(given: &Environment) -> Environment {
    let mut env = given.clone();
    let record = env.get(RESTORE.to_bytes()).cloned().unwrap_or_default();
    for change in record.split(|byte| *byte == b';').filter(|change| !change.is_empty()) {
        let mut parts = change.split(|byte| *byte == b'|').map(decode);
        let (name, ours) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if env.get(&name) == Some(&ours) {
            match parts.next() {
                None => env.remove(&name),
                Some(before) => env.insert(name, before),
            };
        }
    }
    let preloaded: Vec<Vec<u8>> =
        preload_entries(&env).filter(|entry| !is_shim(entry)).map(<[u8]>::to_vec).collect();
    for name in [PRELOAD, REPORT, REQUIRE, CHILDREN, RESTORE].iter().chain(&PRIVATE) {
        env.remove(name.to_bytes());
    }
    if !preloaded.is_empty() {
        env.insert(PRELOAD.to_bytes().into(), preloaded.join(&b':'));
    }
    env
}
