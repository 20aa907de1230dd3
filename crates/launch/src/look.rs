//! What a process runs on: its `malloc`, and the preset and options that it was started with.

use std::io;

use malloc_backend::variables::RESTORE;
use malloc_backend::{MemoryAllocatorBackend, Release, TRAITS, Traits};
use malloc_backend_process::{Barrier, Owner, barrier, owner_of};

use crate::environment::{with_options, without_switch};
use crate::options::PRIVATE;
use crate::presets::has_presets;
use crate::{Code, Environment, Preset, Refusal};

/// Whose `malloc` the process runs on.
///
/// # Errors
/// [`Code::ProcessNotFound`], [`Code::ProcessAccess`].
pub fn owner(pid: u32) -> Result<Owner, Refusal> {
    owner_of(pid)
        .and_then(|owner| owner.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(|error| why_not_seen(pid, &error))
}

/// Says why a process could not be looked into, and what to do.
pub fn why_not_seen(pid: u32, error: &io::Error) -> Refusal {
    let barrier = barrier(pid);
    if barrier == Barrier::NoProcess {
        return Refusal::new(Code::ProcessNotFound, format!("there is no process {pid}"));
    }
    let with_right = if lacks_right() {
        "with CAP_SYS_PTRACE, which root lacks here (docker run --cap-add SYS_PTRACE; in Kubernetes \
         securityContext.capabilities.add)"
    } else {
        "as root with CAP_SYS_PTRACE"
    };
    let why = match barrier {
        Barrier::NoProc => {
            "there is no /proc, where the system shows this; mount it (mount -t proc proc /proc)".to_owned()
        }
        Barrier::Hidden => {
            format!("/proc is mounted with hidepid, which hides the process; run this as its user or {with_right}")
        }
        _ if error.raw_os_error() == Some(libc::ENODATA) => {
            "it maps an allocator, and has overwritten the environment that shows whether this allocator was preloaded"
                .to_owned()
        }
        Barrier::OfUser(user) if is_denied(error) => {
            format!("no permission to inspect it; it belongs to user {user}: run this as that user or {with_right}")
        }
        Barrier::OfUser(_) | Barrier::Protected if is_denied(error) => {
            format!("no permission to inspect it; it has more rights than this command: run this {with_right}")
        }
        _ if error.kind() == io::ErrorKind::NotFound => "it maps no file that defines malloc".to_owned(),
        _ => format!("it cannot be inspected ({error})"),
    };
    Refusal::new(Code::ProcessAccess, format!("cannot determine which malloc process {pid} uses: {why}"))
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Whether this process is root's without the right to look into any process (capabilities(7)).
fn lacks_right() -> bool {
    const CAP_SYS_PTRACE: u32 = 19;
    // SAFETY: takes nothing and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    is_root && u64::from_str_radix(effective.trim(), 16).is_ok_and(|all| all & 1 << CAP_SYS_PTRACE == 0)
}

/// Why this process's `malloc` cannot give memory back on request, if it cannot. `owner` is the file that serves it, and
/// `allocator` its name, where that is known.
pub fn why_no_release(allocator: Option<&str>, owner: &str) -> Option<String> {
    let why = match (allocator.map_or(Release::Unknown, |name| Traits::of(name).release), allocator) {
        (Release::OnRequest, _) => return None,
        (Release::ByItself, Some(name)) => {
            format!("{name} has no function that releases memory")
        }
        (_, Some(name)) => {
            format!("malloc-backend knows no function of {name} ({owner}) that releases memory")
        }
        (_, None) => format!("malloc-backend knows no function of {owner} that releases memory"),
    };
    let able = TRAITS.iter().filter(|traits| traits.release == Release::OnRequest).map(|traits| traits.name);
    let able = one_of(&able.collect::<Vec<_>>());
    Some(format!("this process's malloc cannot release memory on request: {why}; run the process on {able}"))
}

/// "a, b or c".
fn one_of(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// The variable of ours by which the allocator is given its options, if there is one.
fn private(allocator: &str) -> Option<&'static str> {
    PRIVATE
        .into_iter()
        .filter_map(|name| name.to_str().ok())
        .find(|name| name.to_ascii_lowercase().ends_with(allocator))
}

/// The variables by which an allocator of that name was given options, in an environment: those that it reads itself, and
/// ours.
pub fn options_in_force<'env>(allocator: &str, env: &'env Environment) -> Vec<(&'env [u8], &'env [u8])> {
    const MIMALLOC: &[u8] = b"MIMALLOC_";
    let is_public = |name: &[u8]| match allocator {
        "jemalloc" => name.ends_with(b"MALLOC_CONF"),
        "mimalloc" => name.get(..MIMALLOC.len()).is_some_and(|start| start.eq_ignore_ascii_case(MIMALLOC)),
        "glibc" => {
            name == b"GLIBC_TUNABLES"
                || name.starts_with(b"MALLOC_")
                    && !name.starts_with(b"MALLOC_BACKEND")
                    && !name.ends_with(b"MALLOC_CONF")
        }
        _ => false,
    };
    let private = private(allocator);
    env.iter()
        .filter(|(name, _)| is_public(name) || private.is_some_and(|own| own.as_bytes() == &name[..]))
        .map(|(name, value)| (&name[..], &value[..]))
        .collect()
}

/// The preset in such an environment: that whose options are all in it, [`Preset::None`] where there are none of a preset.
/// `None` for a backend without presets, and where single options have taken the preset's place.
pub fn preset_in_force(backend: MemoryAllocatorBackend, env: &Environment) -> Option<Preset> {
    if !has_presets(backend) {
        return None;
    }
    let before = without_switch(env);
    // Behind a preset stand single options.
    let begins = |now: &[u8], value: &[u8]| {
        now.strip_prefix(value).is_some_and(|rest| rest.is_empty() || rest[0] == b';')
    };
    let is_set = |preset: &Preset| {
        let mut then = before.clone();
        if with_options(backend, Some(*preset), &[], &mut then).is_err() {
            return false;
        }
        let is_new = |(name, value): &(&Vec<u8>, &Vec<u8>)| {
            name[..] != *RESTORE.to_bytes() && before.get(*name) != Some(value)
        };
        let mut changed = then.iter().filter(is_new).peekable();
        changed.peek().is_some()
            && changed.all(|(name, value)| env.get(name).is_some_and(|now| begins(now, value)))
    };
    let is_bare = || match private(backend.as_str()) {
        Some(own) => env.get(own.as_bytes()).is_none_or(|value| value.starts_with(b";")),
        None => !env.contains_key(RESTORE.to_bytes()),
    };
    let named = [Preset::LowRss, Preset::Balanced, Preset::Throughput].into_iter().find(is_set);
    named.or_else(|| is_bare().then_some(Preset::None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocator_without_a_function_for_it_is_said_not_to_release() {
        let why = |name| why_no_release(name, "/lib/x.so");
        assert_eq!([why(Some("glibc")), why(Some("jemalloc")), why(Some("mimalloc"))], [None, None, None]);
        let said = |reason| {
            Some(format!(
                "this process's malloc cannot release memory on request: {reason}; run the process on glibc, jemalloc or \
                 mimalloc"
            ))
        };
        let itself = "snmalloc has no function that releases memory";
        assert_eq!(why(Some("snmalloc")), said(itself));
        assert_eq!(
            why(Some("musl")),
            said("malloc-backend knows no function of musl (/lib/x.so) that releases memory")
        );
        assert_eq!(why(None), said("malloc-backend knows no function of /lib/x.so that releases memory"));
    }
}
