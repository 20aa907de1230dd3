//! How a Python is started: which allocator serves which of its domains, and the environment that says so to the preloaded
//! hook, `crates/python-hook`.

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend::files::{PYTHON_HOOK, PYTHON_PROFILE};
use malloc_backend::variables::{PRELOAD, PROFILE_FILE, PYTHON, PYTHON_CHILDREN, RESTORE};
use malloc_backend_process::{Executable, host, inspect};
use malloc_backend_python::{Config, Domain, asks_for_dev_mode};

use crate::environment::{Children, Switch, Switched, preloadable, switched_environment, with_options};
use crate::launch::{Context, Launch, find_program, prepare_launch, too_small_for_snmalloc};
use crate::library::why_not_usable;
use crate::options::PRIVATE;
use crate::{Code, Environment, Preset, Refusal};

/// What the caller calls the options that a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionNames {
    mem: &'static str,
    obj: &'static str,
    arena: &'static str,
    debug: &'static str,
    unset: &'static str,
}

impl OptionNames {
    /// Of the package's API.
    pub const API: Self = Self {
        mem: "allocatorMem",
        obj: "allocatorObj",
        arena: "allocatorPymallocArena",
        debug: "allocatorDebug",
        unset: "unsetPythonMalloc",
    };
    /// Of the command.
    pub const COMMAND: Self =
        Self { mem: "--mem", obj: "--obj", arena: "--arena", debug: "--debug", unset: "--unset" };
}

/// Which allocators a Python gets.
#[derive(Clone, Copy, Debug)]
pub struct PythonConfig {
    /// Its domains.
    pub domains: Config,
    /// Whether to remove an inherited `PYTHONMALLOC` or `PYTHONDEVMODE` instead of refusing it.
    pub unset: bool,
    /// For messages.
    pub names: OptionNames,
}

/// How a Python is started, besides its domains.
#[derive(Clone, Debug)]
pub struct PythonSwitch<'a> {
    /// The backend of the whole process; `None` leaves its `malloc` alone.
    pub malloc: Option<MemoryAllocatorBackend>,
    /// For `malloc`, else for the domains' backend.
    pub preset: Option<Preset>,
    /// Single options of the same allocator.
    pub set: &'a [(String, String)],
    /// Whether the programs that Python starts have the domains, and `malloc`, too.
    pub children: Children,
    /// The file for a heap profile of Python.
    pub profile: Option<&'a OsStr>,
    /// The folder of the preloadable libraries.
    pub folder: &'a Path,
}

impl PythonConfig {
    /// Refuses what contradicts itself or would do nothing.
    ///
    /// # Errors
    /// [`Code::PythonConfig`]; [`Code::BackendUnavailable`] for an snmalloc that has no room.
    pub fn check(&self) -> Result<(), Refusal> {
        let Self { domains: Config { backend, domains, .. }, names, .. } = *self;
        let is_on = |domain: Domain| domains[domain as usize];
        if is_on(Domain::Arena) && (is_on(Domain::Mem) || is_on(Domain::Obj)) {
            let OptionNames { mem, obj, arena, .. } = names;
            return Err(Refusal::new(
                Code::PythonConfig,
                format!(
                    "{arena} cannot be combined with {mem} or {obj}: these two replace pymalloc, so there are no arenas; turn \
                     one of them off"
                ),
            ));
        }
        if backend != MemoryAllocatorBackend::Default && domains == [false; 4] {
            return Err(Refusal::new(
                Code::PythonConfig,
                format!(
                    "every domain is off, so {backend} would do nothing; turn on raw or another domain, or choose the \
                     backend default"
                ),
            ));
        }
        let host = host();
        let is_short = (backend == MemoryAllocatorBackend::Snmalloc)
            .then(|| too_small_for_snmalloc(host.address_space, host.data))
            .flatten();
        match is_short {
            Some(why) => {
                Err(Refusal::new(Code::BackendUnavailable, format!("cannot run Python on {backend}: {why}")))
            }
            None => Ok(()),
        }
    }

