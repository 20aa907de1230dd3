//! The options of glibc's malloc.
//!
//! They go by glibc's own variables, also those of a preset. No other allocator reads them, and what the program starts
//! is to have them where it is switched too: nothing of ours is in it.

use super::set::{Judged, Variables, put};
use crate::entries::Environment;

struct GlibcOption {
    key: &'static str,
    variable: &'static str,
    least: u64,
    most: u64,
}

/// glibc's variables, which do not follow from their names, and what each may be (mallopt(3); the bounds are those
/// of its elf/dl-tunables.list and malloc/malloc.c). What is out of them it passes over in silence.
const OPTIONS: [GlibcOption; 7] = [
    GlibcOption { key: "arena_max", variable: "MALLOC_ARENA_MAX", least: 1, most: u64::MAX },
    GlibcOption { key: "arena_test", variable: "MALLOC_ARENA_TEST", least: 1, most: u64::MAX },
    GlibcOption { key: "mmap_max", variable: "MALLOC_MMAP_MAX_", least: 0, most: (1 << 31) - 1 },
    GlibcOption { key: "mmap_threshold", variable: "MALLOC_MMAP_THRESHOLD_", least: 0, most: 1 << 25 },
    GlibcOption { key: "perturb", variable: "MALLOC_PERTURB_", least: 0, most: 255 },
    GlibcOption { key: "top_pad", variable: "MALLOC_TOP_PAD_", least: 0, most: u64::MAX },
    GlibcOption { key: "trim_threshold", variable: "MALLOC_TRIM_THRESHOLD_", least: 0, most: u64::MAX },
];

fn find(key: &str) -> Option<&'static GlibcOption> {
    OPTIONS.iter().find(|option| option.key == key)
}

pub(super) fn why_not(key: &str, value: &str) -> Judged {
    let option = find(key).ok_or_else(|| ("glibc's malloc", OPTIONS.map(|option| option.key).to_vec()))?;
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
        let variable = env.get(self.variable.as_bytes());
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
    let named = table.iter().filter_map(|(key, value)| Some((find(key)?, *value)));
    for (option, value) in named.filter(|(option, _)| !option.is_users(env)) {
        put(&mut variables, option.variable.into(), value.into());
    }
    let mut tunables = env.get(TUNABLES).cloned().unwrap_or_default();
    for (option, value) in single.iter().filter_map(|(key, value)| Some((find(key)?, *value))) {
        put(&mut variables, option.variable.into(), value.into());
        // glibc takes its tunables before its variables, and of the same tunable the last.
        if option.is_tuned(env) {
            tunables.extend_from_slice(format!(":{}{value}", option.tunable()).as_bytes());
            put(&mut variables, TUNABLES.into(), tunables.clone());
        }
    }
    variables
}
