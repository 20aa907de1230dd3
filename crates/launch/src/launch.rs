//! Which program a command is, and whether what is preloaded would serve it.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{self, Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use malloc_backend::MemoryAllocatorBackend;
use malloc_backend_process::{Caller, Executable, Host, Loader, Privilege, execute, host, inspect_for};

use crate::library::{is_for_musl, shim_file};
use crate::{Code, Refusal};

/// Where and as whom a command is to run.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The working directory; `None` for this process's.
    pub directory: Option<PathBuf>,
    /// The folders of `PATH`; `None` for a shell's own.
    pub search: Option<OsString>,
    /// The folders of `LD_LIBRARY_PATH`.
    pub libraries: Option<OsString>,
    /// The user; `None` for this process's.
    pub user: Option<u32>,
    /// The group, likewise.
    pub group: Option<u32>,
}

/// What to hand to `execve` for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program, as it was named.
    pub file: PathBuf,
    /// With `argv[0]`.
    pub arguments: Vec<OsString>,
}

impl Launch {
    /// Becomes the program: same process, same open files. Returns only where that failed, with the system's reason.
    ///
    /// With `end_with_parent` the program gets SIGTERM when the parent ends.
    pub fn execute(&self, environment: Vec<Vec<u8>>, end_with_parent: bool) -> io::Error {
        let file = c_string(self.file.as_os_str().as_bytes().to_vec());
        let arguments: Vec<CString> =
            self.arguments.iter().map(|word| c_string(word.as_bytes().to_vec())).collect();
        let environment: Vec<CString> = environment.into_iter().map(c_string).collect();
        execute(&file, &arguments, &environment, end_with_parent)
    }

    /// Says that [`Launch::execute`] failed.
    pub fn failed(&self, error: &io::Error) -> Refusal {
        Refusal::new(Code::ExecFailed, format!("cannot start {}: {error}", self.file.display()))
    }
}

/// What came from the system has no zero in it.
fn c_string(bytes: Vec<u8>) -> CString {
    CString::new(bytes).unwrap_or_default()
}

/// How many interpreters may stand behind one another, as the kernel has it.
const MAX_INTERPRETERS: usize = 5;

/// Finds the program of a command as a shell would, follows a script to its interpreter, and makes sure that the
/// backend's library, for `default` its probe, would be preloaded into what runs in the end.
///
/// A script whose first line goes through `env` is launched as the program that `env` would find: so the switch is
/// that program's, not `env`'s.
///
/// # Errors
/// [`Code::ProgramNotFound`], [`Code::ProgramNotExecutable`], [`Code::CannotSwitch`].
pub fn prepare_launch(
    backend: MemoryAllocatorBackend,
    folder: &Path,
    command: &OsStr,
    arguments: &[OsString],
    context: &Context,
) -> Result<Launch, Refusal> {
    let file = find_program(command, context, "the command")?;
    let mut launch =
        Launch { file, arguments: [command.to_owned()].into_iter().chain(arguments.to_vec()).collect() };
    // What the kernel would start in its place; it finds that by itself, unless `env` stands further behind.
    let mut next = launch.clone();
    let mut depth = 0;
    loop {
        let file = absolute(&next.file, context);
        let found = inspect_for(&file, Caller::this(context.user, context.group))
            .map_err(|error| cannot_look_into(&file, &error))?;
        let (interpreter, argument) = match found {
            program @ Executable::Elf { .. } => {
                return match why_not_switchable(backend, folder, &file, &program, context) {
                    None => Ok(launch),
                    Some(reason) => Err(cannot_switch(backend, &file, &reason)),
                };
            }
            Executable::Script { interpreter, argument } => (interpreter, argument),
            Executable::Unknown => {
                return Err(not_executable(format!(
                    "{file} is neither an ELF program nor a script with a #! line; start a script by its interpreter, for \
                     example: sh {file}",
                    file = file.display()
                )));
            }
        };
        if depth == MAX_INTERPRETERS {
            let message = format!("{}: too many scripts, each the interpreter of the next", file.display());
            return Err(not_executable(message));
        }
        let what = format!("the interpreter of {}", file.display());
        let path = existing(absolute(Path::new(&interpreter), context), &what)?;
        let rest = [next.file.into_os_string()].into_iter().chain(next.arguments.drain(1..));
        if path.file_name() == Some(OsStr::new("env")) {
            let words = command_of_env(argument.as_deref().unwrap_or_default(), &file)?;
            let file = find_program(OsStr::new(&words[0]), context, &what)?;
            launch = Launch { file, arguments: words.into_iter().map(OsString::from).chain(rest).collect() };
            next = launch.clone();
        } else {
            let words = [Some(interpreter), argument].into_iter().flatten().map(OsString::from);
            next = Launch { file: path, arguments: words.chain(rest).collect() };
        }
        depth += 1;
    }
}

