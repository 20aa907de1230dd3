//! The options of the allocators: which there are, what each may be, and the variables that set them.

use malloc_backend::MemoryAllocatorBackend;

use crate::environment::Environment;
use crate::presets::{Preset, PresetOption, has_presets, preset_options};
use crate::refusal::{Code, Refusal};

/// Variables with their values.
type Variables = Vec<(Vec<u8>, Vec<u8>)>;

/// The environment variables that give the backend its preset and, over it, single options, of which the last
/// of a name counts. A variable that the user has set wins over the preset, and a single option over both.
///
/// # Errors
/// [`Code::UnknownOption`], [`Code::InvalidArgument`] for a value that the option does not take.
pub fn option_variables(
    backend: MemoryAllocatorBackend,
    preset: Preset,
    single: &[(String, String)],
    env: &Environment,
    is_musl: bool,
) -> Result<Variables, Refusal> {
    let mut set = Vec::new();
    for (key, value) in single {
        put(&mut set, key.as_str(), value.as_str());
    }
    for (key, value) in &set {
        check(backend, key, value, is_musl)?;
    }
    let table = preset_options(backend, preset);
    Ok(match backend {
        MemoryAllocatorBackend::Default if is_musl => Vec::new(),
        MemoryAllocatorBackend::Default => glibc_variables(table, &set, env),
        MemoryAllocatorBackend::Jemalloc => jemalloc_variables(table, &set, env),
        MemoryAllocatorBackend::Mimalloc => mimalloc_variables(table, &set, env),
        MemoryAllocatorBackend::Snmalloc | MemoryAllocatorBackend::Rust => Vec::new(),
    })
}

/// Sets what stands under the key, or adds it.
fn put<Key: PartialEq, Value>(list: &mut Vec<(Key, Value)>, key: Key, value: Value) {
    match list.iter_mut().find(|(other, _)| *other == key) {
        Some((_, old)) => *old = value,
        None => list.push((key, value)),
    }
}

/// Refuses what the allocator would not read, or read as something else.
fn check(backend: MemoryAllocatorBackend, key: &str, value: &str, is_musl: bool) -> Result<(), Refusal> {
    let refusal = |code, why| Refusal::new(code, format!("cannot set the option {key:?}: {why}"));
    check_key(backend, key, is_musl).map_err(|why| refusal(Code::UnknownOption, why))?;
    check_value(backend, key, value).map_err(|wanted| {
        refusal(Code::InvalidArgument, format!("its value must be {wanted}, not {value:?}"))
    })
}

/// Says why the backend has no such option.
fn check_key(backend: MemoryAllocatorBackend, key: &str, is_musl: bool) -> Result<(), String> {
    let is_name = key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.'));
    match backend {
        _ if !has_presets(backend) => Err(format!("{backend} has no options")),
        _ if !is_name => Err("the name of an option is made of letters, digits, _ and .".to_owned()),
        MemoryAllocatorBackend::Mimalloc if mimalloc_option(key).is_none() => {
            Err(format!("mimalloc has the options {}", MIMALLOC.map(|(name, _)| name).join(", ")))
        }
        MemoryAllocatorBackend::Default if is_musl => {
            Err("musl's malloc, which is the default here, has no options".to_owned())
        }
        MemoryAllocatorBackend::Default if glibc_option(key).is_none() => {
            Err(format!("glibc's malloc has the options {}", GLIBC.map(|option| option.key).join(", ")))
        }
        _ => Ok(()),
    }
}

/// Says what the option takes, where it does not take this: glibc and mimalloc would pass over it without a word.
/// jemalloc itself says on standard error what it cannot read.
fn check_value(backend: MemoryAllocatorBackend, key: &str, value: &str) -> Result<(), String> {
    // The byte order mark is white space to JavaScript.
    let ends = |char: char| char.is_whitespace() || matches!(char, ',' | '\0' | '\u{feff}');
    if value.is_empty() || value.contains(ends) {
        return Err("a string without commas and white space, a number or a boolean".to_owned());
    }
    match (backend, glibc_option(key), mimalloc_option(key)) {
        (MemoryAllocatorBackend::Default, Some(option), _) => option.check(value),
        (MemoryAllocatorBackend::Mimalloc, _, Some((name, _))) => check_mimalloc(name, value),
        _ => Ok(()),
    }
}

