//! The options of jemalloc. They go by a variable of ours: `MALLOC_CONF` is read by every jemalloc there is, and one of
//! another release complains of what it does not know.

use Kind::{Boolean, Integer, Ratio, Settings, Size, Statistics, Word};

use super::glibc;
use super::set::Judged;

/// What an option may be.
#[derive(Clone, Copy)]
enum Kind {
    Boolean,
    /// From the first to the second.
    Integer(i128, i128),
    /// Any number: where it is out of bounds, jemalloc takes the nearest within.
    Size,
    /// From 0 to this, with a fraction.
    Ratio(u16),
    Word(&'static [&'static str]),
    /// `<from>-<to>:<number>`, and more behind a `|`; the number is in these bounds.
    Settings(i128, i128),
    /// Letters for malloc_stats_print.
    Statistics,
}

const SIGNED: Kind = Integer(-1, i64::MAX as i128);
const UNSIGNED: Kind = Integer(0, u64::MAX as i128);
const DECAY: Kind = Integer(-1, 18_446_744_072_000);
const LARGEST: Kind = Integer(0, 0x7000_0000_0000_0000);

/// jemalloc 5.3.1's options (its src/conf.c), but for those that are not in this build: prof* and lg_prof* (profiling),
/// log, utrace, xmalloc, lg_san_uaf_align and experimental_infallible_new.
const OPTIONS: [(&str, Kind); 67] = [
    ("abort", Boolean),
    ("abort_conf", Boolean),
    ("background_thread", Boolean),
    ("bin_shards", Settings(1, 64)),
    ("cache_oblivious", Boolean),
    ("calloc_madvise_threshold", LARGEST),
    ("confirm_conf", Boolean),
    ("debug_double_free_max_scan", Integer(0, u32::MAX as i128)),
    ("dirty_decay_ms", DECAY),
    ("disable_large_size_classes", Boolean),
    ("dss", Word(&["disabled", "primary", "secondary"])),
    ("experimental_hpa_enforce_hugify", Boolean),
    ("experimental_hpa_max_purge_nhp", SIGNED),
    ("experimental_hpa_start_huge_if_thp_always", Boolean),
    ("experimental_tcache_gc", Boolean),
    ("hpa", Boolean),
    ("hpa_dirty_mult", Ratio(u16::MAX)),
    ("hpa_hugification_threshold", Size),
    ("hpa_hugification_threshold_ratio", Ratio(1)),
    ("hpa_hugify_delay_ms", UNSIGNED),
    ("hpa_hugify_style", Word(&["auto", "none", "eager", "lazy"])),
    ("hpa_hugify_sync", Boolean),
    ("hpa_min_purge_delay_ms", UNSIGNED),
    ("hpa_min_purge_interval_ms", UNSIGNED),
    ("hpa_purge_threshold", Size),
    ("hpa_purge_threshold_ratio", Ratio(1)),
    ("hpa_sec_batch_fill_extra", Size),
    ("hpa_sec_max_alloc", Size),
    ("hpa_sec_max_bytes", Size),
    ("hpa_sec_nshards", Size),
    ("hpa_slab_max_alloc", Size),
    ("huge_arena_pac_thp", Boolean),
    ("junk", Word(&["true", "false", "alloc", "free"])),
    ("lg_extent_max_active_fit", Integer(0, 64)),
    ("lg_tcache_flush_large_div", Size),
    ("lg_tcache_flush_small_div", Size),
    ("lg_tcache_max", Size),
    ("lg_tcache_nslots_mul", Integer(-16, 16)),
    ("max_background_threads", Size),
    ("metadata_thp", Word(&["disabled", "auto", "always"])),
    ("mutex_max_spin", SIGNED),
    ("muzzy_decay_ms", DECAY),
    ("narenas", Integer(1, u32::MAX as i128)),
    ("narenas_ratio", Ratio(u16::MAX)),
    ("oversize_threshold", LARGEST),
    ("percpu_arena", Word(&["disabled", "percpu", "phycpu"])),
    ("process_madvise_max_batch", Size),
    ("retain", Boolean),
    ("san_guard_large", UNSIGNED),
    ("san_guard_small", UNSIGNED),
    ("slab_sizes", Settings(1, 512)),
    ("stats_interval", SIGNED),
    ("stats_interval_opts", Statistics),
    ("stats_print", Boolean),
    ("stats_print_opts", Statistics),
    ("tcache", Boolean),
    ("tcache_gc_delay_bytes", UNSIGNED),
    ("tcache_gc_incr_bytes", Size),
    ("tcache_max", Size),
    ("tcache_ncached_max", Settings(0, u64::MAX as i128)),
    ("tcache_nslots_large", Size),
    ("tcache_nslots_small_max", Size),
    ("tcache_nslots_small_min", Size),
    ("thp", Word(&["default", "always", "never"])),
    ("trust_madvise", Boolean),
    ("zero", Boolean),
    ("zero_realloc", Word(&["alloc", "free", "abort"])),
];