/// A program may be one that can be run and not read.
fn cannot_look_into(file: &Path, error: &io::Error) -> Refusal {
    let why = match error.kind() {
        io::ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => error.to_string(),
    };
    Refusal::new(Code::CannotSwitch, format!("cannot inspect {}: {why}", file.display()))
}

/// The command in a first line `#!/usr/bin/env …`: `env` itself takes white space apart after `-S` only.
fn command_of_env(argument: &str, script: &Path) -> Result<Vec<String>, Refusal> {
    let split = argument.strip_prefix("--split-string").map(|rest| rest.strip_prefix('=').unwrap_or(rest));
    let words: Vec<String> = match argument.strip_prefix("-S").or(split) {
        Some(words) => words.split_whitespace().map(str::to_owned).collect(),
        None => vec![argument.to_owned()],
    };
    // (Behind the command a word with a = is the command's.)
    let is_command = |name: &String| !name.is_empty() && !name.starts_with('-') && !name.contains('=');
    let is_plain = words.iter().all(|word| !word.contains(['\\', '\'', '"', '$']));
    if words.first().is_some_and(is_command) && is_plain {
        return Ok(words);
    }
    Err(Refusal::new(
        Code::CannotSwitch,
        format!(
            "cannot follow the first line of {}: malloc-backend understands only env with a command, and env -S with plain \
             words; start the script by its interpreter",
            script.display()
        ),
    ))
}

/// The file that a command names: one with a slash is a path, any other is looked for in PATH. `what` is what a message
/// calls it.
///
/// # Errors
/// [`Code::InvalidArgument`], [`Code::ProgramNotFound`], [`Code::ProgramNotExecutable`].
pub fn find_program(command: &OsStr, context: &Context, what: &str) -> Result<PathBuf, Refusal> {
    let bytes = command.as_bytes();
    if bytes.is_empty() || bytes.contains(&0) {
        let message = "the command must be a string that is not empty and contains no NUL";
        return Err(Refusal::new(Code::InvalidArgument, message));
    }
    // A script sees the path by which it was called.
    if bytes.contains(&b'/') {
        existing(absolute(Path::new(command), context), what)?;
        return Ok(command.into());
    }
    let mut refused = None;
    let search = context.search.as_deref().unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    for folder in search.as_bytes().split(|byte| *byte == b':') {
        let file = absolute(&Path::new(OsStr::from_bytes(folder)).join(command), context);
        if !file.exists() {
            continue;
        }
        match existing(file, what) {
            Ok(file) => return Ok(file),
            Err(refusal) => refused = refused.or(Some(refusal)),
        }
    }
    Err(refused.unwrap_or_else(|| {
        let message = format!("{what}, {:?}, is not found in PATH", command.to_string_lossy());
        Refusal::new(Code::ProgramNotFound, message)
    }))
}

/// The file's absolute path. Where the working directory was removed, by a name that leads there even so.
pub fn absolute(file: &Path, context: &Context) -> PathBuf {
    let file = context.directory.as_deref().unwrap_or(Path::new("")).join(file);
    path::absolute(&file).unwrap_or_else(|_| Path::new("/proc/self/cwd").join(file))
}