    /// The environment without the variables by which Python discards the allocators that were chosen for it.
    ///
    /// # Errors
    /// [`Code::PythonEnvironment`], unless they may be unset.
    pub fn without_override(&self, given: &Environment) -> Result<Environment, Refusal> {
        const OVERRIDING: [&str; 2] = ["PYTHONMALLOC", "PYTHONDEVMODE"];
        let is_set = |name: &&str| given.get(name.as_bytes()).is_some_and(|value| !value.is_empty());
        let set: Vec<&str> = OVERRIDING.into_iter().filter(is_set).collect();
        let mut env = given.clone();
        if set.is_empty() || !self.domains.chooses() {
            return Ok(env);
        }
        if !self.unset {
            let (names, is) = (set.join(" and "), if set.len() > 1 { "are" } else { "is" });
            return Err(Refusal::new(
                Code::PythonEnvironment,
                format!(
                    "{names} {is} set, so Python would replace the chosen allocators; remove the setting from the \
                     environment, or let malloc-backend remove it with {}",
                    self.names.unset
                ),
            ));
        }
        env.retain(|name, _| !OVERRIDING.iter().any(|overriding| overriding.as_bytes() == name));
        Ok(env)
    }

    /// Refuses `-X dev` among Python's own arguments: it is dev mode, too.
    fn refuse_dev_mode(&self, arguments: &[OsString]) -> Result<(), Refusal> {
        let words = arguments.iter().map(|word| word.as_bytes());
        if !self.domains.chooses() || !asks_for_dev_mode(words) {
            return Ok(());
        }
        Err(Refusal::new(
            Code::PythonEnvironment,
            format!(
                "with -X dev, Python would replace the chosen allocators; omit -X dev, or turn on only the debug hooks with \
                 {}",
                self.names.debug
            ),
        ))
    }
}

/// The preloaded library that sets Python's domains.
pub fn hook_file(folder: &Path) -> PathBuf {
    folder.join(PYTHON_HOOK)
}

/// The environment under which Python has its domains on the backend. The hook restores the environment of before, in Python
/// itself and not in a launcher in front of it, for the programs that Python starts.
///
/// # Errors
/// [`Code::PythonEnvironment`], [`Code::ShimMissing`], and those of [`switched_environment`].
pub fn python_environment(
    config: &PythonConfig,
    arguments: &[OsString],
    switch: &PythonSwitch<'_>,
    given: &Environment,
) -> Result<Switched, Refusal> {
    config.refuse_dev_mode(arguments)?;
    let &PythonSwitch { malloc, preset, set, children, profile, folder } = switch;
    let usable = |file: PathBuf| match why_not_usable(&file) {
        Some(reason) => {
            let message = format!("{reason}; install the platform package again");
            Err(Refusal::new(Code::ShimMissing, message))
        }
        None => preloadable(&file),
    };
    let hook = usable(hook_file(folder))?;
    // In front of the hook: the loader starts the last library first, and the profile stands in front of the domains.
    let profiler = match profile {
        Some(_) if !cfg!(target_arch = "x86_64") => {
            let message = "a heap profile of native memory works on Linux on x64 only for now";
            return Err(Refusal::new(Code::BackendUnavailable, message));
        }
        Some(_) => Some(usable(folder.join(PYTHON_PROFILE))?),
        None => None,
    };
    let given = config.without_override(given)?;
    let Switched { variables: mut env, notice } = match malloc {
        None => {
            let mut env = given.clone();
            let backend = config.domains.backend;
            // Python keeps these domains, and nobody chose an allocator that a preset could tune.
            let untouched = (backend == MemoryAllocatorBackend::Default).then_some(Preset::None);
            with_options(backend, preset.or(untouched), set, &mut env)?;
            Switched { variables: env, notice: None }
        }
        Some(backend) => {
            let whole = Switch { backend, preset, set, children: Children::Inherit, probe: false, folder };
            switched_environment(&whole, &given)?
        }
    };
    let preload = PRELOAD.to_bytes();
    let others = env.get(preload).filter(|value| !value.is_empty()).cloned();
    let libraries: Vec<_> = others.into_iter().chain(profiler).chain([hook]).collect();
    env.insert(preload.to_vec(), libraries.join(&b':'));
    if let Some(file) = profile {
        env.insert(PROFILE_FILE.to_bytes().into(), file.as_bytes().to_vec());
    }
    env.insert(PYTHON.to_bytes().into(), config.domains.to_string().into_bytes());
    // What came along for this child alone is taken away again by the hook.
    let mut settings = PRIVATE.into_iter().chain([RESTORE]).map(CStr::to_bytes);
    let restores = settings.any(|name| env.get(name) != given.get(name));
    let left = [("restore", restores), ("unswitch", malloc.is_some())];
    let left = left.into_iter().filter(|(_, is_left)| *is_left).map(|(word, _)| word);
    let theirs = match children {
        Children::Inherit => "inherit".to_owned(),
        Children::None => left.collect::<Vec<_>>().join(","),
    };
    env.insert(PYTHON_CHILDREN.to_bytes().into(), theirs.into_bytes());
    Ok(Switched { variables: env, notice })
}