pub(super) fn why_not(key: &str, value: &str) -> Judged {
    let (_, kind) = OPTIONS
        .into_iter()
        .find(|(name, _)| *name == key)
        .ok_or_else(|| ("jemalloc, as it is built here,", OPTIONS.map(|(name, _)| name).to_vec()))?;
    // Beside what they usually take.
    let is_taken = match (key, value) {
        ("narenas" | "slab_sizes", "default") | ("hpa_dirty_mult", "-1") => true,
        _ => kind.takes(value),
    };
    Ok((!is_taken).then(|| kind.wanted()))
}

impl Kind {
    fn takes(self, value: &str) -> bool {
        let is_within =
            |text: &str, least, most| number(text).is_some_and(|number| (least..=most).contains(&number));
        match self {
            Boolean => matches!(value, "true" | "false"),
            Integer(least, most) => is_within(value, least, most),
            Size => is_within(value, 0, u64::MAX.into()),
            Ratio(most) => is_ratio(value, most),
            Word(words) => words.contains(&value),
            Settings(least, most) => value.split('|').all(|setting| {
                let parts =
                    setting.split_once('-').and_then(|(from, rest)| Some((from, rest.split_once(':')?)));
                parts.is_some_and(|(from, (to, wanted))| {
                    Size.takes(from) && Size.takes(to) && is_within(wanted, least, most)
                })
            }),
            Statistics => !value.is_empty() && value.chars().all(|letter| LETTERS.contains(letter)),
        }
    }

    fn wanted(self) -> String {
        match self {
            Boolean => "true or false".to_owned(),
            Integer(least, most) => format!("a whole number from {least} to {most}"),
            Size => "a whole number".to_owned(),
            Ratio(most) => format!("a number from 0 to {most}, such as 0.25"),
            Word(words) => format!("one of {}", words.join(", ")),
            Settings(least, most) => {
                format!(
                    "<from>-<to>:<a number from {least} to {most}>, in bytes, and more of them behind a |"
                )
            }
            Statistics => format!("some of the letters {LETTERS}"),
        }
    }
}

const LETTERS: &str = "Jgmdablxeh";

/// As jemalloc reads it: in base 8 and 16 too.
fn number(text: &str) -> Option<i128> {
    let number = i128::from(glibc::number(text.strip_prefix('-').unwrap_or(text))?);
    // (Of two signs it was not one.)
    let is_plain = !text.starts_with("--");
    is_plain.then_some(if text.starts_with('-') { -number } else { number })
}

/// Digits, of those behind a point at most 14 and at least one.
fn is_ratio(text: &str, most: u16) -> bool {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let are_digits = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    let is_fraction = fraction.is_none_or(|digits| (1..=14).contains(&digits.len()) && are_digits(digits));
    let is_some = !whole.is_empty() || fraction.is_some();
    let number = if whole.is_empty() { Some(0) } else { whole.parse::<u16>().ok() };
    let above = fraction.is_some_and(|digits| digits.bytes().any(|digit| digit != b'0'));
    is_some
        && is_fraction
        && are_digits(whole)
        && number.is_some_and(|number| number < most || number == most && !above)
}
