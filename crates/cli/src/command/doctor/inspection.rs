//! What is found.

use std::collections::BTreeMap;
use std::path::Path;

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_diagnose::{Diagnosis, diagnose};
use malloc_backend_launch::{
    Code, Refusal, environment, is_musl, look, why_not_preloadable, why_not_process,
};
use malloc_backend_process::{
    Host, Parts, Told, descendants, environment_of, host, memory_map, node_version, program_of,
};
use serde::{Serialize, Serializer};

use super::super::system::folder;
use super::asked::Asked;
use super::malloc::{Backend, Malloc, root_of};
use super::obstacles::{Around, Obstacle, SYSTEM, names_allocator, obstacles};
use super::trial::{Waiting, start_on};

/// The whole of it. Numbers of bytes are of physical memory.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    pub platform: String,
    pub libc: Libc,
    /// Bytes.
    pub page_size: u64,
    /// The folder of the libraries.
    pub binaries: String,
    /// With `--pid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Of that process, or of a program that is started here.
    pub malloc: Malloc,
    /// With `--expect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expectation>,
    /// Whether there is a backend that the process, or a program started here, can be switched to.
    pub switchable: bool,
    pub backends: Vec<Backend>,
    pub obstacles: Vec<Obstacle>,
}

#[derive(Serialize)]
pub struct Libc {
    pub name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Serialize)]
pub struct Process {
    pub pid: u32,
    #[serde(flatten)]
    pub settings: Settings,
    /// Bytes, by part; with `--memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Where its memory is, and why; without `--expect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// What it started, and what that started.
    pub children: Vec<Child>,
}

/// As `memory()` of the package has it.
#[derive(Serialize)]
pub struct Memory {
    pub rss: u64,
    #[serde(serialize_with = "by_name")]
    pub parts: Parts,
}

fn by_name<S: Serializer>(parts: &Parts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(parts.named())
}

/// What a process is, and what its allocator was told.
#[derive(Serialize, Default)]
pub struct Settings {
    /// The program's file, as the process sees it.
    pub program: String,
    /// Of Node: its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Absent where it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<&'static str>,
    /// The variables by which the allocator was given options. Absent where the process has overwritten them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
pub struct Child {
    pub pid: u32,
    pub parent: u32,
    #[serde(flatten)]
    pub seen: Seen,
}

/// One that may not be looked into has an error in place of the rest.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Seen {
    Process {
        #[serde(flatten)]
        settings: Settings,
        malloc: Malloc,
    },
    Refused {
        error: OwnedError,
    },
}

#[derive(Serialize)]
pub struct OwnedError {
    pub code: &'static str,
    pub message: String,
}

#[derive(Serialize)]
pub struct Expectation {
    pub backend: &'static str,
    pub met: bool,
}

impl Inspection {
    pub fn make(asked: &Asked) -> Result<Self, Refusal> {
        let folder = folder();
        let waiting = match asked.pid {
            Some(_) => None,
            None => Some(Waiting::start().map_err(|error| {
                let message = format!(
                    "cannot start /bin/sh to look at what it runs on ({error}); name a process: --pid <pid>"
                );
                Refusal::new(Code::ExecFailed, message)
            })?),
        };
        let pid = asked.pid.or(waiting.as_ref().map(Waiting::pid)).unwrap_or_default();
        let owner = look::owner(pid)?;
        let around = if asked.pid.is_some() { Around::of(pid) } else { Around::here() };
        let others = around.preloaded();
        let tried = MemoryAllocatorBackend::ALL
            .map(|backend| try_out(backend, &folder, &others.of_system, asked.pid.is_none()));
        let [default, ..] = &tried;
        let libc = Libc::of(&around, default);
        let malloc = Malloc::new(&owner, &root_of(pid), &folder, &tried);
        let obstacles = obstacles(&malloc, &around, &others, &folder, &tried);
        let process = match asked.pid {
            None => None,
            Some(pid) => {
                let diagnosis = asked.expected.is_none().then(|| diagnose(pid, &owner, None)).transpose()?;
                let process = Process::look_at(pid, &malloc, &folder, &tried, asked.memory)?;
                Some(Process { diagnosis, ..process })
            }
        };
        let is_possible = tried.iter().any(|each| each.available && each.backend != "default");
        let host = host();
        Ok(Self {
            platform: format!("linux-{}", architecture(&host)),
            libc,
            page_size: host.page_size,
            binaries: folder.to_string_lossy().into_owned(),
            expected: asked.expected.map(|backend| Expectation {
                backend: backend.as_str(),
                met: malloc.backend == Some(backend.as_str()),
            }),
            switchable: is_possible && !obstacles.iter().any(Obstacle::is_final),
            process,
            malloc,
            obstacles,
            backends: tried.into(),
        })
    }

