//! How a Python child is started, and what of that the interpreter in this process shares. A configuration comes and goes as
//! the text that the hook reads.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use malloc_backend_launch::Switched;
use malloc_backend_launch::python::{self, OptionNames, PythonConfig, PythonSwitch};
use malloc_backend_python::Config;
use napi_derive::napi;

use crate::backend::{Backend, Preset};
use crate::errors::{Result, error, refused};
use crate::launch::{
    AllocatorOption, Children, EnvironmentDiff, Launch, LaunchContext, difference, pairs, variables,
};

/// The domains, one by one.
#[napi(object, object_to_js = false)]
pub struct PythonDomains {
    pub backend: Backend,
    pub raw: bool,
    pub mem: bool,
    pub obj: bool,
    pub arena: bool,
    pub debug: bool,
    pub counters: bool,
}

/// How a Python child is started, besides its domains.
#[napi(object, object_to_js = false)]
pub struct PythonLaunch {
    /// The backend of the whole process.
    #[napi(ts_type = "Backend | undefined")]
    pub malloc: Option<Backend>,
    #[napi(ts_type = "Preset | undefined")]
    pub preset: Option<Preset>,
    /// Single options of the allocator, over the preset and over the user's variables.
    pub set: Vec<AllocatorOption>,
    pub children: Children,
    /// The file for a heap profile of Python.
    #[napi(ts_type = "string | undefined")]
    pub profile: Option<String>,
    /// The folder of the preloadable libraries.
    pub folder: String,
}

fn config(domains: Config, unset: bool) -> PythonConfig {
    PythonConfig { domains, unset, names: OptionNames::API }
}

fn decoded(text: &str, unset: bool) -> Result<PythonConfig> {
    let domains: Config = text.parse().map_err(|why: malloc_backend_python::ParseConfigError| {
        error("ERR_INVALID_ARGUMENT", why.to_string())
    })?;
    Ok(config(domains, unset))
}

/// The configuration as the hook reads it, unless it contradicts itself or does nothing.
#[napi(namespace = "linux")]
pub fn encode_python_config(domains: PythonDomains) -> Result<String> {
    let PythonDomains { backend, raw, mem, obj, arena, debug, counters } = domains;
    let domains = Config { backend: backend.into(), domains: [raw, mem, obj, arena], debug, counters };
    config(domains, false).check().map_err(refused)?;
    Ok(domains.to_string())
}

/// What takes the variables out of the environment by which Python would discard the configuration.
#[napi(namespace = "linux")]
pub fn without_python_override(
    config: String,
    unset: bool,
    env: BTreeMap<String, String>,
) -> Result<EnvironmentDiff> {
    let before = variables(env);
    let after = decoded(&config, unset)?.without_override(&before).map_err(refused)?;
    Ok(difference(&before, &after, None))
}

/// What makes the environment one in which a Python child has its domains.
#[napi(namespace = "linux")]
pub fn python_environment(
    config: String,
    unset: bool,
    args: Vec<String>,
    launch: PythonLaunch,
    env: BTreeMap<String, String>,
) -> Result<EnvironmentDiff> {
    let PythonLaunch { malloc, preset, set, children, profile, folder } = launch;
    let before = variables(env);
    let args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
    let switch = PythonSwitch {
        malloc: malloc.map(Into::into),
        preset: preset.map(Into::into),
        set: &pairs(set),
        children: children.into(),
        profile: profile.as_deref().map(OsStr::new),
        folder: Path::new(&folder),
    };
    let config = decoded(&config, unset)?;
    let Switched { variables, notice } =
        python::python_environment(&config, &args, &switch, &before).map_err(refused)?;
    Ok(difference(&before, &variables, notice))
}

/// The program of a Python child and its arguments.
#[napi(namespace = "linux")]
pub fn prepare_python(
    malloc: Option<Backend>,
    folder: String,
    python: String,
    args: Vec<String>,
    context: LaunchContext,
) -> Result<Launch> {
    let args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
    let (folder, python) = (Path::new(&folder), OsStr::new(&python));
    let launch = python::prepare_python(malloc.map(Into::into), folder, python, &args, &context.into());
    Ok(launch.map_err(refused)?.into())
}
