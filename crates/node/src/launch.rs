//! How a program is started on a backend. Of an environment only what is to change is handed back, so that other strings stay
//! as they are which JavaScript could not read as UTF-8.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use malloc_backend_launch::{self as launch, Context, Environment, Switch, Switched};
use napi_derive::napi;

use crate::backend::{Backend, Preset};
use crate::errors::{Result, refused};

/// The working directory, the search paths and the user of a command.
#[napi(object, object_to_js = false)]
pub struct LaunchContext {
    #[napi(ts_type = "string | undefined")]
    pub cwd: Option<String>,
    #[napi(ts_type = "string | undefined")]
    pub path: Option<String>,
    #[napi(ts_type = "string | undefined")]
    pub library_path: Option<String>,
    #[napi(ts_type = "number | undefined")]
    pub uid: Option<u32>,
    #[napi(ts_type = "number | undefined")]
    pub gid: Option<u32>,
}

impl From<LaunchContext> for Context {
    fn from(LaunchContext { cwd, path, library_path, uid, gid }: LaunchContext) -> Self {
        Self {
            directory: cwd.map(PathBuf::from),
            search: path.map(OsString::from),
            libraries: library_path.map(OsString::from),
            user: uid,
            group: gid,
        }
    }
}

/// The program and the arguments for `execve`.
#[napi(object)]
pub struct Launch {
    pub file: String,
    /// The arguments, including `argv[0]`.
    pub argv: Vec<String>,
}

impl From<launch::Launch> for Launch {
    fn from(launch::Launch { file, arguments }: launch::Launch) -> Self {
        Self { file: text(file.into()), argv: arguments.into_iter().map(text).collect() }
    }
}

/// Changes of an environment.
#[napi(object)]
pub struct EnvironmentDiff {
    pub set: BTreeMap<String, String>,
    pub unset: Vec<String>,
    /// A notice for the caller.
    pub notice: Option<String>,
}

/// One option of an allocator.
#[napi(object)]
pub struct AllocatorOption {
    pub key: String,
    pub value: String,
}

/// Whether a program's children are switched too.
///
/// - `inherit`: the programs that a switched program starts inherit the switch
/// - `none`: they run without a switch
#[napi(string_enum = "lowercase")]
pub enum Children {
    Inherit,
    None,
}

impl From<launch::Children> for Children {
    fn from(children: launch::Children) -> Self {
        match children {
            launch::Children::Inherit => Self::Inherit,
            launch::Children::None => Self::None,
        }
    }
}

impl From<Children> for launch::Children {
    fn from(children: Children) -> Self {
        match children {
            Children::Inherit => Self::Inherit,
            Children::None => Self::None,
        }
    }
}

/// How to switch a program.
#[napi(object, object_to_js = false)]
pub struct SwitchOptions {
    pub backend: Backend,
    #[napi(ts_type = "Preset | undefined")]
    pub preset: Option<Preset>,
    /// Single options of the allocator. They override the preset and the user's own variables.
    pub set: Vec<AllocatorOption>,
    pub children: Children,
    /// For `default`: also preload the library that proves that libc serves `malloc`.
    pub probe: bool,
    /// The folder of the preloadable libraries.
    pub folder: String,
}

pub fn pairs(options: Vec<AllocatorOption>) -> Vec<(String, String)> {
    options.into_iter().map(|AllocatorOption { key, value }| (key, value)).collect()
}

pub fn variables(env: BTreeMap<String, String>) -> Environment {
    env.into_iter().map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect()
}

pub fn difference(before: &Environment, after: &Environment, notice: Option<String>) -> EnvironmentDiff {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let is_new = |(name, value): &(&Vec<u8>, &Vec<u8>)| before.get(*name) != Some(value);
    EnvironmentDiff {
        set: after.iter().filter(is_new).map(|(name, value)| (text(name), text(value))).collect(),
        unset: before.keys().filter(|name| !after.contains_key(*name)).map(text).collect(),
        notice,
    }
}

/// The changes that make an environment switch a program.
#[napi(namespace = "linux")]
pub fn switched_environment(
    options: SwitchOptions,
    env: BTreeMap<String, String>,
) -> Result<EnvironmentDiff> {
    let SwitchOptions { backend, preset, set, children, probe, folder } = options;
    let before = variables(env);
    let switch = Switch {
        backend: backend.into(),
        preset: preset.map(Into::into),
        set: &pairs(set),
        children: children.into(),
        probe,
        folder: Path::new(&folder),
    };
    let Switched { variables, notice } = launch::switched_environment(&switch, &before).map_err(refused)?;
    Ok(difference(&before, &variables, notice))
}

/// What a configuration file says.
#[napi(object)]
pub struct ConfigFile {
    pub backend: Backend,
    pub preset: Option<Preset>,
    pub set: Vec<AllocatorOption>,
    pub children: Option<Children>,
}

/// Reads a configuration file. `folder` is the folder of the preloadable libraries.
#[napi(namespace = "linux")]
pub fn read_config_file(file: String, folder: String) -> Result<ConfigFile> {
    let config = launch::ConfigFile::read(Path::new(&file), Path::new(&folder)).map_err(refused)?;
    Ok(ConfigFile {
        backend: config.backend.into(),
        preset: config.preset.map(Into::into),
        set: config.set.into_iter().map(|(key, value)| AllocatorOption { key, value }).collect(),
        children: config.children.map(Into::into),
    })
}

/// The program of a command and its arguments.
#[napi(namespace = "linux")]
pub fn prepare_launch(
    backend: Backend,
    folder: String,
    command: String,
    args: Vec<String>,
    context: LaunchContext,
) -> Result<Launch> {
    let args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
    let (folder, command) = (Path::new(&folder), OsStr::new(&command));
    let launch = launch::prepare_launch(backend.into(), folder, command, &args, &context.into());
    Ok(launch.map_err(refused)?.into())
}

fn text(string: OsString) -> String {
    string.to_string_lossy().into_owned()
}

/// The absolute path of the file that a command names. `what` is its name in an error message.
#[napi(namespace = "linux")]
pub fn find_program(command: String, context: LaunchContext, what: String) -> Result<String> {
    let context = Context::from(context);
    let file = launch::find_program(OsStr::new(&command), &context, &what).map_err(refused)?;
    Ok(text(launch::absolute(&file, &context).into()))
}

/// The reason why the backend cannot serve a whole process, or nothing.
#[napi(namespace = "linux")]
pub fn why_not_process(backend: Backend, folder: String) -> Option<String> {
    launch::why_not_process(backend.into(), Path::new(&folder))
}

/// The reason why the loader would ignore a library, or nothing.
#[napi(namespace = "linux")]
pub fn why_not_usable(file: String) -> Option<String> {
    launch::why_not_usable(Path::new(&file))
}

/// The reason why `LD_PRELOAD` cannot name a file, or nothing.
#[napi(namespace = "linux")]
pub fn why_not_preloadable(file: String) -> Option<String> {
    launch::why_not_preloadable(Path::new(&file))
}
