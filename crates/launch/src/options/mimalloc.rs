//! The options of mimalloc. They go by a variable of ours, `MIMALLOC_*` being read by every mimalloc there is. One of them
//! is this package's own.

use malloc_backend::variables::IDLE_RELEASE;

use super::set::{Judged, SWITCH, put, switch};

/// mimalloc 2.3's options and the older names that it still takes (its src/options.c), but for those that do
/// nothing in this build: deprecated_*, guarded_*, os_tag (macOS) and retry_on_oom (Windows).
pub(super) const OPTIONS: [(&str, Option<&str>); 29] = [
    ("abandoned_page_purge", Some("abandoned_page_reset")),
    ("abandoned_reclaim_on_free", None),
    ("allow_large_os_pages", Some("large_os_pages")),
    ("allow_thp", None),
    ("arena_eager_commit", Some("eager_region_commit")),
    ("arena_purge_mult", None),
    ("arena_reserve", None),
    ("destroy_on_exit", None),
    ("disallow_arena_alloc", None),
    ("disallow_os_alloc", Some("limit_os_alloc")),
    ("eager_commit", None),
    ("eager_commit_delay", None),
    ("generic_collect", None),
    (IDLE_RELEASE, None),
    ("max_errors", None),
    ("max_segment_reclaim", None),
    ("max_warnings", None),
    ("purge_decommits", Some("reset_decommits")),
    ("purge_delay", Some("reset_delay")),
    ("purge_extend_delay", Some("decommit_extend_delay")),
    ("reserve_huge_os_pages", None),
    ("reserve_huge_os_pages_at", None),
    ("reserve_os_memory", None),
    ("show_errors", None),
    ("show_stats", None),
    ("target_segments_per_thread", None),
    ("use_numa_nodes", None),
    ("verbose", None),
    ("visit_abandoned", None),
];

/// An option's present name, by that or its older one.
fn present_name(key: &str) -> Option<&'static str> {
    let (name, _) = OPTIONS.into_iter().find(|(name, older)| *name == key || *older == Some(key))?;
    Some(name)
}

pub(super) fn why_not(key: &str, value: &str) -> Judged {
    let name = present_name(key).ok_or_else(|| ("mimalloc", OPTIONS.map(|(name, _)| name).to_vec()))?;
    let wanted = match (number(name, value), is_size(name)) {
        (Some(_), _) => return Ok(None),
        _ if name == IDLE_RELEASE => SWITCH,
        (None, true) => "a whole number of bytes, or one with K, M, G or T behind it",
        (None, false) => "a whole number, or true or false",
    };
    Ok(Some(wanted.to_owned()))
}

/// The options with their values as mimalloc keeps them.
pub(super) fn numbers(options: &[(&str, &str)]) -> impl Iterator<Item = String> {
    let mut numbers = Vec::new();
    let named = options.iter().filter_map(|(key, value)| Some((present_name(key)?, *value)));
    for (name, number) in named.filter_map(|(name, value)| Some((name, number(name, value)?))) {
        put(&mut numbers, name, number);
    }
    numbers.into_iter().map(|(name, number)| format!("{name}:{number}"))
}

/// Whether it is a number of bytes (mi_option_has_size_in_kib in its src/options.c).
fn is_size(name: &str) -> bool {
    matches!(name, "arena_reserve" | "reserve_os_memory")
}

/// As mimalloc reads it: a size in KiB.
fn number(name: &str, value: &str) -> Option<i64> {
    let is = |words: [&str; 3]| words.into_iter().any(|word| value.eq_ignore_ascii_case(word));
    match value {
        _ if name == IDLE_RELEASE => switch(value).map(i64::from),
        _ if is(["true", "yes", "on"]) => Some(1),
        _ if is(["false", "no", "off"]) => Some(0),
        // mimalloc takes these for the booleans.
        "1" | "0" => value.parse().ok(),
        _ if is_size(name) => kibibytes(value),
        _ => match value.strip_prefix('-') {
            Some(digits) => whole(digits).map(|number| -number),
            None => whole(value),
        },
    }
}

/// A number of bytes, or one with K, M, G or T behind it, and behind that B or iB where one likes.
fn kibibytes(value: &str) -> Option<i64> {
    const MOST: i64 = i64::MAX / 1024;
    let upper = value.to_ascii_uppercase();
    let without_byte = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
    for (unit, power) in [('K', 0), ('M', 1), ('G', 2), ('T', 3)] {
        if let Some(digits) = without_byte.strip_suffix(unit) {
            return Some(whole(digits)?.saturating_mul(1024_i64.pow(power)).min(MOST));
        }
    }
    Some((whole(value)? + 1023) / 1024)
}

/// Digits that 64 bits can hold whatever they are.
fn whole(digits: &str) -> Option<i64> {
    let is_whole = (1..=18).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_whole.then(|| digits.parse().ok()).flatten()
}