struct GlibcOption {
    key: &'static str,
    variable: &'static str,
    least: u64,
    most: u64,
}

/// glibc's variables, which do not follow from their names, and what each may be (mallopt(3); the bounds are those
/// of its elf/dl-tunables.list and malloc/malloc.c). What is out of them it passes over in silence.
const GLIBC: [GlibcOption; 7] = [
    GlibcOption { key: "arena_max", variable: "MALLOC_ARENA_MAX", least: 1, most: u64::MAX },
    GlibcOption { key: "arena_test", variable: "MALLOC_ARENA_TEST", least: 1, most: u64::MAX },
    GlibcOption { key: "mmap_max", variable: "MALLOC_MMAP_MAX_", least: 0, most: (1 << 31) - 1 },
    GlibcOption { key: "mmap_threshold", variable: "MALLOC_MMAP_THRESHOLD_", least: 0, most: 1 << 25 },
    GlibcOption { key: "perturb", variable: "MALLOC_PERTURB_", least: 0, most: 255 },
    GlibcOption { key: "top_pad", variable: "MALLOC_TOP_PAD_", least: 0, most: u64::MAX },
    GlibcOption { key: "trim_threshold", variable: "MALLOC_TRIM_THRESHOLD_", least: 0, most: u64::MAX },
];

fn glibc_option(key: &str) -> Option<&'static GlibcOption> {
    GLIBC.iter().find(|option| option.key == key)
}

