//! Compares sequences of charges to nested accounts with a model that adds all charges up.

use std::sync::Arc;

use malloc_backend::MemoryAllocatorBackend::{self, Mimalloc, Snmalloc};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Account, Stats, everywhere};

const BACKEND: MemoryAllocatorBackend = MemoryAllocatorBackend::Rust;

#[derive(Clone, Debug)]
enum Operation {
    Open(usize),
    Resize(usize, usize),
    Close(usize),
    CloseRemote(usize),
    Cancel(usize),
    Charge(usize),
    Uncharge(usize),
    UnchargeRemote(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let (index, bytes) = (0..64_usize, 0..2000_usize);
    prop_oneof![
        6 => bytes.clone().prop_map(Operation::Open),
        2 => (index.clone(), bytes.clone()).prop_map(|(index, bytes)| Operation::Resize(index, bytes)),
        2 => index.clone().prop_map(Operation::Close),
        2 => index.clone().prop_map(Operation::CloseRemote),
        1 => index.clone().prop_map(Operation::Cancel),
        2 => bytes.prop_map(Operation::Charge),
        1 => index.clone().prop_map(Operation::Uncharge),
        1 => index.prop_map(Operation::UnchargeRemote),
    ]
}

/// The accounts, beginning at the root. Each account is the parent of the next account.
const LEVELS: usize = 3;

proptest! {
    #[test]
    fn each_account_counts_what_is_charged_to_it_and_below(
        limits in [2000..20_000_u64, 2000..20_000_u64, 2000..20_000_u64],
        operations in vec((0..LEVELS, operation()), 1..200),
    ) {
        let mut accounts: Vec<Arc<Account>> = Vec::new();
        for limit in limits {
            accounts.push(Account::new(BACKEND, limit, accounts.last().cloned()));
        }
        // The live sizes of each account.
        let mut buffers: [Vec<usize>; LEVELS] = Default::default();
        let mut regions: [Vec<usize>; LEVELS] = Default::default();
        let mut model = [Stats::default(); LEVELS];
        for (at, operation) in operations {
            let bytes_below = |level: usize, buffers: &[Vec<usize>; LEVELS], regions: &[Vec<usize>; LEVELS]| {
                buffers[level..].iter().chain(&regions[level..]).flatten().sum::<usize>() as u64
            };
            let has_room = |more: usize| {
                (0..=at).all(|level| bytes_below(level, &buffers, &regions) + more as u64 <= limits[level])
            };
            let account = &accounts[at];
            let pick = |index: usize, of: &Vec<usize>| (!of.is_empty()).then(|| index % of.len());
            // A heap does not charge if a limit is exceeded. The test does the same.
            match operation {
                Operation::Open(bytes) | Operation::Charge(bytes) => {
                    prop_assert_eq!(account.has_room(bytes), has_room(bytes));
                    if !has_room(bytes) {
                        continue;
                    }
                    if let Operation::Open(_) = operation {
                        account.open(bytes);
                        buffers[at].push(bytes);
                        model[..=at].iter_mut().for_each(|stats| {
                            stats.total += bytes as u64;
                            stats.allocations += 1;
                        });
                    } else {
                        account.charge(bytes);
                        regions[at].push(bytes);
                    }
                }
                Operation::Resize(index, bytes) => {
                    let Some(index) = pick(index, &buffers[at]) else { continue };
                    let before = buffers[at][index];
                    let grown = bytes.saturating_sub(before);
                    if !has_room(grown) {
                        continue;
                    }
                    account.resize(before, bytes);
                    buffers[at][index] = bytes;
                    model[..=at].iter_mut().for_each(|stats| {
                        stats.total += grown as u64;
                        stats.allocations += 1;
                    });
                }
                Operation::Close(index) | Operation::CloseRemote(index) | Operation::Cancel(index) => {
                    let Some(index) = pick(index, &buffers[at]) else { continue };
                    let bytes = buffers[at].swap_remove(index);
                    match operation {
                        Operation::Close(_) => account.close(bytes),
                        Operation::CloseRemote(_) => account.close_remote(bytes),
                        _ => {
                            account.cancel(bytes);
                            model[..=at].iter_mut().for_each(|stats| {
                                stats.total -= bytes as u64;
                                stats.allocations -= 1;
                            });
                        }
                    }
                }
                Operation::Uncharge(index) | Operation::UnchargeRemote(index) => {
                    let Some(index) = pick(index, &regions[at]) else { continue };
                    let bytes = regions[at].swap_remove(index);
                    match operation {
                        Operation::Uncharge(_) => account.uncharge(bytes),
                        _ => account.uncharge_remote(bytes),
                    }
                }
            }
            for (level, account) in accounts.iter().enumerate() {
                let stats = &mut model[level];
                stats.bytes = bytes_below(level, &buffers, &regions);
                stats.peak = stats.peak.max(stats.bytes);
                stats.buffers = buffers[level..].iter().map(Vec::len).sum::<usize>() as u64;
                prop_assert_eq!(account.stats(), *stats);
                prop_assert!(stats.peak <= limits[level]);
            }
        }
    }
}

#[test]
fn there_is_room_up_to_the_limit_and_sizes_do_not_wrap() {
    let account = Account::new(BACKEND, 100, None);
    assert!(account.has_room(100) && !account.has_room(101));
    account.open(60);
    assert!(account.has_room(40) && !account.has_room(41) && !account.has_room(usize::MAX));
    let unlimited = Account::new(BACKEND, u64::MAX, Some(Account::new(BACKEND, u64::MAX, None)));
    unlimited.open(60);
    assert!(unlimited.has_room(1 << 50) && !unlimited.has_room(usize::MAX));
    assert!(!unlimited.is_root());
}

/// No other test charges these backends.
#[test]
fn everywhere_adds_up_the_roots_of_all_threads_by_backend() {
    let root = Account::new(Mimalloc, u64::MAX, None);
    let child = Account::new(Mimalloc, u64::MAX, Some(root.clone()));
    let other = Account::new(Snmalloc, u64::MAX, None);
    root.open(1);
    child.open(20);
    other.charge(300);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let another = Account::new(Mimalloc, u64::MAX, None);
            another.open(4000);
            assert_eq!(everywhere(Mimalloc), (4021, 3));
            assert_eq!(everywhere(Snmalloc), (300, 0));
        });
    });
    assert_eq!(everywhere(Mimalloc), (21, 2));
    // Enough accounts that the list of roots forgets the dropped ones.
    for _ in 0..1000 {
        Account::new(Mimalloc, u64::MAX, None);
    }
    assert_eq!(everywhere(Mimalloc), (21, 2));
    drop((root, child));
    assert_eq!(everywhere(Mimalloc), (0, 0));
}
