//! Compares sequences of operations with a model of the allocator's promises: 10^6 operations for each backend.
//!
//! If a sequence fails, proptest shrinks it and prints the short sequence. Set `PROPTEST_RNG_SEED` for other sequences, and
//! `PROPTEST_CASES` for more sequences.

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

/// Maximum number of live blocks in a sequence.
const SLOTS: usize = 64;

#[derive(Clone, Debug)]
enum Operation {
    /// Frees the block in the slot and puts a new block there. The next two operations do the same.
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
    /// Reallocates the block in the slot. If the slot is empty, reallocates null.
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

/// A size from a number below a million. Most sizes are small, as in a program, and a few are some MiB.
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

/// An alignment from a number. Few alignments are larger than a page.
fn alignment(rank: usize) -> usize {
    match rank * 1000 / RANKS {
        0..900 => 1 << (rank % 9),
        900..995 => 1 << (9 + rank % 4),
        995..998 => 64 << 10,
        _ => 2 << 20,
    }
}

/// Operations from numbers and not from strategies of operations. The values of such strategies have kilobytes, and copying
/// them would take nearly all the time. Smaller numbers are simpler operations, so proptest shrinks towards them.
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

/// The live blocks. A [`Block`] checks its contents, its alignment and its size. The model checks the addresses.
struct Model {
    functions: Functions,
    slots: [Option<Block>; SLOTS],
    /// The end of each live block, with its start as the key.
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
        // A block of 0 bytes also has an address of its own.
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

/// Every run has the same sequences, unless `PROPTEST_RNG_SEED` is set. `PROPTEST_CASES` and the other variables of proptest
/// work too.
fn config(cases: u32) -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    // Enough to shrink to a handful of operations. The default is a few times the number of cases.
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

/// Prints a sequence on one line. proptest would print five lines for each operation.
fn fail<Sequence: Debug>(failure: TestError<Sequence>) {
    match failure {
        TestError::Fail(reason, sequence) => panic!("{reason}, after {sequence:?}"),
        TestError::Abort(reason) => panic!("{reason}"),
    }
}

fn a_million_operations(f: Functions) {
    let performed = Cell::new(0);
    // A sequence has half of the maximum length on average. Run a few more than needed.
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
    /// Sends the block in the slot to another thread. The number counts from this thread.
    Hand {
        slot: usize,
        to: usize,
    },
    /// Receives a block, if another thread has sent one.
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

/// The steps of one thread. After the thread has ended, the blocks that it has sent stay alive.
fn perform(f: Functions, steps: &[Step], others: &[Sender<Block>], came: &Receiver<Block>) {
    let mut model = Model::new(f);
    for step in steps {
        match step {
            Step::Own(operation) => model.apply(operation),
            Step::Hand { slot, to } => {
                if let Some(block) = model.take(*slot) {
                    // The other thread may have ended. Then the error contains the block, and this thread frees it.
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
    // A failure that depends on the order of the threads does not shrink well.
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
                // A panic in a thread is a failure of this sequence, which proptest then shrinks.
                thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            }
            Ok(())
        })
        .unwrap_or_else(fail);
}

/// Mistakes that sequences of operations find better than the tests of the contract, and the number of operations after
/// shrinking, if the mistake does not depend on the state of the heap.
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
