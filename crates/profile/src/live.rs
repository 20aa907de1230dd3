//! The sampled blocks that are in use.
//!
//! The table has no lock. An address belongs to the one thread that got it from the allocator, until that thread has freed it,
//! so no two threads write the same address at the same time. An address can be in two buckets of eight slots. If both are
//! full, the sample is dropped and counted. So every operation looks at no more than two cache lines, however long the
//! profile runs.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use crate::region::Region;

/// The slots of a bucket: one cache line of addresses.
const BUCKET: usize = 8;

/// A slot's value besides the address.
#[repr(C)]
struct Value {
    size: AtomicU64,
    stack: AtomicU32,
}

/// A sampled block that is in use.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// What the caller asked for.
    pub size: u64,
    /// The stack, in the interner of stacks.
    pub stack: u32,
}

/// The table.
pub struct Live {
    keys: Region,
    values: Region,
    /// Buckets that a profile may use, a power of two. Fewer than there is room for.
    buckets: AtomicUsize,
    room: usize,
    count: AtomicUsize,
    dropped: AtomicU64,
}

impl Live {
    /// A table with room for that many samples.
    pub fn new(most: usize) -> io::Result<Self> {
        let room = buckets_for(most);
        Ok(Self {
            keys: Region::new(room * BUCKET * size_of::<AtomicUsize>())?,
            values: Region::new(room * BUCKET * size_of::<Value>())?,
            buckets: AtomicUsize::new(room),
            room,
            count: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// Forgets everything, for a profile of that many samples. No other thread inserts meanwhile.
    pub fn clear(&self, most: usize) {
        self.keys.clear();
        self.values.clear();
        self.buckets.store(buckets_for(most).min(self.room), Ordering::Release);
        self.count.store(0, Ordering::Relaxed);
        self.dropped.store(0, Ordering::Relaxed);
    }

    /// How many samples are in the table.
    pub fn len(&self) -> usize {
        // A late free of the last profile's may have counted down after `clear`.
        (self.count.load(Ordering::Relaxed) as isize).max(0) as usize
    }

    /// How many samples found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn key(&self, slot: usize) -> &AtomicUsize {
        debug_assert!(slot < self.room * BUCKET);
        // SAFETY: the slot is in the region, which is aligned, zeroed and for ever, and is only used as atomics.
        unsafe { &*self.keys.start().cast::<AtomicUsize>().add(slot) }
    }

    fn value(&self, slot: usize) -> &Value {
        debug_assert!(slot < self.room * BUCKET);
        // SAFETY: as above.
        unsafe { &*self.values.start().cast::<Value>().add(slot) }
    }

    /// The first slots of the two buckets in which the address may be.
    fn buckets_of(&self, address: usize) -> [usize; 2] {
        let mask = self.buckets.load(Ordering::Acquire) - 1;
        let hash = (address >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        [hash >> 40, hash >> 16].map(|hash| (hash & mask) * BUCKET)
    }

    /// The slot that has the address. Allocators give a page's first block away again and again after a sample was there, so this
    /// must be fast if there is none: it has no loop of an unknown length.
    fn find(&self, address: usize) -> Option<usize> {
        for bucket in self.buckets_of(address) {
            let keys: [usize; BUCKET] =
                std::array::from_fn(|place| self.key(bucket + place).load(Ordering::Relaxed));
            if keys.contains(&address) {
                return keys.iter().position(|key| *key == address).map(|place| bucket + place);
            }
        }
        None
    }

    /// Adds a block that the calling thread has just got. False if there is no room.
    pub fn insert(&self, address: usize, Sample { size, stack }: Sample) -> bool {
        // A module without hooks may have freed the block that was here before.
        self.remove(address);
        for slot in self.buckets_of(address).into_iter().flat_map(|bucket| bucket..bucket + BUCKET) {
            let key = self.key(slot);
            // 1 keeps the slot for this thread until the value is written.
            if key.load(Ordering::Relaxed) != 0
                || key.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err()
            {
                continue;
            }
            let value = self.value(slot);
            value.size.store(size, Ordering::Relaxed);
            value.stack.store(stack, Ordering::Relaxed);
            key.store(address, Ordering::Release);
            self.count.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Removes a block that the calling thread is about to free. False if it was not a sampled one.
    pub fn remove(&self, address: usize) -> bool {
        self.take(address).is_some()
    }

    /// Removes a block that the calling thread is about to free or to resize, and returns what was known of it.
    pub fn take(&self, address: usize) -> Option<Sample> {
        let slot = self.find(address)?;
        // The block is the calling thread's, so nobody changes the value.
        let value = self.value(slot);
        let sample =
            Sample { size: value.size.load(Ordering::Relaxed), stack: value.stack.load(Ordering::Relaxed) };
        self.key(slot).compare_exchange(address, 0, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(sample)
    }

    /// Calls the function for each sample, while other threads go on. A sample that another thread frees or inserts meanwhile
    /// may be left out.
    pub fn each(&self, mut with: impl FnMut(Sample)) {
        for slot in 0..self.buckets.load(Ordering::Acquire) * BUCKET {
            let key = self.key(slot).load(Ordering::Acquire);
            if key <= 1 {
                continue;
            }
            let value = self.value(slot);
            let sample = Sample {
                size: value.size.load(Ordering::Relaxed),
                stack: value.stack.load(Ordering::Relaxed),
            };
            fence(Ordering::Acquire);
            if self.key(slot).load(Ordering::Relaxed) == key {
                with(sample);
            }
        }
    }
}

/// With two buckets of eight to choose from, seven of ten slots fill before the first sample is dropped.
fn buckets_for(most: usize) -> usize {
    (most * 10 / 7 / BUCKET + 1).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::thread;

    fn of(table: &Live) -> BTreeMap<u64, u32> {
        let mut all = BTreeMap::new();
        table.each(|Sample { size, stack }| assert_eq!(all.insert(size, stack), None));
        all
    }

    #[test]
    fn a_block_is_there_until_it_is_removed() {
        let table = Live::new(100).unwrap();
        assert!(table.insert(0x1000, Sample { size: 1, stack: 11 }));
        assert!(table.insert(0x2000, Sample { size: 2, stack: 22 }));
        assert_eq!(of(&table), BTreeMap::from([(1, 11), (2, 22)]));
        assert!(table.remove(0x1000));
        assert!(!table.remove(0x1000));
        assert!(!table.remove(0x3000));
        assert_eq!(of(&table), BTreeMap::from([(2, 22)]));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_block_whose_end_was_missed_is_replaced() {
        let table = Live::new(100).unwrap();
        table.insert(0x1000, Sample { size: 1, stack: 11 });
        table.insert(0x1000, Sample { size: 2, stack: 22 });
        assert_eq!(of(&table), BTreeMap::from([(2, 22)]));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn as_many_blocks_as_promised_fit() {
        for most in [1, 10, 1000, 100_000] {
            let table = Live::new(most).unwrap();
            for block in 1..=most {
                table.insert(block * 0x3000, Sample { size: block as u64, stack: 1 });
            }
            assert!(table.dropped() * 1000 <= most as u64, "{} of {most}", table.dropped());
            assert_eq!(table.len() + table.dropped() as usize, most);
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let table = Live::new(1000).unwrap();
        for block in 1..=100_000_usize {
            table.insert(block << 12, Sample { size: 1, stack: 1 });
        }
        assert_eq!(table.len() + table.dropped() as usize, 100_000);
        let mut count = 0;
        table.each(|_| count += 1);
        assert_eq!(count, table.len());
    }

    #[test]
    fn a_long_profile_does_not_fill_the_table() {
        let table = Live::new(100).unwrap();
        for block in 1..=1_000_000_usize {
            assert!(table.insert(block << 12, Sample { size: 1, stack: 1 }));
            assert!(table.remove(block << 12));
        }
        assert_eq!((table.len(), table.dropped()), (0, 0));
    }

    #[test]
    fn threads_do_not_disturb_each_other() {
        let table = Live::new(100_000).unwrap();
        thread::scope(|scope| {
            for thread in 1..=4_usize {
                let table = &table;
                scope.spawn(move || {
                    let address = |block: usize| (thread << 40) | (block << 12);
                    for block in 1..=20_000 {
                        assert!(
                            table.insert(address(block), Sample { size: block as u64, stack: thread as u32 })
                        );
                        if block > 10 {
                            assert!(table.remove(address(block - 10)));
                        }
                    }
                });
            }
            for _ in 0..20 {
                table.each(|Sample { size, stack }| assert!(size <= 20_000 && (1..=4).contains(&stack)));
            }
        });
        assert_eq!(table.len(), 40);
    }
}
