//! Becoming another program.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::{fs, io, mem, ptr};

/// Becomes the program (`execve`): same process, same open files. Returns only where that failed, with the reason.
///
/// With `end_with_parent` the program gets SIGTERM when the parent ends (PR_SET_PDEATHSIG).
pub fn execute(
    program: &CString,
    arguments: &[CString],
    environment: &[CString],
    end_with_parent: bool,
) -> io::Error {
    fn pointers(strings: &[CString]) -> Vec<*const c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    }
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    if end_with_parent {
        // SAFETY: it takes a constant and a signal.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    }
    // SAFETY: the arrays end in null and outlive the call, and every element is a C string.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// [`execute`], for a process that Node started in.
///
/// It undoes what Node did to the process when it started:
/// - It ignores SIGPIPE and SIGXFSZ, and ignored signals stay ignored: a program would see errors where it expects
///   to be ended. Both get their default back.
/// - It marks the descriptors that it inherited, the standard ones too, to be closed by `execve`. They stay open.
pub fn replace_process(
    program: &CString,
    arguments: &[CString],
    environment: &[CString],
    end_with_parent: bool,
) -> io::Error {
    const OF_NODE: [c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];
    let inherited = inherited_descriptors();
    // SAFETY: setting a disposition to the default or back runs no code, and `fcntl` refuses what is no descriptor.
    unsafe {
        let before = OF_NODE.map(|signal| libc::signal(signal, libc::SIG_DFL));
        let mut mask: libc::sigset_t = mem::zeroed();
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, &mut mask);
        // (The standard ones also where there is no /proc to look them up in.)
        for fd in (0..=libc::STDERR_FILENO).chain(inherited) {
            libc::fcntl(fd, libc::F_SETFD, 0);
        }
        let error = execute(program, arguments, environment, end_with_parent);
        libc::pthread_sigmask(libc::SIG_SETMASK, &mask, ptr::null_mut());
        for (signal, disposition) in OF_NODE.into_iter().zip(before) {
            libc::signal(signal, disposition);
        }
        error
    }
}

/// The descriptors that this process did not open itself, as far as that can be told.
///
/// libuv opens event queues and pipes from the process to itself. What is none of these was inherited;
/// and so was one of these that the parent has under the same number. Where `/proc` does not tell, none is known.
fn inherited_descriptors() -> Vec<c_int> {
    let open = descriptors(Path::new("/proc/self/fd"));
    let parent = format!("/proc/{}", std::os::unix::process::parent_id());
    let of_parent = descriptors(&Path::new(&parent).join("fd"));
    // SAFETY: `fcntl` refuses what is no descriptor.
    let access = |fd: c_int| unsafe { libc::fcntl(fd, libc::F_GETFL) } & libc::O_ACCMODE;
    let has_other_end = |fd: c_int, pipe: &PathBuf| {
        open.iter().any(|(other, target)| target == pipe && access(*other) != access(fd))
    };
    open.iter()
        .filter(|(fd, target)| {
            let name = target.to_string_lossy();
            let own =
                name.starts_with("anon_inode:") || name.starts_with("pipe:") && has_other_end(**fd, target);
            !own || of_parent.get(fd) == Some(target) && is_same_queue(**fd, &name, &parent)
        })
        .map(|(fd, _)| *fd)
        .collect()
}

/// Whether the event queue may be the one that the parent has under the same number. A Node that starts a Node often has
/// another queue there.
///
/// The link of a queue names only its kind. `fdinfo` tells the number of an eventfd (Linux 5.2) and the files that an epoll
/// waits for. An epoll that waits for none is of no use to the program.
fn is_same_queue(fd: c_int, name: &str, parent: &str) -> bool {
    let told = |process: &str| -> Vec<String> {
        let info = fs::read_to_string(format!("{process}/fdinfo/{fd}")).unwrap_or_default();
        let tells = |line: &&str| line.starts_with("eventfd-id:") || line.starts_with("tfd:");
        info.lines().filter(tells).map(str::to_owned).collect()
    };
    let own = told("/proc/self");
    own == told(parent) && !(own.is_empty() && name == "anon_inode:[eventpoll]")
}

/// The descriptors in a folder such as `/proc/self/fd`, and what each is open on.
fn descriptors(folder: &Path) -> HashMap<c_int, PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return HashMap::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, fs::read_link(entry.path()).ok()?))
        })
        .collect()
}