impl GlibcOption {
    fn check(&self, value: &str) -> Result<(), String> {
        let Self { least, most, .. } = *self;
        match glibc_number(value) {
            Some(number) if (least..=most).contains(&number) => Ok(()),
            _ => Err(format!(
                "a whole number from {least} to {most} (-1 is 2^64 - 1, 0x10 is 16 and 010 is 8)"
            )),
        }
    }

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
fn glibc_number(text: &str) -> Option<u64> {
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

fn glibc_variables(table: &[PresetOption], single: &[(&str, &str)], env: &Environment) -> Variables {
    let mut variables = Variables::new();
    let named = table.iter().filter_map(|set| Some((glibc_option(set.key)?, set.value)));
    for (option, value) in named.filter(|(option, _)| !option.is_users(env)) {
        put(&mut variables, option.variable.into(), value.into());
    }
    let mut tunables = env.get(TUNABLES).cloned().unwrap_or_default();
    for (option, value) in single.iter().filter_map(|(key, value)| Some((glibc_option(key)?, *value))) {
        put(&mut variables, option.variable.into(), value.into());
        // glibc takes its tunables before its variables, and of the same tunable the last.
        if option.is_tuned(env) {
            tunables.extend_from_slice(format!(":{}{value}", option.tunable()).as_bytes());
            put(&mut variables, TUNABLES.into(), tunables.clone());
        }
    }
    variables
}

/// jemalloc reads one variable, in which what comes later wins.
fn jemalloc_variables(table: &[PresetOption], single: &[(&str, &str)], env: &Environment) -> Variables {
    const CONF: &[u8] = b"MALLOC_CONF";
    if table.is_empty() && single.is_empty() {
        return Variables::new();
    }
    let user = env.get(CONF).filter(|conf| !conf.is_empty()).cloned();
    let named = table.iter().map(|set| format!("{}:{}", set.key, set.value).into_bytes());
    let single = single.iter().map(|(key, value)| format!("{key}:{value}").into_bytes());
    vec![(CONF.into(), named.chain(user).chain(single).collect::<Vec<_>>().join(&b','))]
}

/// mimalloc 2.3's options and the older names that it still takes (its src/options.c), but for those that do
/// nothing in this build: deprecated_*, guarded_*, os_tag (macOS) and retry_on_oom (Windows).
const MIMALLOC: [(&str, Option<&str>); 28] = [
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

/// An option's present name and its older one, by either.
fn mimalloc_option(key: &str) -> Option<(&'static str, Option<&'static str>)> {
    MIMALLOC.into_iter().find(|(name, older)| *name == key || *older == Some(key))
}

/// `name` is the option's present one.
fn check_mimalloc(name: &str, value: &str) -> Result<(), String> {
    // mi_option_has_size_in_kib in its src/options.c.
    let has_size = matches!(name, "arena_reserve" | "reserve_os_memory");
    let wanted = if has_size {
        "a whole number of bytes, or one with K, M, G or T behind it"
    } else {
        "a whole number, or true or false"
    };
    let is_taken = is_number_or_boolean(value) || has_size && is_size(value);
    if is_taken { Ok(()) } else { Err(wanted.to_owned()) }
}

fn is_number_or_boolean(value: &str) -> bool {
    let is = |word: &str| value.eq_ignore_ascii_case(word);
    ["true", "yes", "on", "false", "no", "off"].into_iter().any(is)
        || is_whole(value.strip_prefix('-').unwrap_or(value))
}

/// A number with K, M, G or T behind it, and behind that B or iB where one likes.
fn is_size(value: &str) -> bool {
    let upper = value.to_ascii_uppercase();
    let without_byte = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
    without_byte.strip_suffix(['K', 'M', 'G', 'T']).is_some_and(is_whole)
}

/// Digits that 64 bits can hold whatever they are.
fn is_whole(digits: &str) -> bool {
    (1..=18).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
}

fn mimalloc_variables(table: &[PresetOption], single: &[(&str, &str)], env: &Environment) -> Variables {
    let mut variables = Variables::new();
    let named = table.iter().filter_map(|set| Some((mimalloc_option(set.key)?, set.value)));
    for ((name, older), value) in named {
        if spelled(name, env).is_none() && older.and_then(|older| spelled(older, env)).is_none() {
            put(&mut variables, mimalloc_variable(name), value.into());
        }
    }
    for ((name, _), value) in single.iter().filter_map(|(key, value)| Some((mimalloc_option(key)?, *value))) {
        // mimalloc looks for an older name only where the present one is not set.
        let variable = spelled(name, env).cloned().unwrap_or_else(|| mimalloc_variable(name));
        put(&mut variables, variable, value.into());
    }
    variables
}

fn mimalloc_variable(name: &str) -> Vec<u8> {
    format!("MIMALLOC_{}", name.to_ascii_uppercase()).into_bytes()
}

/// The user's spelling of a mimalloc variable, if there is one: mimalloc takes any case, and an empty value for 1.
fn spelled<'env>(name: &str, env: &'env Environment) -> Option<&'env Vec<u8>> {
    let variable = mimalloc_variable(name);
    env.keys().find(|other| other.eq_ignore_ascii_case(&variable))
}

#[cfg(test)]
mod tests {
    use MemoryAllocatorBackend::{Default, Jemalloc, Mimalloc, Rust, Snmalloc};
    use Preset::{Balanced, LowRss};

    use super::*;

    /// Names and values, with `=` between and a space behind.
    fn pairs<Pairs: FromIterator<(Text, Text)>, Text: for<'a> From<&'a str>>(list: &str) -> Pairs {
        let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (name.into(), value.into()));
        list.split_whitespace().filter_map(pair).collect()
    }

    #[track_caller]
    fn sets(backend: MemoryAllocatorBackend, preset: Preset, single: &str, env: &str, expected: &str) {
        let single: Vec<_> = pairs(single);
        let found = option_variables(backend, preset, &single, &pairs(env), false).unwrap();
        let text = |(name, value)| [name, value].map(|bytes| String::from_utf8(bytes).unwrap()).join("=");
        assert_eq!(found.into_iter().map(text).collect::<Vec<_>>().join(" "), expected);
    }

    #[track_caller]
    fn refuses(backend: MemoryAllocatorBackend, key: &str, value: &str, code: Code, why: &str) {
        let refusal = check(backend, key, value, false).unwrap_err();
        assert_eq!((refusal.code, refusal.message), (code, format!("cannot set the option {key:?}: {why}")));
    }

    /// Whether the option takes each of the values, or none of them.
    #[track_caller]
    fn takes(backend: MemoryAllocatorBackend, key: &str, values: &str, expected: bool) {
        for value in values.split(' ') {
            assert_eq!(check(backend, key, value, false).is_ok(), expected, "{key}={value:?}");
        }
    }

