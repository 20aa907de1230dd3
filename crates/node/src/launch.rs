//! How a program is started on a backend. Environments come as name and value, one behind another; only what has changed is
//! handed back, so that other strings stay as they are which JavaScript could not read as UTF-8.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use malloc_backend_launch::{self as launch, Context, Environment, Refusal, Switch, Switched};
use napi_derive::napi;

/// Who starts a command, and where.
#[napi(object)]
pub struct LaunchContext {
    pub cwd: Option<String>,
    pub path: Option<String>,
    pub library_path: Option<String>,
    pub uid: Option<u32>,
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

/// What to hand to `execve`, or the code and the message of a refusal.
#[napi(object)]
#[derive(Default)]
pub struct Launch {
    pub failure: Option<String>,
    pub message: Option<String>,
    pub file: Option<String>,
    pub argv: Option<Vec<String>>,
}

/// What is to be set in an environment, name and value one behind another, and what is to be taken out of it, with a word
/// to whoever asked for it, if there is one; or the code and the message of a refusal.
#[napi(object)]
#[derive(Default)]
pub struct Changes {
    pub failure: Option<String>,
    pub message: Option<String>,
    pub set: Option<Vec<String>>,
    pub unset: Option<Vec<String>>,
    pub notice: Option<String>,
}

impl From<Refusal> for Launch {
    fn from(Refusal { code, message }: Refusal) -> Self {
        Self { failure: Some(code.as_str().to_owned()), message: Some(message), ..Self::default() }
    }
}

impl From<Refusal> for Changes {
    fn from(Refusal { code, message }: Refusal) -> Self {
        Self { failure: Some(code.as_str().to_owned()), message: Some(message), ..Self::default() }
    }
}

fn pairs(strings: Vec<String>) -> impl Iterator<Item = (String, String)> {
    let mut strings = strings.into_iter();
    std::iter::from_fn(move || Some((strings.next()?, strings.next()?)))
}

pub fn variables(env: Vec<String>) -> Environment {
    pairs(env).map(|(name, value)| (name.into_bytes(), value.into_bytes())).collect()
}

fn changes(before: &Environment, after: &Environment) -> Changes {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let is_new = |(name, value): &(&Vec<u8>, &Vec<u8>)| before.get(*name) != Some(value);
    let set = after.iter().filter(is_new).flat_map(|(name, value)| [text(name), text(value)]);
    let unset = before.keys().filter(|name| !after.contains_key(*name)).map(text);
    Changes { set: Some(set.collect()), unset: Some(unset.collect()), ..Changes::default() }
}

/// What makes the environment one that switches a program.
#[napi]
#[allow(clippy::too_many_arguments)]
pub fn switched_environment(
    backend: String,
    preset: Option<String>,
    set: Vec<String>,
    children: String,
    probe: bool,
    folder: String,
    env: Vec<String>,
) -> Changes {
    let before = variables(env);
    let set: Vec<_> = pairs(set).collect();
    let switched = || -> Result<Changes, Refusal> {
        let switch = Switch {
            backend: backend.parse()?,
            preset: preset.as_deref().map(str::parse).transpose()?,
            set: &set,
            children: children.parse()?,
            probe,
            folder: Path::new(&folder),
        };
        let Switched { variables, notice } = launch::switched_environment(&switch, &before)?;
        Ok(Changes { notice, ..changes(&before, &variables) })
    };
    switched().unwrap_or_else(Changes::from)
}

/// What gives the allocator its options, and no more.
#[napi]
pub fn with_options(backend: String, preset: Option<String>, set: Vec<String>, env: Vec<String>) -> Changes {
    let before = variables(env);
    let set: Vec<_> = pairs(set).collect();
    let tuned = || -> Result<Changes, Refusal> {
        let mut env = before.clone();
        launch::with_options(
            backend.parse()?,
            preset.as_deref().map(str::parse).transpose()?,
            &set,
            &mut env,
        )?;
        Ok(changes(&before, &env))
    };
    tuned().unwrap_or_else(Changes::from)
}

/// The program of a command and its arguments.
#[napi]
pub fn prepare_launch(
    backend: String,
    folder: String,
    command: String,
    arguments: Vec<String>,
    context: LaunchContext,
) -> Launch {
    let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
    let prepared = || -> Result<Launch, Refusal> {
        let (folder, command) = (Path::new(&folder), OsStr::new(&command));
        let launch = launch::prepare_launch(backend.parse()?, folder, command, &arguments, &context.into())?;
        let argv = launch.arguments.into_iter().map(text).collect();
        Ok(Launch { file: Some(text(launch.file.into())), argv: Some(argv), ..Launch::default() })
    };
    prepared().unwrap_or_else(Launch::from)
}

fn text(string: OsString) -> String {
    string.to_string_lossy().into_owned()
}

/// The absolute path of the file that a command names; `what` is what a message calls it.
#[napi]
pub fn find_program(command: String, context: LaunchContext, what: String) -> Launch {
    let context = Context::from(context);
    match launch::find_program(OsStr::new(&command), &context, &what) {
        Ok(file) => {
            Launch { file: Some(text(launch::absolute(&file, &context).into())), ..Launch::default() }
        }
        Err(refusal) => refusal.into(),
    }
}

/// Why the backend cannot serve a whole process, if it cannot.
#[napi]
pub fn why_not_process(backend: String, folder: String) -> Option<String> {
    match backend.parse() {
        Ok(backend) => launch::why_not_process(backend, Path::new(&folder)),
        Err(error) => Some(error.to_string()),
    }
}

/// Why the loader would go on without a library, if it would.
#[napi]
pub fn why_not_usable(file: String) -> Option<String> {
    launch::why_not_usable(Path::new(&file))
}

/// Why the loader cannot be pointed at a file, if it cannot.
#[napi]
pub fn why_not_preloadable(file: String) -> Option<String> {
    launch::why_not_preloadable(Path::new(&file))
}

/// What stands in snmalloc's way under these limits, in bytes, if anything.
#[napi]
pub fn too_small_for_snmalloc(address_space: Option<f64>, data: Option<f64>) -> Option<String> {
    launch::too_small_for_snmalloc(address_space.map(|bytes| bytes as u64), data.map(|bytes| bytes as u64))
}
