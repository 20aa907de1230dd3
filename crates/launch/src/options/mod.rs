//! The options of the allocators: which there are, what each may be, and the variables that set them.

mod glibc;
mod jemalloc;
mod mimalloc;
mod set;
#[cfg(test)]
mod tests;

use std::ffi::CStr;

use malloc_backend::variables::{DEFAULT, IDLE_RELEASE, JEMALLOC, MIMALLOC};
use malloc_backend::{MemoryAllocatorBackend, nearest};
use set::{Variables, put};

use crate::entries::Environment;
use crate::presets::{Preset, has_presets, preset_options};
use crate::refusal::{Code, Refusal};

/// The variables of `crates/preload` that only our libraries read.
pub const PRIVATE: [&CStr; 3] = [DEFAULT, JEMALLOC, MIMALLOC];

/// The environment variables that give the backend its preset (`None`: the one that is meant where nothing is said) and,
/// over it, single options, of which the last of a name counts. What the user says in the allocator's own variables wins
/// over the preset, and a single option over both.
///
/// # Errors
/// [`Code::UnknownPreset`], [`Code::UnknownOption`], [`Code::InvalidArgument`] for a value that the option does not take.
pub fn option_variables(
    backend: MemoryAllocatorBackend,
    preset: Option<Preset>,
    single: &[(String, String)],
    env: &Environment,
    is_musl: bool,
) -> Result<Variables, Refusal> {
    let nothing = why_no_options(backend, is_musl);
    if let (Some(preset), Some(why)) = (preset.filter(|preset| *preset != Preset::None), &nothing) {
        let message = format!("the preset {} would do nothing: {why}; omit the preset", preset.as_str());
        return Err(Refusal::new(Code::UnknownPreset, message));
    }
    let mut set = Vec::new();
    for (key, value) in single {
        put(&mut set, key.as_str(), value.as_str());
    }
    for (key, value) in &set {
        check(backend, key, value, is_musl)?;
    }
    if nothing.is_some() {
        return Ok(Variables::new());
    }
    let table = preset_options(backend, preset.unwrap_or_default());
    let table: Vec<_> = table.iter().map(|option| (option.key, option.value)).collect();
    Ok(match backend {
        MemoryAllocatorBackend::Default => {
            let mut variables = glibc::variables(&table, &set, env);
            variables.extend(private(DEFAULT, glibc::own(&table), glibc::own(&set)));
            variables
        }
        MemoryAllocatorBackend::Jemalloc => private(JEMALLOC, table.iter().map(pair), set.iter().map(pair)),
        MemoryAllocatorBackend::Mimalloc => {
            private(MIMALLOC, mimalloc::numbers(&table), mimalloc::numbers(&set))
        }
        MemoryAllocatorBackend::Snmalloc | MemoryAllocatorBackend::Rust => Variables::new(),
    })
}

/// Whether the environment asks the library for `default` for idle release. Of several values the last counts.
pub fn releases_when_idle(env: &Environment) -> bool {
    let value = env.get(DEFAULT.to_bytes()).map_or(&b""[..], Vec::as_slice);
    let of_option = |entry: &[u8]| {
        entry.strip_prefix(IDLE_RELEASE.as_bytes()).and_then(|rest| rest.strip_prefix(b":")) == Some(b"1")
    };
    value.split(|byte| b",;".contains(byte)).next_back().is_some_and(of_option)
}

fn pair((key, value): &(&str, &str)) -> String {
    format!("{key}:{value}")
}

/// The variable that only our libraries read, as crates/preload/src/options.rs has it: the preset, and behind a `;` what
/// wins over the user's.
fn private(
    variable: &CStr,
    preset: impl Iterator<Item = String>,
    over_users: impl Iterator<Item = String>,
) -> Variables {
    let [preset, over_users] = [preset.collect::<Vec<_>>(), over_users.collect()].map(|part| part.join(","));
    let value = match over_users.is_empty() {
        true if preset.is_empty() => return Variables::new(),
        true => preset,
        false => format!("{preset};{over_users}"),
    };
    vec![(variable.to_bytes().into(), value.into())]
}

/// Says why the backend has nothing that could be set.
fn why_no_options(backend: MemoryAllocatorBackend, is_musl: bool) -> Option<String> {
    match backend {
        _ if !has_presets(backend) => Some(format!("{backend} has no options")),
        MemoryAllocatorBackend::Default if is_musl => {
            Some("musl's malloc, which is the default here, has no options".to_owned())
        }
        _ => None,
    }
}

/// Refuses what the allocator would not read, or read as something else.
fn check(backend: MemoryAllocatorBackend, key: &str, value: &str, is_musl: bool) -> Result<(), Refusal> {
    let refusal = |code, why| Refusal::new(code, format!("cannot set the option {key:?}: {why}"));
    let unknown = |(who, names): (&str, Vec<&str>)| {
        let why = match nearest(key, &names) {
            Some(name) => format!("{who} has no such option. Did you mean {name}?"),
            None => format!("{who} has the options {}", names.join(", ")),
        };
        refusal(Code::UnknownOption, why)
    };
    if let Some(why) = why_no_options(backend, is_musl) {
        return Err(refusal(Code::UnknownOption, why));
    }
    let wanted = match backend {
        MemoryAllocatorBackend::Default => glibc::why_not(key, value),
        MemoryAllocatorBackend::Jemalloc => jemalloc::why_not(key, value),
        MemoryAllocatorBackend::Mimalloc => mimalloc::why_not(key, value),
        MemoryAllocatorBackend::Snmalloc | MemoryAllocatorBackend::Rust => Ok(None),
    };
    match wanted.map_err(unknown)? {
        None => Ok(()),
        Some(wanted) => {
            Err(refusal(Code::InvalidArgument, format!("its value must be {wanted}, not {value:?}")))
        }
    }
}