    #[test]
    fn each_option_of_a_preset_is_set() {
        for (backend, preset) in
            MemoryAllocatorBackend::ALL.into_iter().flat_map(|b| Preset::ALL.map(|p| (b, p)))
        {
            let options = preset_options(backend, preset);
            for option in options {
                check(backend, option.key, option.value, false).unwrap();
            }
            let count = if backend == Jemalloc { options.len().min(1) } else { options.len() };
            let variables = option_variables(backend, preset, &[], &Environment::new(), false).unwrap();
            assert_eq!(variables.len(), count, "{backend} {}", preset.as_str());
        }
    }

    #[test]
    fn glibc_s_variables() {
        let (max, threshold) = ("MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=131072");
        sets(Default, LowRss, "", "MALLOC_ARENA_MAX=", &format!("{max} {threshold}"));
        sets(Default, LowRss, "", "MALLOC_ARENA_MAX=5", threshold);
        sets(Default, Balanced, "arena_max=9 arena_max=1", "", max);
        sets(Default, Balanced, "arena_max=1", "MALLOC_ARENA_MAX=5", max);
    }

    #[test]
    fn glibc_s_tunables_are_before_its_variables() {
        let user = "GLIBC_TUNABLES=glibc.malloc.arena_max=7:glibc.malloc.perturb=1";
        sets(Default, Balanced, "", user, "");
        let both = format!("{user}:glibc.malloc.arena_max=3:glibc.malloc.perturb=2");
        let expected = format!("MALLOC_ARENA_MAX=3 {both} MALLOC_TOP_PAD_=0 MALLOC_PERTURB_=2");
        sets(Default, Balanced, "arena_max=3 top_pad=0 perturb=2", user, &expected);
    }

    #[test]
    fn jemalloc_s_variable_is_in_order() {
        let low = "background_thread:true,dirty_decay_ms:500,narenas:2,tcache_max:4096";
        let expected = format!("MALLOC_CONF={low},narenas:5,narenas:3,a.b:1");
        sets(Jemalloc, LowRss, "narenas=4 a.b=1 narenas=3", "MALLOC_CONF=narenas:5", &expected);
        sets(Jemalloc, LowRss, "", "MALLOC_CONF=", &format!("MALLOC_CONF={low}"));
        sets(Jemalloc, Preset::None, "", "MALLOC_CONF=narenas:5", "");
    }

    #[test]
    fn mimalloc_s_variables_have_any_case_and_older_names() {
        sets(Mimalloc, LowRss, "", "MIMALLOC_PURGE_DELAYS=1", "MIMALLOC_PURGE_DELAY=0");
        for name in
            ["MIMALLOC_PURGE_DELAY", "Mimalloc_purge_delay", "MIMALLOC_RESET_DELAY", "mimalloc_reset_Delay"]
        {
            sets(Mimalloc, LowRss, "", &format!("{name}="), "");
        }
        let single = "reset_delay=7 purge_delay=3";
        sets(Mimalloc, LowRss, single, "mimalloc_Purge_delay=1", "mimalloc_Purge_delay=3");
        sets(Mimalloc, LowRss, single, "MIMALLOC_RESET_DELAY=1", "MIMALLOC_PURGE_DELAY=3");
    }

    #[test]
    fn what_is_no_text_passes_unharmed() {
        let env = Environment::from([
            (b"MALLOC_CONF".into(), b"prof_prefix:\xff".into()),
            (b"GLIBC_TUNABLES".into(), b"\xff:glibc.malloc.perturb=1".into()),
            (b"\xff".into(), Vec::new()),
        ]);
        assert_eq!(jemalloc_variables(&[], &[("a", "1")], &env)[0].1, b"prof_prefix:\xff,a:1");
        let tunables = b"\xff:glibc.malloc.perturb=1:glibc.malloc.perturb=2";
        assert_eq!(glibc_variables(&[], &[("perturb", "2")], &env)[1].1, tunables);
        assert_eq!(mimalloc_variables(&[], &[("verbose", "1")], &env).len(), 1);
    }