    /// What the exit status 1 is for, if it is that.
    pub fn complaint(&self) -> Option<String> {
        let who = match &self.process {
            Some(process) => format!("process {}", process.pid),
            None => "a program that is started here".to_owned(),
        };
        match &self.expected {
            Some(Expectation { met: true, .. }) => None,
            Some(Expectation { backend, .. }) => {
                Some(format!("{who} runs on {}, not on {backend}", self.malloc.allocator))
            }
            None => (!self.switchable).then(|| format!("{who} can be switched to no backend")),
        }
    }
}

/// As Node calls it.
fn architecture(host: &Host) -> &str {
    match host.machine.as_str() {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Libc {
    fn of(around: &Around, default: &Backend) -> Self {
        let is_musl = around.is_musl().unwrap_or_else(is_musl);
        let name = if is_musl { "musl" } else { "glibc" };
        let version = default.version.as_deref().and_then(|version| version.strip_prefix(name));
        Self { name, version: version.map(|version| version.trim().to_owned()) }
    }
}

fn try_out(backend: MemoryAllocatorBackend, folder: &Path, of_system: &[Vec<u8>], is_here: bool) -> Backend {
    let name = backend.as_str();
    // In fewer words than a refusal has, where these suffice.
    let known = why_not_process(backend, folder).or_else(|| why_not_preloadable(folder));
    let tried = match known {
        Some(reason) => Err(reason),
        None => start_on(backend, folder, is_here).map_err(|refusal| refusal.message),
    };
    match (tried, of_system) {
        // The process that is looked at may have another allocator in the way of libc's than this command.
        (tried, [other, ..]) if backend == MemoryAllocatorBackend::Default => {
            let version = tried.ok().map(|report| report.version);
            let reason = Some(names_allocator(SYSTEM, other));
            Backend { backend: name, version, available: false, reason }
        }
        (Ok(report), _) => {
            let version = Some(report.version).filter(|version| !version.is_empty());
            Backend { backend: name, version, available: true, reason: None }
        }
        (Err(reason), _) => Backend { backend: name, version: None, available: false, reason: Some(reason) },
    }
}

impl Process {
    fn look_at(
        pid: u32,
        malloc: &Malloc,
        folder: &Path,
        tried: &[Backend],
        memory: bool,
    ) -> Result<Self, Refusal> {
        let children = descendants(pid).map_err(|error| look::why_not_seen(pid, &error))?;
        let child = |malloc_backend_process::Child { pid, parent }| Child {
            pid,
            parent,
            seen: match look::owner(pid) {
                Ok(owner) => {
                    let malloc = Malloc::new(&owner, &root_of(pid), folder, tried);
                    Seen::Process { settings: Settings::of(pid, &malloc), malloc }
                }
                Err(Refusal { code, message }) => {
                    Seen::Refused { error: OwnedError { code: code.as_str(), message } }
                }
            },
        };
        Ok(Self {
            pid,
            settings: Settings::of(pid, malloc),
            memory: memory.then(|| Memory::of(pid, malloc)).transpose()?,
            diagnosis: None,
            children: children.into_iter().map(child).collect(),
        })
    }
}

impl Memory {
    fn of(pid: u32, malloc: &Malloc) -> Result<Self, Refusal> {
        let map = memory_map(pid).map_err(|error| look::why_not_seen(pid, &error))?;
        Ok(Self { rss: map.rss, parts: Parts::new(&map, &malloc.allocator, &Told::default()) })
    }
}

impl Settings {
    fn of(pid: u32, malloc: &Malloc) -> Self {
        let env = environment_of(pid).ok().flatten().map(|entries| environment(&entries));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let backend = malloc.backend.and_then(|backend| backend.parse().ok());
        Self {
            program: program_of(pid).map(|file| file.to_string_lossy().into_owned()).unwrap_or_default(),
            node: node_version(pid),
            preset: backend
                .zip(env.as_ref())
                .and_then(|(backend, env)| look::preset_in_force(backend, env))
                .map(malloc_backend_launch::Preset::as_str),
            options: env.map(|env| {
                let options = look::options_in_force(&malloc.allocator, &env);
                options.into_iter().map(|(name, value)| (text(name), text(value))).collect()
            }),
        }
    }
}
