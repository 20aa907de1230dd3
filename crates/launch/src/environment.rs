//! The environment under which a program runs on a backend, and how that is undone.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_process::{Executable, host, inspect};

use crate::library::{BINARY_DIR, shim_file, why_not_preloadable, why_not_usable};
use crate::options::{PRIVATE, option_variables};
use crate::{Code, Preset, Refusal};

/// Variables by their names. Bytes, as the system has them.
pub type Environment = BTreeMap<Vec<u8>, Vec<u8>>;

/// The variables of `crates/malloc-shim/src/startup.rs`, where each is explained.
pub mod variables {
    /// What the dynamic loader preloads.
    pub const PRELOAD: &str = "LD_PRELOAD";
    /// The descriptor that the proof is written to.
    pub const REPORT: &str = "MALLOC_BACKEND_REPORT";
    /// The program does not begin where the switch had no effect.
    pub const REQUIRE: &str = "MALLOC_BACKEND_REQUIRE";
    /// `none`: what the program starts is not switched.
    pub const CHILDREN: &str = "MALLOC_BACKEND_CHILDREN";
    /// What was set of the allocator's options, to be undone.
    pub const RESTORE: &str = "MALLOC_BACKEND_RESTORE";

    pub(super) const ALL: [&str; 5] = [PRELOAD, REPORT, REQUIRE, CHILDREN, RESTORE];
}

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
///
/// # Errors
/// [`Code::UnknownPreset`], [`Code::UnknownOption`], [`Code::InvalidArgument`] for a value that the option does not take,
/// [`Code::BackendUnavailable`], [`Code::ShimMissing`], [`Code::ForeignPreload`].
pub fn switched_environment(switch: &Switch<'_>, given: &Environment) -> Result<Environment, Refusal> {
    let &Switch { backend, children, folder, .. } = switch;
    require_process_surface(backend, folder)?;
    let mut env = without_switch(given);
    let others: Vec<Vec<u8>> = preload_entries(&env).map(<[u8]>::to_vec).collect();
    let is_default = backend == MemoryAllocatorBackend::Default;
    if is_default {
        refuse_allocators(&others, &env)?;
    }
    with_options(backend, switch.preset, switch.set, &mut env)?;
    // For `default` the probe takes the options away from the program's children, too.
    let own = (!is_default || switch.probe || children == Children::None)
        .then(|| preloadable(&shim_file(folder, backend)))
        .transpose()?;
    let preloaded: Vec<Vec<u8>> = own.into_iter().chain(others).collect();
    if !preloaded.is_empty() {
        env.insert(variables::PRELOAD.into(), preloaded.join(&b':'));
    }
    if children == Children::None {
        env.insert(variables::CHILDREN.into(), b"none".to_vec());
    }
    Ok(env)
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
    let own = restore_record(&changed, env);
    if !own.is_empty() {
        let outer = env.get(variables::RESTORE.as_bytes()).cloned();
        let record: Vec<Vec<u8>> = outer.into_iter().chain([own]).collect();
        env.insert(variables::RESTORE.into(), record.join(&b';'));
    }
    env.extend(changed);
    Ok(())
}

/// Whether the C library here is musl. Its malloc has nothing to be set.
pub fn is_musl() -> bool {
    host().interpreter.is_some_and(|interpreter| interpreter.contains("ld-musl"))
}