    #[test]
    fn musl_has_no_options() {
        let attempt = |backend, single: &str| {
            option_variables(backend, LowRss, &pairs::<Vec<_>, _>(single), &Environment::new(), true)
        };
        assert_eq!(attempt(Default, ""), Ok(Vec::new()));
        assert_eq!(attempt(Mimalloc, "").unwrap().len(), 1);
        let refusal = attempt(Default, "arena_max=1").unwrap_err();
        assert!(refusal.message.ends_with(": musl's malloc, which is the default here, has no options"));
    }

    #[test]
    fn unknown_options_are_refused() {
        let unknown = |backend, key, why: &str| refuses(backend, key, "1", Code::UnknownOption, why);
        unknown(Snmalloc, "a", "snmalloc has no options");
        unknown(Rust, "a", "rust has no options");
        for key in ["", "1a", "_a", "a:b", "ä", "narenas\n"] {
            unknown(Jemalloc, key, "the name of an option is made of letters, digits, _ and .");
        }
        let glibc = "arena_max, arena_test, mmap_max, mmap_threshold, perturb, top_pad, trim_threshold";
        unknown(Default, "tcache_count", &format!("glibc's malloc has the options {glibc}"));
        let message = check(Mimalloc, "PURGE_DELAY", "1", false).unwrap_err().message;
        assert!(message.contains(": mimalloc has the options abandoned_page_purge, abandoned_reclaim"));
        assert!(message.ends_with(", verbose, visit_abandoned"));
    }

    #[test]
    fn values_that_are_not_read_are_refused() {
        let invalid = |backend, key, value: &str, wanted: &str| {
            let why = format!("its value must be {wanted}, not {value:?}");
            refuses(backend, key, value, Code::InvalidArgument, &why);
        };
        for value in ["", "a,b", "a b", "a\0", "\u{a0}", "\u{feff}a"] {
            invalid(Jemalloc, "a", value, "a string without commas and white space, a number or a boolean");
        }
        takes(Jemalloc, "any.thing", "a:ä", true);
        let number = "a whole number from 0 to 255 (-1 is 2^64 - 1, 0x10 is 16 and 010 is 8)";
        invalid(Default, "perturb", "256", number);
        invalid(Mimalloc, "reset_delay", "4K", "a whole number, or true or false");
        let size = "a whole number of bytes, or one with K, M, G or T behind it";
        invalid(Mimalloc, "arena_reserve", "4P", size);
    }

    #[test]
    fn numbers_as_glibc_reads_them() {
        let read = |text: &str| text.split(' ').map(glibc_number).collect::<Vec<_>>();
        assert_eq!(read("0 -0 00 010 0x1F 0XfF 19"), [0, 0, 0, 8, 31, 255, 19].map(Some));
        let most = u64::MAX;
        assert_eq!(read("18446744073709551615 -1 -010 -0x2"), [most, most, most - 7, most - 1].map(Some));
        let others = read(" - 0x -0x 08 0+7 +7 --7 0x-1 0x+1 1.0 1e3 ff 18446744073709551616");
        assert!(others.iter().all(Option::is_none), "{others:?}");
        for (key, inside, outside) in [
            ("arena_max", "1 -1", "0"),
            ("mmap_max", "0 0x7fffffff", "0x80000000"),
            ("mmap_threshold", "0 33554432", "33554433"),
            ("perturb", "0 0377", "0400 -1"),
        ] {
            takes(Default, key, inside, true);
            takes(Default, key, outside, false);
        }
    }

    #[test]
    fn numbers_sizes_and_booleans_as_mimalloc_reads_them() {
        let (both, sizes) = ("true Yes ON false no oFf 0 -1 999999999999999999", "1K 2m 3G 4t 5KB 6MiB 7gIb");
        let neither = " - --1 +1 1.5 0x1 truely 1000000000000000000 1B 1iB -1K K 1KK";
        for (key, is_size) in [("purge_delay", false), ("arena_reserve", true), ("reserve_os_memory", true)] {
            takes(Mimalloc, key, both, true);
            takes(Mimalloc, key, sizes, is_size);
            takes(Mimalloc, key, neither, false);
        }
    }
}
