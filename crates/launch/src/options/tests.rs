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
    let found = option_variables(backend, Some(preset), &single, &pairs(env), false).unwrap();
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
    for (backend, preset) in MemoryAllocatorBackend::ALL.into_iter().flat_map(|b| Preset::ALL.map(|p| (b, p)))
    {
        let options = preset_options(backend, preset);
        for option in options {
            check(backend, option.key, option.value, false).unwrap();
        }
        let attempt = option_variables(backend, Some(preset), &[], &Environment::new(), false);
        match has_presets(backend) || preset == Preset::None {
            true => {
                let count = if backend == Default { options.len() } else { options.len().min(1) };
                assert_eq!(attempt.unwrap().len(), count, "{backend} {}", preset.as_str());
            }
            false => assert_eq!(attempt.unwrap_err().code, Code::UnknownPreset),
        }
    }
}

#[test]
fn where_no_preset_is_named_each_backend_has_its_own() {
    let set = |backend| option_variables(backend, None, &[], &Environment::new(), false).unwrap();
    assert_eq!(set(Snmalloc), Variables::new());
    let balanced = option_variables(Jemalloc, Some(Balanced), &[], &Environment::new(), false).unwrap();
    assert_eq!(set(Jemalloc), balanced);
}

#[test]
fn glibc_s_variables() {
    let (max, own) = ("MALLOC_ARENA_MAX=1", "MALLOC_BACKEND_DEFAULT=idle_release:1");
    let tunable = "GLIBC_TUNABLES=glibc.malloc.mxfast=0";
    sets(Default, LowRss, "", "MALLOC_ARENA_MAX=", &format!("{max} {tunable} {own}"));
    sets(Default, LowRss, "", "MALLOC_ARENA_MAX=5", &format!("{tunable} {own}"));
    sets(Default, LowRss, "idle_release=false", tunable, &format!("{max} {own};idle_release:0"));
    let user = "GLIBC_TUNABLES=glibc.malloc.perturb=1";
    let both = format!("{user}:glibc.malloc.mxfast=0");
    sets(Default, LowRss, "", user, &format!("{max} {both} {own}"));
    sets(Default, LowRss, "mxfast=16", "", &format!("{max} {tunable}:glibc.malloc.mxfast=16 {own}"));
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
fn what_is_no_text_passes_unharmed() {
    let env = Environment::from([
        (b"GLIBC_TUNABLES".into(), b"\xff:glibc.malloc.perturb=1".into()),
        (b"\xff".into(), Vec::new()),
    ]);
    let tunables = b"\xff:glibc.malloc.perturb=1:glibc.malloc.perturb=2";
    assert_eq!(glibc::variables(&[], &[("perturb", "2")], &env)[1].1, tunables);
}

#[test]
fn the_preset_and_what_wins_over_the_user_s_are_apart() {
    let low: Vec<_> = preset_options(Jemalloc, LowRss).iter().map(|o| pair(&(o.key, o.value))).collect();
    let low = format!("MALLOC_BACKEND_JEMALLOC={}", low.join(","));
    let users = "MALLOC_CONF=narenas:5,";
    sets(
        Jemalloc,
        LowRss,
        "narenas=4 tcache_max=1 narenas=3",
        users,
        &format!("{low};narenas:3,tcache_max:1"),
    );
    sets(Jemalloc, LowRss, "", users, &low);
    sets(Jemalloc, Preset::None, "zero=true", users, "MALLOC_BACKEND_JEMALLOC=;zero:true");
    sets(Jemalloc, Preset::None, "", users, "");
}

#[test]
fn mimalloc_s_are_numbers_under_their_present_names() {
    let low = "MALLOC_BACKEND_MIMALLOC=idle_release:1,purge_delay:0,eager_commit:0";
    sets(Mimalloc, LowRss, "", "MIMALLOC_PURGE_DELAY=1", low);
    sets(Mimalloc, LowRss, "reset_delay=7 purge_delay=3", "", &format!("{low};purge_delay:3"));
    let sizes = "arena_reserve=1GiB reserve_os_memory=1025 verbose=Yes max_errors=-1";
    let numbers = "arena_reserve:1048576,reserve_os_memory:2,verbose:1,max_errors:-1";
    sets(Mimalloc, LowRss, sizes, "", &format!("{low};{numbers}"));
    sets(Mimalloc, LowRss, "idle_release=false", "", &format!("{low};idle_release:0"));
}

#[test]
fn the_library_for_default_is_asked_by_the_last_value() {
    let asks = |value: &str| {
        releases_when_idle(&Environment::from([(DEFAULT.to_bytes().into(), value.as_bytes().into())]))
    };
    assert!(!releases_when_idle(&Environment::new()));
    for (value, expected) in [
        ("idle_release:1", true),
        (";idle_release:1", true),
        ("idle_release:0;idle_release:1", true),
        ("idle_release:1;idle_release:0", false),
        ("idle_release:0", false),
        ("", false),
    ] {
        assert_eq!(asks(value), expected, "{value}");
    }
}

#[test]
fn mimalloc_s_options_have_numbers() {
    let names = malloc_backend::mimalloc_option_names::NAMES;
    for (name, _) in mimalloc::OPTIONS.into_iter().filter(|(name, _)| *name != IDLE_RELEASE) {
        assert!(names.contains(&name), "{name}");
    }
}

#[test]
fn musl_has_no_options() {
    let attempt = |backend, preset, single: &str| {
        option_variables(backend, preset, &pairs::<Vec<_>, _>(single), &Environment::new(), true)
    };
    assert_eq!(attempt(Default, None, ""), Ok(Vec::new()));
    assert_eq!(attempt(Mimalloc, Some(LowRss), "").unwrap().len(), 1);
    let why = "musl's malloc, which is the default here, has no options";
    assert!(attempt(Default, None, "arena_max=1").unwrap_err().message.ends_with(why));
    assert!(attempt(Default, Some(LowRss), "").unwrap_err().message.contains(why));
}

#[test]
fn unknown_options_are_refused() {
    let unknown = |backend, key, why: &str| refuses(backend, key, "1", Code::UnknownOption, why);
    unknown(Snmalloc, "a", "snmalloc has no options");
    unknown(Rust, "a", "rust has no options");
    let glibc = "arena_max, arena_test, idle_release, mmap_max, mmap_threshold, mxfast, perturb, top_pad, trim_threshold";
    unknown(Default, "tcache_count", &format!("glibc's malloc has the options {glibc}"));
    unknown(Default, "arena_mx", "glibc's malloc has no such option. Did you mean arena_max?");
    for (backend, key, meant) in [
        (Jemalloc, "narena", Some("narenas")),
        (Jemalloc, "dirty_decay", Some("dirty_decay_ms")),
        (Jemalloc, "prof", None),
        (Jemalloc, "", None),
        (Mimalloc, "PURGE_DELAY", None),
        (Mimalloc, "purge_dely", Some("purge_delay")),
    ] {
        let Refusal { code, message } = check(backend, key, "1", false).unwrap_err();
        assert_eq!(code, Code::UnknownOption);
        match meant {
            Some(name) => assert!(message.ends_with(&format!(". Did you mean {name}?")), "{message}"),
            None => assert!(message.contains("has the options"), "{message}"),
        }
    }
}

#[test]
fn values_that_are_not_read_are_refused() {
    let invalid = |backend, key, value: &str, wanted: &str| {
        let why = format!("its value must be {wanted}, not {value:?}");
        refuses(backend, key, value, Code::InvalidArgument, &why);
    };
    let number = "a whole number from 0 to 255 (-1 is 2^64 - 1, 0x10 is 16 and 010 is 8)";
    invalid(Default, "perturb", "256", number);
    invalid(Mimalloc, "reset_delay", "4K", "a whole number, or true or false");
    let size = "a whole number of bytes, or one with K, M, G or T behind it";
    invalid(Mimalloc, "arena_reserve", "4P", size);
    for backend in [Default, Mimalloc] {
        for value in ["1", "500", "yes", ""] {
            invalid(backend, "idle_release", value, "true or false");
        }
    }
    invalid(Jemalloc, "narenas", "abc", "a whole number from 1 to 4294967295");
    invalid(Jemalloc, "thp", "sometimes", "one of default, always, never");
}

#[test]
fn numbers_as_glibc_reads_them() {
    let read = |text: &str| text.split(' ').map(glibc::number).collect::<Vec<_>>();
    assert_eq!(read("0 -0 00 010 0x1F 0XfF 19"), [0, 0, 0, 8, 31, 255, 19].map(Some));
    let most = u64::MAX;
    assert_eq!(read("18446744073709551615 -1 -010 -0x2"), [most, most, most - 7, most - 1].map(Some));
    let others = read(" - 0x -0x 08 0+7 +7 --7 0x-1 0x+1 1.0 1e3 ff 18446744073709551616");
    assert!(others.iter().all(Option::is_none), "{others:?}");
    for (key, inside, outside) in [
        ("arena_max", "1 -1", "0"),
        ("mmap_max", "0 0x7fffffff", "0x80000000"),
        ("mmap_threshold", "0 33554432", "33554433"),
        ("mxfast", "0 160", "161"),
        ("perturb", "0 0377", "0400 -1"),
    ] {
        takes(Default, key, inside, true);
        takes(Default, key, outside, false);
    }
}

#[test]
fn numbers_sizes_and_booleans_as_mimalloc_reads_them() {
    let (both, sizes) = ("true Yes ON false no oFf 0 999999999999999999", "1K 2m 3G 4t 5KB 6MiB 7gIb");
    let neither = " - --1 +1 1.5 0x1 truely 1000000000000000000 1B 1iB -1K K 1KK";
    for (key, is_size) in [("purge_delay", false), ("arena_reserve", true), ("reserve_os_memory", true)] {
        takes(Mimalloc, key, both, true);
        takes(Mimalloc, key, "-1", !is_size);
        takes(Mimalloc, key, sizes, is_size);
        takes(Mimalloc, key, neither, false);
    }
}

/// test/presets.test.ts asks jemalloc itself.
#[test]
fn jemalloc_s_values_by_their_kind() {
    for (key, inside, outside) in [
        ("background_thread", "true false", " 1 True yes"),
        ("dirty_decay_ms", "-1 0 0x10 18446744072000", "-2 -- --1 18446744072001 10ms"),
        ("narenas", "1 default 4294967295", "0 -1 4294967296 2.5"),
        ("narenas_ratio", "0 .5 1.25 65535", " . 1. -1 65536 1.5x"),
        ("hpa_purge_threshold_ratio", "0 1 1.0 0.99", "1.01 2"),
        ("hpa_dirty_mult", "-1 0.25", "-2"),
        ("bin_shards", "1-160:16 1-160:16|161-256:0x8", "1-160 1-160:0 1-160:65 1:2 a-b:c 1-160:16|"),
        ("slab_sizes", "default 1-4096:17", "auto 1-4096:-1"),
        ("stats_print_opts", "J Jm", " z J,m"),
        ("tcache_max", "0 4096", "-1 4K"),
        ("percpu_arena", "phycpu", "phy"),
    ] {
        takes(Jemalloc, key, inside, true);
        takes(Jemalloc, key, outside, false);
    }
}
