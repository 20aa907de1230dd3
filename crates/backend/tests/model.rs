//! Sequences of operations against a model of what an allocator has promised so far: 10^6 operations per backend.
//!
//! Where a sequence fails, proptest shrinks it to a short one and prints that. `PROPTEST_RNG_SEED` asks for other
//! sequences and `PROPTEST_CASES` for more.

#[macro_use]
mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::mpsc::{self, Receiver, Sender};
use std::{env, panic, thread};

use malloc_backend::Functions;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use support::mistakes::MISTAKES;
use support::{Block, IMPOSSIBLE};

for_each_backend! {
    any_turn => a_million_operations, threads_hand_blocks_over;
}

fn any_turn() {}

/// How many blocks may live at once in a sequence.
const SLOTS: usize = 64;

#[derive(Clone, Debug)]
enum Operation {
    /// Frees what is in the slot and puts a new block there; so the next two.
    Malloc {
        slot: usize,
        size: usize,
    },
    Calloc {
        slot: usize,
        count: usize,
        size: usize,
    },
    AlignedAlloc {
        slot: usize,
        alignment: usize,
        size: usize,
    },
    /// With nothing in the slot, of null.
    Realloc {
        slot: usize,
        size: usize,
    },
    ReallocTooLarge {
        slot: usize,
        size: usize,
    },
    Free {
        slot: usize,
    },
    Check {
        slot: usize,
    },
}

const RANKS: usize = 1_000_000;

/// A size by its rank among a million: mostly small ones, as of a program, and a few of some MiB.
fn size(rank: usize) -> usize {
    let (from, to, least, most) = match rank {
        0..400_000 => (0, 400_000, 0, 64),
        400_000..750_000 => (400_000, 750_000, 64, 1024),
        750_000..997_000 => (750_000, 997_000, 1024, 20_000),
        997_000..999_300 => (997_000, 999_300, 20_000, 512 << 10),
        _ => (999_300, RANKS, 512 << 10, 4 << 20),
    };
    least + (most - least) * (rank - from) / (to - from)
}

/// The like for alignments. Above a page are few.
fn alignment(rank: usize) -> usize {
    match rank * 1000 / RANKS {
        0..900 => 1 << (rank % 9),
        900..995 => 1 << (9 + rank % 4),
        995..998 => 64 << 10,
        _ => 2 << 20,
    }
}

/// Of numbers, not of strategies of operations: the values of those take up kilobytes each, and to copy them takes
/// nearly all of the time. Smaller numbers are simpler operations, which is where proptest shrinks to.
fn operation() -> impl Strategy<Value = Operation> {
    (0..100_u8, 0..SLOTS, 0..RANKS, 0..RANKS).prop_map(|(kind, slot, rank, other)| {
        let size = size(rank);
        match kind {
            0..3 => Operation::Check { slot },
            3..18 => Operation::Free { slot },
            18..48 => Operation::Malloc { slot, size },
            48..78 => Operation::Realloc { slot, size },
            78..88 => {
                let count = other % 20;
                Operation::Calloc { slot, count, size: size / count.max(1) }
            }
            88..98 => Operation::AlignedAlloc { slot, alignment: alignment(other), size },
            _ => Operation::ReallocTooLarge { slot, size: IMPOSSIBLE[other % IMPOSSIBLE.len()] },
        }
    })
}

/// What lives. A [`Block`] looks after its contents, its alignment and its size; the model after the addresses.
struct Model {
    functions: Functions,
    slots: [Option<Block>; SLOTS],
    /// The end of each live block, by its start.
    ranges: BTreeMap<usize, usize>,
}

impl Model {
    fn new(functions: Functions) -> Self {
        Self { functions, slots: [const { None }; SLOTS], ranges: BTreeMap::new() }
    }

    fn take(&mut self, slot: usize) -> Option<Block> {
        let block = self.slots[slot].take()?;
        self.ranges.remove(&block.address()).expect("a live block is in the model");
        Some(block)
    }

    fn put(&mut self, slot: usize, block: Block) {
        // A block of no bytes has its address to itself, too.
        let (start, end) = (block.address(), block.address() + block.usable().max(1));
        if let Some((other, other_end)) = self.ranges.range(..end).next_back() {
            assert!(*other_end <= start, "{block:?} lies over the one at {other:#x} to {other_end:#x}");
        }
        self.ranges.insert(start, end);
        self.slots[slot] = Some(block);
    }

    fn apply(&mut self, operation: &Operation) {
        let f = self.functions;
        match *operation {
            Operation::Malloc { slot, size } => {
                drop(self.take(slot));
                self.put(slot, Block::malloc(f, size).expect("memory"));
            }
            Operation::Calloc { slot, count, size } => {
                drop(self.take(slot));
                self.put(slot, Block::calloc(f, count, size).expect("memory"));
            }
            Operation::AlignedAlloc { slot, alignment, size } => {
                drop(self.take(slot));
                self.put(slot, Block::aligned_alloc(f, alignment, size).expect("memory"));
            }
            Operation::Realloc { slot, size } => {
                let block = match self.take(slot) {
                    None => Block::realloc_null(f, size).expect("memory"),
                    Some(mut block) => {
                        assert!(block.realloc(size), "no memory to resize {block:?} to {size}");
                        block
                    }
                };
                self.put(slot, block);
            }
            Operation::ReallocTooLarge { slot, size } => {
                if let Some(block) = &mut self.slots[slot] {
                    assert!(!block.realloc(size), "{block:?} has {size} bytes now");
                }
            }
            Operation::Free { slot } => drop(self.take(slot)),
            Operation::Check { slot } => self.slots[slot].iter().for_each(Block::check),
        }
    }
}

