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
    let with_right = if lacks_right() { WITH_CAPABILITY } else { AS_ROOT };
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

/// Says why the contents of a process's memory cannot be read, and what to do. Reading them needs the right of a debugger,
/// which is more than the right to inspect the process.
pub fn why_not_read(pid: u32, error: &io::Error) -> String {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
    let scope = scope.and_then(|scope| scope.trim().parse().ok()).unwrap_or(0);
    let why = if is_denied(error) { why_no_right(scope, lacks_right()) } else { error.to_string() };
    format!("cannot read the memory of process {pid}, so its free memory is unknown: {why}")
}

/// By the setting `kernel.yama.ptrace_scope`.
fn why_no_right(scope: u32, is_root: bool) -> String {
    let with_right = if is_root { WITH_CAPABILITY } else { AS_ROOT };
    match scope {
        1 => {
            format!("kernel.yama.ptrace_scope is 1, which allows this to parents only; run this {with_right}")
        }
        2 => format!("kernel.yama.ptrace_scope is 2, which requires CAP_SYS_PTRACE; run this {with_right}"),
        3 => {
            "kernel.yama.ptrace_scope is 3, which allows this to nobody until the system restarts".to_owned()
        }
        _ => format!("a security module forbids it (for example SELinux or AppArmor); run this {with_right}"),
    }
}

const AS_ROOT: &str = "as root with CAP_SYS_PTRACE";
const WITH_CAPABILITY: &str = "with CAP_SYS_PTRACE, which root lacks here (docker run --cap-add SYS_PTRACE; in Kubernetes \
                               securityContext.capabilities.add)";

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
    let allocator = if allocator == "glibc" { "default" } else { allocator };
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

/// An option that makes the allocator keep freed memory for longer than its default, and the time in milliseconds (`None`:
/// forever). The last option counts, as in the allocators.
pub fn long_keeping(allocator: &str, env: &Environment) -> Option<(String, Option<u64>)> {
    // The defaults are 10 s in jemalloc, and 10 ms or 1 s in mimalloc, which depends on the version.
    let (names, usual): (&[&str], i64) = match allocator {
        "jemalloc" => (&["dirty_decay_ms"], 10_000),
        "mimalloc" => (&["MIMALLOC_PURGE_DELAY", "purge_delay"], 1_000),
        _ => return None,
    };
    let options = options_in_force(allocator, env).into_iter().flat_map(|(name, value)| {
        let [name, value] = [name, value].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        // The value is one option, or a list of options.
        let listed: Vec<_> = value.split([',', ';']).map(str::to_owned).collect();
        let own = format!("{name}:{value}");
        listed.into_iter().chain([own])
    });
    let mut set = options.filter_map(|option| {
        let (name, value) = option.split_once([':', '='])?;
        let number: i64 = value.trim().parse().ok()?;
        names
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
            .then(|| (format!("{name}={number}"), number))
    });
    let (option, number) = set.next_back()?;
    match number {
        ..0 => Some((option, None)),
        _ if number > usual => Some((option, u64::try_from(number).ok())),
        _ => None,
    }
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
    let is_bare = || {
        let own = private(backend.as_str()).and_then(|own| env.get(own.as_bytes()));
        let has_no_own = own.is_none_or(|value| value.starts_with(b";"));
        // The options of glibc are not in a variable of ours.
        has_no_own && (backend != MemoryAllocatorBackend::Default || !env.contains_key(RESTORE.to_bytes()))
    };
    let named = [Preset::LowRss, Preset::Balanced, Preset::Throughput].into_iter().find(is_set);
    named.or_else(|| is_bare().then_some(Preset::None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_decay_is_seen_in_each_form_that_an_option_has() {
        let keeps = |allocator, name: &str, value: &str| {
            long_keeping(allocator, &[(name.into(), value.into())].into())
        };
        let jemalloc = |value| keeps("jemalloc", "MALLOC_CONF", value);
        assert_eq!(
            jemalloc("narenas:2,dirty_decay_ms:600000"),
            Some(("dirty_decay_ms=600000".into(), Some(600_000)))
        );
        assert_eq!(jemalloc("dirty_decay_ms:-1"), Some(("dirty_decay_ms=-1".into(), None)));
        assert_eq!(jemalloc("dirty_decay_ms:-1,dirty_decay_ms:1000"), None, "the last one counts");
        assert_eq!(jemalloc("dirty_decay_ms:10000"), None);
        assert_eq!(jemalloc("narenas:100000"), None);
        assert!(keeps("jemalloc", "MALLOC_BACKEND_JEMALLOC", "narenas:1;dirty_decay_ms:60000").is_some());
        assert!(keeps("mimalloc", "MIMALLOC_PURGE_DELAY", "-1").is_some());
        assert!(keeps("mimalloc", "MIMALLOC_PURGE_DELAY", "10").is_none());
        assert!(keeps("glibc", "MALLOC_TRIM_THRESHOLD_", "-1").is_none());
    }

    #[test]
    fn the_missing_right_is_named() {
        let [parent, capability, nobody, module] = [1, 2, 3, 0].map(|scope| why_no_right(scope, false));
        assert_eq!(
            parent,
            "kernel.yama.ptrace_scope is 1, which allows this to parents only; run this as root with CAP_SYS_PTRACE"
        );
        assert!(capability.starts_with("kernel.yama.ptrace_scope is 2, which requires CAP_SYS_PTRACE;"));
        assert!(nobody.starts_with("kernel.yama.ptrace_scope is 3, which allows this to nobody"));
        assert!(module.contains("a security module forbids it"));
        assert!(why_no_right(2, true).contains("which root lacks here (docker run --cap-add SYS_PTRACE;"));
    }

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
