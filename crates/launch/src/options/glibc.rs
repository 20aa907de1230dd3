//! The options of glibc's malloc.
//!
//! They go by glibc's own variables, also those of a preset. No other allocator reads them, and what the program starts
//! is to have them where it is switched too: nothing of ours is in it. The one option that is this package's own goes by a
//! variable of ours.

use malloc_backend::variables::IDLE_RELEASE;

use super::set::{Judged, SWITCH, Variables, put, switch};
use crate::entries::Environment;

struct GlibcOption {
    key: &'static str,
    /// `None` for one that is a tunable only.
    variable: Option<&'static str>,
    least: u64,
    most: u64,
}

/// glibc's variables, which do not follow from their names, and what each may be (mallopt(3); the bounds are those
/// of its elf/dl-tunables.list and malloc/malloc.c). What is out of them it passes over in silence.
const OPTIONS: [GlibcOption; 8] = [
    GlibcOption { key: "arena_max", variable: Some("MALLOC_ARENA_MAX"), least: 1, most: u64::MAX },
    GlibcOption { key: "arena_test", variable: Some("MALLOC_ARENA_TEST"), least: 1, most: u64::MAX },
    GlibcOption { key: "mmap_max", variable: Some("MALLOC_MMAP_MAX_"), least: 0, most: (1 << 31) - 1 },
    GlibcOption { key: "mmap_threshold", variable: Some("MALLOC_MMAP_THRESHOLD_"), least: 0, most: 1 << 25 },
    GlibcOption { key: "mxfast", variable: None, least: 0, most: 160 },
    GlibcOption { key: "perturb", variable: Some("MALLOC_PERTURB_"), least: 0, most: 255 },
    GlibcOption { key: "top_pad", variable: Some("MALLOC_TOP_PAD_"), least: 0, most: u64::MAX },
    GlibcOption { key: "trim_threshold", variable: Some("MALLOC_TRIM_THRESHOLD_"), least: 0, most: u64::MAX },
];

fn find(key: &str) -> Option<&'static GlibcOption> {
    OPTIONS.iter().find(|option| option.key == key)
}

pub(super) fn why_not(key: &str, value: &str) -> Judged {
    if key == IDLE_RELEASE {
        return Ok(switch(value).is_none().then(|| SWITCH.to_owned()));
    }
    let names = || {
        let mut names: Vec<_> = OPTIONS.iter().map(|option| option.key).chain([IDLE_RELEASE]).collect();
        names.sort_unstable();
        names
    };
    let option = find(key).ok_or_else(|| ("glibc's malloc", names()))?;
    let GlibcOption { least, most, .. } = *option;
    Ok(match number(value) {
        Some(number) if (least..=most).contains(&number) => None,
        _ => Some(format!("a whole number from {least} to {most} (-1 is 2^64 - 1, 0x10 is 16 and 010 is 8)")),
    })
}

impl GlibcOption {
    /// What begins the option in `GLIBC_TUNABLES`.
    fn tunable(&self) -> String {
        format!("glibc.malloc.{}=", self.key)
    }

    fn is_tuned(&self, env: &Environment) -> bool {
        let tunable = self.tunable();
        let tunables = env.get(TUNABLES).map_or(&[][..], Vec::as_slice);
        tunables.windows(tunable.len()).any(|part| part == tunable.as_bytes())
    }

    /// Whether the user has set it. glibc passes over an empty variable.
    fn is_users(&self, env: &Environment) -> bool {
        let variable = self.variable.and_then(|name| env.get(name.as_bytes()));
        variable.is_some_and(|value| !value.is_empty()) || self.is_tuned(env)
    }
}

const TUNABLES: &[u8] = b"GLIBC_TUNABLES";

/// As glibc reads it (`_dl_strtoul` in its elf folder): in 64 bits, in base 8 and 16 too.
pub(super) fn number(text: &str) -> Option<u64> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // Rust would take a plus sign here.
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = is_plain.then(|| u64::from_str_radix(digits, base).ok()).flatten()?;
    Some(if is_negative { number.wrapping_neg() } else { number })
}

pub(super) fn variables(table: &[(&str, &str)], single: &[(&str, &str)], env: &Environment) -> Variables {
    let mut variables = Variables::new();
    let mut tunables = env.get(TUNABLES).cloned().unwrap_or_default();
    let mut tune = |option: &GlibcOption, value: &str, variables: &mut Variables| {
        if !tunables.is_empty() {
            tunables.push(b':');
        }
        tunables.extend_from_slice(format!("{}{value}", option.tunable()).as_bytes());
        put(variables, TUNABLES.into(), tunables.clone());
    };
    let of_table = table.iter().filter_map(|(key, value)| Some((find(key)?, *value)));
    for (option, value) in of_table.filter(|(option, _)| !option.is_users(env)) {
        match option.variable {
            Some(variable) => put(&mut variables, variable.into(), value.into()),
            None => tune(option, value, &mut variables),
        }
    }
    for (option, value) in single.iter().filter_map(|(key, value)| Some((find(key)?, *value))) {
        if let Some(variable) = option.variable {
            put(&mut variables, variable.into(), value.into());
        }
        // glibc takes its tunables before its variables, and of the same tunable the last.
        if option.variable.is_none() || option.is_tuned(env) {
            tune(option, value, &mut variables);
        }
    }
    variables
}

/// The option that is this package's own, as our library reads it.
pub(super) fn own<'a>(list: &'a [(&str, &str)]) -> impl Iterator<Item = String> + 'a {
    let values = list.iter().filter(|(key, _)| *key == IDLE_RELEASE).filter_map(|(_, value)| switch(value));
    values.map(|is_on| format!("{IDLE_RELEASE}:{}", u8::from(is_on)))
}