/// The same sequences in every run, unless `PROPTEST_RNG_SEED` asks for others; `PROPTEST_CASES` and the other
/// variables of proptest count too.
fn config(cases: u32) -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    // Enough to come down to a handful of operations; by default it is a few times the number of cases.
    if config.max_shrink_iters == u32::MAX {
        config.max_shrink_iters = 50_000;
    }
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x6d61_6c6c_6f63);
    }
    config
}

/// On one line: proptest would give each operation five.
fn fail<Sequence: Debug>(failure: TestError<Sequence>) {
    match failure {
        TestError::Fail(reason, sequence) => panic!("{reason}, after {sequence:?}"),
        TestError::Abort(reason) => panic!("{reason}"),
    }
}

fn a_million_operations(f: Functions) {
    let performed = Cell::new(0);
    // Half of the longest length on average, and a few more than needed.
    let sequences = vec(operation(), 1..=2000);
    TestRunner::new(config(1_100))
        .run(&sequences, |operations| {
            let mut model = Model::new(f);
            operations.iter().for_each(|operation| model.apply(operation));
            performed.set(performed.get() + operations.len());
            Ok(())
        })
        .unwrap_or_else(fail);
    let fewer_wanted = env::var_os("PROPTEST_CASES").is_some();
    assert!(performed.get() >= 1_000_000 || fewer_wanted, "only {} operations", performed.get());
}

#[derive(Clone, Debug)]
enum Step {
    Own(Operation),
    /// Hands the block in the slot to another thread, counted from this one.
    Hand {
        slot: usize,
        to: usize,
    },
    /// Takes a block over, if one has come.
    Take {
        slot: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    (0..6_u8, operation(), 0..SLOTS, 1..4_usize).prop_map(|(kind, operation, slot, to)| match kind {
        0 => Step::Take { slot },
        1 => Step::Hand { slot, to },
        _ => Step::Own(operation),
    })
}

/// One thread's steps. Then it ends, and what it has handed over lives on.
fn perform(f: Functions, steps: &[Step], others: &[Sender<Block>], came: &Receiver<Block>) {
    let mut model = Model::new(f);
    for step in steps {
        match step {
            Step::Own(operation) => model.apply(operation),
            Step::Hand { slot, to } => {
                if let Some(block) = model.take(*slot) {
                    // The other one may have ended; the block comes back with the error and is freed here.
                    let _ = others[(to - 1) % others.len()].send(block);
                }
            }
            Step::Take { slot } => {
                if let Ok(block) = came.try_recv() {
                    drop(model.take(*slot));
                    block.check();
                    model.put(*slot, block);
                }
            }
        }
    }
}

fn threads_hand_blocks_over(f: Functions) {
    let threads = vec(vec(step(), 1..=1000), 2..=4);
    let mut config = config(600);
    // What depends on who comes first does not shrink well.
    config.max_shrink_iters = config.max_shrink_iters.min(300);
    TestRunner::new(config)
        .run(&threads, |sequences| {
            let (senders, receivers): (Vec<_>, Vec<_>) = sequences.iter().map(|_| mpsc::channel()).unzip();
            let running: Vec<_> = sequences
                .into_iter()
                .zip(receivers)
                .enumerate()
                .map(|(index, (steps, came))| {
                    let mut others = senders.clone();
                    others.rotate_left(index);
                    thread::spawn(move || perform(f, &steps, &others[1..], &came))
                })
                .collect();
            drop(senders);
            for thread in running {
                // Its panic is this sequence's, which proptest then shrinks.
                thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            }
            Ok(())
        })
        .unwrap_or_else(fail);
}

/// Those mistakes that a sequence of operations is better at finding than the contract's tests, by how few operations
/// are left of it, where the mistake does not depend on what the heap looks like.
#[test]
fn the_model_finds_mistakes() {
    type Test = fn(Functions);
    let finds: [(&str, Option<usize>, Test); 7] = [
        ("no bytes share a block", Some(4), a_million_operations),
        ("calloc leaves dirt", Some(4), a_million_operations),
        ("realloc loses the last byte", None, a_million_operations),
        ("realloc that fails loses the contents", Some(4), a_million_operations),
        ("alignments over 64 are ignored", None, a_million_operations),
        ("only the own thread may resize", None, threads_hand_blocks_over),
        ("blocks end with their thread", None, threads_hand_blocks_over),
    ];
    if env::var_os("PROPTEST_CASES").is_some() {
        return eprintln!("skipped: as many sequences as are asked for may not be enough");
    }
    for (name, most, test) in finds {
        let (_, functions) = MISTAKES.into_iter().find(|(mistake, _)| *mistake == name).expect(name);
        let panic = panic::catch_unwind(|| test(functions)).expect_err(name);
        let message = panic.downcast_ref::<String>().expect("the message of `fail`");
        let operations = message.matches("slot:").count();
        assert!(most.is_none_or(|most| operations <= most), "{name}: {message}");
    }
}