/// Why the backend cannot serve a whole process, if it cannot.
pub fn why_not_process(backend: MemoryAllocatorBackend, folder: &Path) -> Option<String> {
    if backend == MemoryAllocatorBackend::Rust {
        return Some(
            "Rust's global allocator stands on malloc and cannot replace it for a whole process".to_owned(),
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
fn preloadable(file: &Path) -> Result<Vec<u8>, Refusal> {
    match why_not_preloadable(file) {
        None => Ok(file.as_os_str().as_bytes().to_vec()),
        Some(reason) => Err(Refusal::new(Code::ShimMissing, reason)),
    }
}

/// What is preloaded in the environment (ld.so(8)).
pub fn preload_entries(env: &Environment) -> impl Iterator<Item = &[u8]> {
    let value = env.get(variables::PRELOAD.as_bytes()).map_or(&b""[..], Vec::as_slice);
    value.split(|byte| b" :".contains(byte)).filter(|entry| !entry.is_empty())
}

/// Others' allocators that are preloaded in the environment; `root` is where another process sees its files.
pub fn preloaded_allocators(env: &Environment, root: &Path) -> Vec<Vec<u8>> {
    let is_other = |entry: &&[u8]| !is_shim(entry) && is_allocator(entry, env, root);
    preload_entries(env).filter(is_other).map(<[u8]>::to_vec).collect()
}

/// Whether the file is one of our preloadable libraries, of this or another installation.
fn is_shim(file: &[u8]) -> bool {
    let name = Path::new(OsStr::from_bytes(file)).file_name().map_or(&b""[..], OsStr::as_bytes);
    name.strip_prefix(b"libmalloc_backend_")
        .and_then(|rest| rest.strip_suffix(b".so"))
        .is_some_and(|backend| !backend.is_empty() && backend.iter().all(u8::is_ascii_lowercase))
}

/// Whether what LD_PRELOAD names has a malloc.
fn is_allocator(entry: &[u8], env: &Environment, root: &Path) -> bool {
    let file = within(root, &preloaded_file(Path::new(OsStr::from_bytes(entry)), env, root));
    matches!(inspect(&file), Ok(Executable::Elf { defines_malloc: true, .. }))
}

/// A mere name is looked for in LD_LIBRARY_PATH and in the system's folders (ld.so(8)).
fn preloaded_file(entry: &Path, env: &Environment, root: &Path) -> PathBuf {
    if entry.as_os_str().as_bytes().contains(&b'/') {
        return entry.to_owned();
    }
    let machine = host().machine;
    let of_user = env.get(&b"LD_LIBRARY_PATH"[..]).map_or(&b""[..], Vec::as_slice);
    let folders = of_user
        .split(|byte| b":;".contains(byte))
        .filter(|folder| !folder.is_empty())
        .map(|folder| PathBuf::from(OsStr::from_bytes(folder)))
        .chain(["/usr/local/lib", "/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from))
        .chain(["/lib", "/usr/lib"].map(|folder| Path::new(folder).join(format!("{machine}-linux-gnu"))));
    let mut files = folders.map(|folder| folder.join(entry));
    files.find(|file| within(root, file).exists()).unwrap_or_else(|| entry.to_owned())
}

/// The path as it is seen from outside of a root.
fn within(root: &Path, file: &Path) -> PathBuf {
    match root.as_os_str().is_empty() {
        true => file.to_owned(),
        false => root.join(file.strip_prefix("/").unwrap_or(file)),
    }
}

fn refuse_allocators(preloaded: &[Vec<u8>], env: &Environment) -> Result<(), Refusal> {
    let Some(allocator) = preloaded.iter().find(|entry| is_allocator(entry, env, Path::new(""))) else {
        return Ok(());
    };
    Err(Refusal::new(
        Code::ForeignPreload,
        format!(
            "the program would not run on libc's malloc: LD_PRELOAD names {}, which has its own; take it out of \
             LD_PRELOAD",
            String::from_utf8_lossy(allocator)
        ),
    ))
}

/// The environment as it was before an outer switch, if there was one.
pub fn without_switch(given: &Environment) -> Environment {
    let mut env = given.clone();
    let record = env.get(variables::RESTORE.as_bytes()).cloned().unwrap_or_default();
    for change in record.split(|byte| *byte == b';').filter(|change| !change.is_empty()) {
        let mut parts = change.split(|byte| *byte == b'|').map(decoded);
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
    for name in variables::ALL.iter().chain(&PRIVATE) {
        env.remove(name.as_bytes());
    }
    if !preloaded.is_empty() {
        env.insert(variables::PRELOAD.into(), preloaded.join(&b':'));
    }
    env
}

/// What was set and what was there before, so that it can be undone. A variable of ours is just removed, where there was
/// none before: an outer switch's, in which this one is nested.
fn restore_record(changed: &[(Vec<u8>, Vec<u8>)], env: &Environment) -> Vec<u8> {
    let one = |(name, ours): &(Vec<u8>, Vec<u8>)| {
        let before = env.get(name).map(Vec::as_slice);
        let parts: Vec<Vec<u8>> = [&name[..], ours].into_iter().chain(before).map(encoded).collect();
        parts.join(&b'|')
    };
    let is_just_removed =
        |name: &[u8]| PRIVATE.iter().any(|own| own.as_bytes() == name) && !env.contains_key(name);
    let all: Vec<Vec<u8>> = changed.iter().filter(|(name, _)| !is_just_removed(name)).map(one).collect();
    all.join(&b';')
}

fn encoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b'%' | b';' | b'|' | b' ' | b'\t'..=b'\r' => out.extend(format!("%{byte:02x}").bytes()),
            _ => out.push(byte),
        }
    }
    out
}

/// As the library itself does it: crates/preload/src/environment.rs.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        let code = behind.get(..2).filter(|_| byte == b'%');
        let code = code.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        out.push(code.unwrap_or(byte));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    out
}
