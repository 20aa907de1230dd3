//! What stands in the way of a switch.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_launch::{
    Environment, Preloaded, entries, environment, is_for_musl, preloaded, shim_file, too_small_for_snmalloc,
};
use malloc_backend_process::{Host, environment_of, host, host_of};
use serde::Serialize;

use super::malloc::{Backend, Malloc, is_same, root_of};

/// Something in the way of a switch.
#[derive(Serialize)]
pub struct Obstacle {
    pub code: &'static str,
    pub message: String,
}

/// What decides, outside of a program, whether it can be switched.
pub struct Around {
    /// `None` where the process has overwritten it.
    env: Option<Environment>,
    /// Where the process sees its files.
    root: PathBuf,
    host: Host,
}

impl Around {
    pub fn here() -> Self {
        Self { env: Some(environment(&entries())), root: PathBuf::new(), host: host() }
    }

    pub fn of(pid: u32) -> Self {
        let env = environment_of(pid).ok().flatten().map(|entries| environment(&entries));
        Self { env, root: root_of(pid), host: host_of(pid) }
    }

    /// What others have preloaded there.
    pub fn preloaded(&self) -> Preloaded {
        self.env.as_ref().map(|env| preloaded(env, &self.root)).unwrap_or_default()
    }

    /// Whether what an entry of a list of preloads names is that file.
    fn names(&self, entry: &[u8], file: &str) -> bool {
        let (entry, file) = (Path::new(OsStr::from_bytes(entry)), Path::new(file));
        if !entry.is_absolute() {
            // The loader has looked for it in folders.
            return entry.file_name() == file.file_name();
        }
        let seen = |path: &Path| match self.root.as_os_str().is_empty() {
            true => path.to_owned(),
            false => self.root.join(path.strip_prefix("/").unwrap_or(path)),
        };
        // By another path perhaps: /lib leads to /usr/lib in most systems.
        is_same(&seen(entry), &seen(file))
    }

    /// Whether its C library is musl; `None` for a static program.
    pub fn is_musl(&self) -> Option<bool> {
        self.host.interpreter.as_ref().map(|loader| loader.contains("ld-musl"))
    }
}

impl Obstacle {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Whether no backend gets past it.
    pub fn is_final(&self) -> bool {
        matches!(self.code, "STATIC" | "SECURE" | "LIBC")
    }
}

/// All of them.
pub fn obstacles(
    malloc: &Malloc,
    around: &Around,
    others: &Preloaded,
    folder: &Path,
    tried: &[Backend],
) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let path = &malloc.owner;
    match malloc.kind {
        "static" => {
            found.push(Obstacle::new("STATIC", format!("{path} is static: nothing can be preloaded into it")));
        }
        "foreign" => found.push(Obstacle::new(
            "FOREIGN_PRELOAD",
            format!(
                "{path} serves malloc, preloaded or linked by someone else; \"run\" leaves it out of LD_PRELOAD, and puts \
                 the backend before what is linked"
            ),
        )),
        _ => {}
    }
    let named = others.allocators.iter().map(|file| ("LD_PRELOAD", file));
    let named = named.chain(others.of_system.iter().map(|file| (SYSTEM, file)));
    found.extend(
        named
            .filter(|(_, file)| !around.names(file, path))
            .map(|(who, file)| Obstacle::new("FOREIGN_PRELOAD", names_allocator(who, file))),
    );
    if around.host.secure {
        found.push(Obstacle::new(
            "SECURE",
            "AT_SECURE is set: the process was started with more rights than its caller, and nothing is preloaded into \
             such",
        ));
    }
    let is_for_musl = is_for_musl(&shim_file(folder, MemoryAllocatorBackend::Default));
    if let Some(is_musl) = around.is_musl().filter(|is_musl| *is_musl != is_for_musl) {
        let name = |is_musl: bool| if is_musl { "musl" } else { "glibc" };
        found.push(Obstacle::new(
            "LIBC",
            format!(
                "its C library is {}, and the libraries here are for {}",
                name(is_musl),
                name(is_for_musl)
            ),
        ));
    }
    let Host { address_space, data, .. } = around.host;
    found.extend(
        too_small_for_snmalloc(address_space, data).map(|reason| Obstacle::new("ADDRESS_SPACE", reason)),
    );
    // This command's own limits are no matter to another process.
    let Host { address_space, data, .. } = host();
    let own = too_small_for_snmalloc(address_space, data);
    let mut without: Vec<(&str, Vec<&str>)> = Vec::new();
    for Backend { backend, reason, .. } in tried.iter().filter(|each| each.backend != "rust") {
        let Some(reason) = reason.as_deref() else { continue };
        let is_said = own.as_deref().is_some_and(|own| reason.contains(own))
            || others.of_system.iter().any(|other| reason == names_allocator(SYSTEM, other));
        match without.iter_mut().find(|(other, _)| *other == reason) {
            _ if is_said => {}
            Some((_, backends)) => backends.push(backend),
            None => without.push((reason, vec![backend])),
        }
    }
    found.extend(
        without
            .into_iter()
            .map(|(reason, backends)| Obstacle::new("MISSING", format!("{}: {reason}", backends.join(", ")))),
    );
    found
}

/// What is preloaded into every program.
pub const SYSTEM: &str = "/etc/ld.so.preload";

/// Why a file is in the way that someone preloads.
pub fn names_allocator(who: &str, file: &[u8]) -> String {
    format!("{who} names {}, which has a malloc of its own", String::from_utf8_lossy(file))
}
