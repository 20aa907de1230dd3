use super::*;

const PROCESS: Facts<'_> = Facts {
    pid: 4711,
    rss: 1400 * MIB,
    parts: Parts {
        v8_heap: None,
        code: 0,
        array_buffers: None,
        malloc_live: Some(0),
        malloc_cached: None,
        malloc: None,
        mapped_files: 40 * MIB,
        stacks: MIB,
        other: 10 * MIB,
    },
    free: Some(Free { bytes: 20 * MIB, pages: Some(10 * MIB) }),
    zeros: 0,
    huge_mode: Some("madvise"),
    allocator: "glibc",
    is_known: true,
    is_denied: false,
    long_keeping: None,
    node: false,
    program: String::new(),
    is_own: false,
};

fn facts(change: impl FnOnce(&mut Facts<'static>)) -> Facts<'static> {
    let mut facts = Facts { program: "node".into(), ..PROCESS.clone() };
    change(&mut facts);
    facts
}

#[track_caller]
fn concludes(
    facts: &Facts<'_>,
    code: VerdictCode,
    sentence: &str,
    command: Option<&str>,
    saves: Option<u64>,
) {
    let found = Verdict::of(facts);
    let expected = (code, sentence, command, saves.map(|mebibytes| mebibytes * MIB));
    assert_eq!((found.code, &found.sentence[..], found.command.as_deref(), found.saves_at_most), expected);
}

#[test]
fn free_memory_that_could_go_back() {
    let free = Some(Free { bytes: 820 * MIB, pages: Some(800 * MIB) });
    concludes(
        &facts(|facts| facts.free = free),
        VerdictCode::AllocatorRetention,
        "It is the allocator: 820 of 1,400 MiB are free memory that glibc keeps.",
        Some("malloc-backend run jemalloc -- node …"),
        Some(820),
    );
}

#[test]
fn free_memory_between_live_blocks() {
    let free = Some(Free { bytes: 820 * MIB, pages: Some(20 * MIB) });
    concludes(
        &facts(|facts| facts.free = free),
        VerdictCode::AllocatorFragmentation,
        "It is the allocator: 820 of 1,400 MiB are free memory that glibc keeps; 800 of 820 MiB of it lie between live \
         blocks, so the allocator cannot release them.",
        Some("malloc-backend run jemalloc -- node …"),
        Some(820),
    );
}

#[test]
fn in_part_where_something_else_is_larger() {
    let both = facts(|facts| {
        facts.free = Some(Free { bytes: 400 * MIB, pages: None });
        facts.parts.v8_heap = Some(900 * MIB);
    });
    concludes(
        &both,
        VerdictCode::AllocatorRetention,
        "It is the allocator in part: 400 of 1,400 MiB are free memory that glibc keeps; 900 MiB are V8's heap.",
        Some("malloc-backend run jemalloc -- node …"),
        Some(400),
    );
}

#[test]
fn v8_and_what_a_program_holds() {
    let code = |change: fn(&mut Facts<'static>)| {
        let verdict = Verdict::of(&facts(change));
        assert!(verdict.sentence.starts_with("It is not the allocator: 1,1"), "{}", verdict.sentence);
        assert_eq!(verdict.saves_at_most, None);
        (verdict.code, verdict.command.unwrap_or_default())
    };
    let snapshot = "node --heapsnapshot-signal=SIGUSR2 …".to_owned();
    assert_eq!(
        code(|facts| (facts.node, facts.parts.v8_heap) = (true, Some(1100 * MIB))),
        (VerdictCode::V8Heap, snapshot.clone())
    );
    assert_eq!(
        code(|facts| (facts.node, facts.parts.array_buffers) = (true, Some(1100 * MIB))),
        (VerdictCode::ArrayBuffers, snapshot)
    );
    assert_eq!(
        code(|facts| (facts.node, facts.parts.malloc_live) = (true, Some(1100 * MIB))),
        (
            VerdictCode::NativeLive,
            "MALLOC_BACKEND_PROFILE=socket node --import malloc-backend/profile …".to_owned()
        )
    );
    assert_eq!(
        code(|facts| (facts.program, facts.parts.malloc_live) = ("python3.11".into(), Some(1100 * MIB))),
        (VerdictCode::NativeLive, "memray attach 4711".to_owned())
    );
    assert_eq!(code(|facts| facts.parts.mapped_files = 1100 * MIB).0, VerdictCode::MappedFiles);
    assert_eq!(code(|facts| facts.parts.stacks = 1100 * MIB).0, VerdictCode::Stacks);
}

#[test]
fn the_sentence_has_the_figures_of_both() {
    let node = facts(|facts| (facts.node, facts.parts.v8_heap) = (true, Some(1100 * MIB)));
    concludes(
        &node,
        VerdictCode::V8Heap,
        "It is not the allocator: 1,100 of 1,400 MiB are V8's heap, and glibc keeps 20 MiB free. Find what grows with a heap \
         snapshot (kill -USR2 writes it), or set a limit with --max-old-space-size.",
        Some("node --heapsnapshot-signal=SIGUSR2 …"),
        None,
    );
}

#[test]
fn an_allocator_that_does_not_show_is_not_blamed() {
    let other = |change: fn(&mut Facts<'static>)| {
        facts(|facts| {
            facts.free = None;
            facts.allocator = "jemalloc";
            facts.parts.malloc_live = None;
            facts.parts.malloc = Some(1200 * MIB);
            change(facts);
        })
    };
    concludes(
        &other(|_| {}),
        VerdictCode::Unknown,
        "The reason is unknown: 1,200 of 1,400 MiB belong to jemalloc, and its free memory cannot be measured from outside. \
         Call diagnose() in the process itself.",
        Some("malloc-backend run jemalloc --preset low-rss -- node …"),
        None,
    );
    let own = Verdict::of(&other(|facts| (facts.allocator, facts.is_own) = ("mimalloc", true)));
    assert!(own.sentence.ends_with("measured, because it does not count live blocks."), "{}", own.sentence);
    concludes(
        &other(|facts| facts.long_keeping = Some(("dirty_decay_ms=600000".into(), Some(600_000)))),
        VerdictCode::AllocatorOptions,
        "It may be the allocator: 1,200 of 1,400 MiB belong to jemalloc, and its free memory cannot be measured from outside. \
         The option dirty_decay_ms=600000 makes it keep freed memory for 600 s.",
        Some("malloc-backend run jemalloc --preset low-rss -- node …"),
        None,
    );
    concludes(
        &other(|facts| (facts.allocator, facts.is_denied) = ("glibc", true)),
        VerdictCode::Unknown,
        "The reason is unknown: 1,200 of 1,400 MiB belong to glibc, and its free memory cannot be measured, because the right \
         to read the process's memory is missing.",
        Some("sudo malloc-backend doctor --pid 4711"),
        None,
    );
}

#[test]
fn memory_of_no_known_kind() {
    let unknown = facts(|facts| (facts.parts.other, facts.is_known, facts.free) = (1300 * MIB, false, None));
    concludes(
        &unknown,
        VerdictCode::Unknown,
        "The reason is unknown: 1,300 of 1,400 MiB are private memory of an unknown kind (malloc-backend does not know where \
         this process's malloc has its memory).",
        Some("pmap -x 4711 | sort -n -k3 | tail"),
        None,
    );
}

#[test]
fn huge_pages_are_the_reason_where_they_hold_nothing() {
    let empty = |mode| facts(|facts| (facts.zeros, facts.huge_mode) = (700 * MIB, mode));
    concludes(
        &empty(Some("always")),
        VerdictCode::Thp,
        "It is transparent huge pages: 700 of 1,400 MiB are huge pages that contain only zeros. The program never wrote to \
         most of them.",
        Some("echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"),
        Some(700),
    );
    let asked_for = Verdict::of(&empty(Some("madvise"))).command;
    assert_eq!(
        asked_for.as_deref(),
        Some("echo never | sudo tee /sys/kernel/mm/transparent_hugepage/enabled")
    );
    let both = facts(|facts| {
        (facts.zeros, facts.free) = (700 * MIB, Some(Free { bytes: 800 * MIB, pages: Some(800 * MIB) }));
    });
    assert_eq!(Verdict::of(&both).code, VerdictCode::AllocatorRetention);
}

#[test]
fn a_small_process_is_left_alone() {
    let small =
        facts(|facts| (facts.rss, facts.free) = (90 * MIB, Some(Free { bytes: 80 * MIB, pages: None })));
    concludes(
        &small,
        VerdictCode::Small,
        "The process is small: it has 90 MiB of physical memory.",
        None,
        None,
    );
}