/// What to hand to `execve` for a Python. Of a script only Python itself can tell in the end: it may be a launcher.
///
/// # Errors
/// Those of [`prepare_launch`]; [`Code::CannotSwitch`] also for a program that is no Python.
pub fn prepare_python(
    malloc: Option<MemoryAllocatorBackend>,
    folder: &Path,
    python: &OsStr,
    arguments: &[OsString],
    context: &Context,
) -> Result<Launch, Refusal> {
    // For domains alone any library that is preloaded will do: the program is asked the same for each.
    let backend = malloc.unwrap_or(MemoryAllocatorBackend::Mimalloc);
    let launch = prepare_launch(backend, folder, python, arguments, context)?;
    // The command itself, and not what `env` finds for a script's first line: that is the launcher's shell.
    let file = crate::absolute(&find_program(python, context, "the command")?, context);
    match inspect(&file) {
        Ok(Executable::Elf { is_python: false, .. }) => Err(Refusal::new(
            Code::CannotSwitch,
            format!(
                "{} is not CPython, or does not export CPython's interface: it neither defines PyMem_SetAllocator nor needs a \
                 libpython",
                file.display()
            ),
        )),
        _ => Ok(launch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str, unset: bool) -> PythonConfig {
        PythonConfig { domains: text.parse().expect(text), unset, names: OptionNames::COMMAND }
    }

    #[test]
    fn what_contradicts_itself_or_does_nothing_is_refused() {
        for text in ["default", "default,debug", "jemalloc,raw", "mimalloc,mem,obj", "rust,raw,arena"] {
            assert_eq!(config(text, false).check(), Ok(()), "{text}");
        }
        for (text, why) in [
            ("jemalloc,raw,arena,mem", "--arena cannot be combined with --mem or --obj"),
            ("default,arena,obj", "--arena cannot be combined with --mem or --obj"),
            ("mimalloc", "every domain is off, so mimalloc would do nothing"),
            ("rust,debug", "every domain is off, so rust would do nothing"),
        ] {
            let refusal = config(text, false).check().expect_err(text);
            assert_eq!(refusal.code, Code::PythonConfig);
            assert!(refusal.message.starts_with(why), "{refusal}");
        }
    }

    #[test]
    fn variables_that_would_discard_the_choice_are_refused_or_removed() {
        let set = |name: &str, value: &str| -> Environment {
            [(name, value), ("HOME", "/")].map(|(name, value)| (name.into(), value.into())).into()
        };
        for name in ["PYTHONMALLOC", "PYTHONDEVMODE"] {
            let env = set(name, "1");
            let refusal = config("rust,raw", false).without_override(&env).unwrap_err();
            assert_eq!(refusal.code, Code::PythonEnvironment);
            assert!(refusal.message.starts_with(&format!("{name} is set")), "{refusal}");
            let home: Environment = [(b"HOME".to_vec(), b"/".to_vec())].into();
            assert_eq!(config("default,debug", true).without_override(&env), Ok(home));
            // There is no choice, or Python takes the variable for unset.
            assert_eq!(config("default,raw", false).without_override(&env), Ok(env));
            assert_eq!(config("rust,raw", false).without_override(&set(name, "")), Ok(set(name, "")));
        }
    }

    #[test]
    fn dev_mode_is_refused_where_there_is_a_choice() {
        let words = ["-u", "-X", "dev"].map(OsString::from);
        let refusal = config("rust,raw", true).refuse_dev_mode(&words).unwrap_err();
        assert_eq!(refusal.code, Code::PythonEnvironment);
        assert!(refusal.message.ends_with("turn on only the debug hooks with --debug"));
        assert_eq!(config("default,raw", false).refuse_dev_mode(&words), Ok(()));
        assert_eq!(config("rust,raw", false).refuse_dev_mode(&words[..1]), Ok(()));
    }
}