fn existing(file: PathBuf, what: &str) -> Result<PathBuf, Refusal> {
    let shown = file.display();
    let metadata = fs::metadata(&file).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            not_executable(format!("{what}, {shown}, is in a folder that you have no permission to search"))
        }
        _ => Refusal::new(Code::ProgramNotFound, format!("{what}, {shown}, does not exist")),
    })?;
    if !metadata.is_file() {
        return Err(not_executable(format!("{what}, {shown}, is not a file")));
    }
    let path = CString::new(file.as_os_str().as_bytes()).unwrap_or_default();
    // SAFETY: a C string.
    if unsafe { libc::access(path.as_ptr(), libc::X_OK) } != 0 {
        return Err(not_executable(format!(
            "{what}, {shown}, is not executable; run chmod +x on it, or start it by its interpreter"
        )));
    }
    Ok(file)
}

fn not_executable(message: String) -> Refusal {
    Refusal::new(Code::ProgramNotExecutable, message)
}

/// Nothing is switched for `default`; but its proof comes from a library too, and no other process's may stand for it.
fn cannot_switch(backend: MemoryAllocatorBackend, file: &Path, reason: &str) -> Refusal {
    let file = file.display();
    let message = match backend {
        MemoryAllocatorBackend::Default => format!(
            "cannot prove that {file} runs on libc's malloc: {reason}; start the program without malloc-backend"
        ),
        _ => format!("cannot run {file} on {backend}: {reason}"),
    };
    Refusal::new(Code::CannotSwitch, message)
}

fn why_not_switchable(
    backend: MemoryAllocatorBackend,
    folder: &Path,
    file: &Path,
    program: &Executable,
    context: &Context,
) -> Option<String> {
    let Executable::Elf { machine, bits, interpreter, defines_malloc, privilege, .. } = program else {
        return None;
    };
    let host = host();
    if *machine != host.machine || *bits != 64 {
        let own = &host.machine;
        return Some(format!("it is built for {machine} ({bits} bits), and the library for {own} (64 bits)"));
    }
    let Some(loader) = interpreter else {
        return Some("it is statically linked, so nothing can be preloaded into it".to_owned());
    };
    if let Some(privilege) = privilege {
        let why = match privilege {
            Privilege::SetUserId => "it runs as another user (setuid)",
            Privilege::SetGroupId => "it runs as another group (setgid)",
            Privilege::Capabilities => "it has file capabilities",
            Privilege::Caller => "its caller's effective ids differ from the real ids",
        };
        return Some(format!("{why}, so the dynamic loader ignores preloaded libraries (ld.so(8))"));
    }
    // (The probe of `default` is loaded all the same, and names that malloc.)
    if *defines_malloc && backend != MemoryAllocatorBackend::Default {
        return Some(
            "it exports its own malloc, which comes before every preloaded library; build the program without this malloc"
                .to_owned(),
        );
    }
    let reserve = (backend == MemoryAllocatorBackend::Snmalloc)
        .then(|| too_small_for_snmalloc(host.address_space, host.data))
        .flatten();
    let shim = shim_file(folder, backend);
    reserve
        .or_else(|| why_not_loadable(&shim, file, loader, &host))
        .or_else(|| calls_another_allocator(backend, &shim, file, context))
}

/// A program that calls an allocator by functions of that one's own, such as jemalloc's `mallocx`, frees its blocks by
/// `free`. (For `default` the proof tells: its malloc is that allocator's.)
fn calls_another_allocator(
    backend: MemoryAllocatorBackend,
    shim: &Path,
    file: &Path,
    context: &Context,
) -> Option<String> {
    if backend == MemoryAllocatorBackend::Default {
        return None;
    }
    let loader = Loader::new(Path::new(""), context.libraries.as_deref());
    let (caller, function, allocator) = loader.private_call(file, shim)?;
    let (caller, allocator) = (caller.display(), allocator.display());
    Some(format!(
        "{caller} calls {function} of {allocator}, and the {backend} library does not have this function: one allocator \
         would free the other's blocks; build the program without {allocator}"
    ))
}

/// What stands in snmalloc's way, if anything: what it reserves at its start is private and writable, and both limits
/// (in bytes) count it (getrlimit(2)). Where it cannot, it ends the process.
pub fn too_small_for_snmalloc(address_space: Option<u64>, data: Option<u64>) -> Option<String> {
    const RESERVES: u64 = 256 << 30;
    const SAYS: &str = "snmalloc reserves 256 GiB of address space";
    match (address_space, data) {
        (Some(limit), _) if limit <= RESERVES => {
            Some(format!("{SAYS}, and the limit is {limit} bytes (ulimit -v)"))
        }
        (_, Some(limit)) if limit <= RESERVES => {
            Some(format!("{SAYS} as data, of which the limit is {limit} bytes (ulimit -d)"))
        }
        _ => None,
    }
}

/// A program with another dynamic loader than this process's may have another C library: that one is asked.
fn why_not_loadable(shim: &Path, file: &Path, loader: &str, host: &Host) -> Option<String> {
    let own = host.interpreter.as_deref().unwrap_or_default();
    let is_musl = is_for_musl(shim);
    // musl passes over what it cannot preload without a word.
    if loader.contains("ld-musl") != is_musl {
        let library = if is_musl { "musl" } else { "glibc" };
        return Some(format!(
            "it uses the C library of {loader}, and the preloadable library is for {library}"
        ));
    }
    // As nearly always: then nobody need follow links.
    if loader == own {
        return None;
    }
    let real = |path: &str| match path.starts_with('/') {
        true => fs::canonicalize(path).unwrap_or_else(|_| path.into()),
        false => path.into(),
    };
    if real(loader) == real(own) {
        return None;
    }
    if !Path::new(loader).exists() {
        return Some(format!("its dynamic loader, {loader}, does not exist"));
    }
    let asked = Command::new(loader).arg("--preload").arg(shim).arg("--list").arg(file).output().ok()?;
    let said = String::from_utf8_lossy(&asked.stderr);
    let (_, complaint) = said.split_once("cannot be preloaded (")?;
    let line = complaint.lines().next().unwrap_or_default();
    let complaint = line.rsplit_once(')').map_or(line, |(complaint, _)| complaint);
    Some(format!("its dynamic loader, {loader}, refuses the library: {complaint}"))
}

/// Whether the parent is the shell in which npx starts a command. npx hands it the signals that it gets; the shell ends,
/// and would leave the program behind. A tool that npx started passes npm's variables on to shells of its own: the one
/// that is meant is a child of npx itself. Without a /proc that shows them, it is not known to be one.
pub fn is_under_npx() -> bool {
    fn is_npx(shell: u32) -> Option<bool> {
        if !fs::read(format!("/proc/{shell}/cmdline")).ok()?.starts_with(b"sh\0-c\0") {
            return None;
        }
        let stat = String::from_utf8_lossy(&fs::read(format!("/proc/{shell}/stat")).ok()?).into_owned();
        let (_, fields) = stat.rsplit_once(") ")?;
        let parent = fields.split(' ').nth(1)?;
        // npm gives itself a title: its command, before its arguments.
        let title = OsString::from_vec(fs::read(format!("/proc/{parent}/cmdline")).ok()?);
        let title = title.to_string_lossy();
        let is_script = |word: &str| {
            let name = word.rsplit_once('/').map_or("", |(_, name)| name);
            matches!(name.strip_suffix("-cli.js").unwrap_or(name), "npx" | "npm")
        };
        let is_titled = title
            .strip_prefix("npm exec")
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_'));
        Some(is_titled || title.split('\0').any(is_script))
    }
    env::var_os("npm_command").is_some_and(|command| command == "exec")
        && is_npx(std::os::unix::process::parent_id()).unwrap_or(false)
}
