//! Each byte string once, for ever: stacks, names, functions.
//!
//! There is no lock: a thread writes a record into memory of its own and then tries to be the first to put its index into the
//! table. A record is never changed or removed while the profile runs, but for its counters.

use std::io;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::region::Region;

/// How many slots are looked at before the table counts as full.
const PROBES: usize = 128;

/// What stands before the bytes of a record.
#[repr(C)]
struct Header {
    hash: u64,
    length: u64,
    counters: [AtomicU64; 2],
}

const UNIT: usize = 8;

/// A set of byte strings. An index is the string's place in units of eight bytes; 0 is none.
pub struct Interner {
    table: Region,
    slots: usize,
    arena: Region,
    /// In units.
    room: usize,
    /// The next free unit.
    next: AtomicUsize,
    dropped: AtomicU64,
}

impl Interner {
    /// A set with that many slots, a power of two, and that many bytes for the strings.
    pub fn new(slots: usize, bytes: usize) -> io::Result<Self> {
        assert!(slots.is_power_of_two() && bytes / UNIT <= u32::MAX as usize);
        Ok(Self {
            table: Region::new(slots * size_of::<AtomicU32>())?,
            slots,
            arena: Region::new(bytes)?,
            room: bytes / UNIT,
            next: AtomicUsize::new(1),
            dropped: AtomicU64::new(0),
        })
    }

    /// Forgets everything. No other thread uses the set meanwhile.
    pub fn clear(&self) {
        self.table.clear();
        self.arena.clear();
        self.next.store(1, Ordering::Relaxed);
        self.dropped.store(0, Ordering::Relaxed);
    }

    /// How many strings found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The bytes in use.
    pub fn used(&self) -> usize {
        self.next.load(Ordering::Relaxed).min(self.room) * UNIT
    }

    fn slot(&self, slot: usize) -> &AtomicU32 {
        // SAFETY: the mask keeps the slot in the region, which is aligned, zeroed and for ever, and is only used as atomics.
        unsafe { &*self.table.start().cast::<AtomicU32>().add(slot & (self.slots - 1)) }
    }

    fn header(&self, index: u32) -> *mut Header {
        debug_assert!((1..self.room).contains(&(index as usize)));
        // SAFETY: an index that `reserve` gave is in the region.
        unsafe { self.arena.start().add(index as usize * UNIT).cast() }
    }

    /// The index of the string; `None` if there is no room for it.
    pub fn intern(&self, bytes: &[u8]) -> Option<u32> {
        let hash = hash(bytes);
        let mut own = None;
        for probe in 0..PROBES {
            let slot = self.slot(hash as usize + probe);
            let mut index = slot.load(Ordering::Acquire);
            if index == 0 {
                let Some(new) = own.or_else(|| self.write(hash, bytes)) else { break };
                own = Some(new);
                match slot.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return Some(new),
                    Err(other) => index = other,
                }
            }
            // SAFETY: an index in the table is of a record that is complete.
            if unsafe { (*self.header(index)).hash } == hash && self.get(index) == bytes {
                return Some(index);
            }
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn write(&self, hash: u64, bytes: &[u8]) -> Option<u32> {
        let units = (size_of::<Header>() + bytes.len()).div_ceil(UNIT);
        let claim = |next: usize| (units <= self.room - next.min(self.room)).then(|| next + units);
        let index = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim).ok()?;
        let header = self.header(index as u32);
        // SAFETY: the units from the index on are this thread's alone, zeroed, and enough for the header and the bytes.
        unsafe {
            (*header).hash = hash;
            (*header).length = bytes.len() as u64;
            header.add(1).cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        Some(index as u32)
    }

    /// The string of an index that [`Self::intern`] gave since the set was last cleared.
    pub fn get(&self, index: u32) -> &[u8] {
        let header = self.header(index);
        // SAFETY: the record is complete, and does not change.
        unsafe { slice::from_raw_parts(header.add(1).cast(), (*header).length as usize) }
    }

    /// The string's two counters.
    pub fn counters(&self, index: u32) -> &[AtomicU64; 2] {
        // SAFETY: as above; the counters are only used as atomics.
        unsafe { &(*self.header(index)).counters }
    }

    /// Calls the function for each index.
    pub fn each(&self, mut with: impl FnMut(u32)) {
        for slot in 0..self.slots {
            match self.slot(slot).load(Ordering::Acquire) {
                0 => {}
                index => with(index),
            }
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| {
        let hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64 + 1, |hash, word| mix(hash, u64::from_ne_bytes(*word)));
    let last = rest.iter().fold(0, |last, byte| (last << 8) | u64::from(*byte));
    let hash = mix(mix(hash, last), 0);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::thread;

    #[test]
    fn the_same_string_has_the_same_index() {
        let set = Interner::new(64, 1 << 16).unwrap();
        let [one, two] = ["one", "two"].map(|text| set.intern(text.as_bytes()).unwrap());
        assert_ne!(one, two);
        assert_eq!(set.intern(b"one"), Some(one));
        assert_eq!(set.get(one), b"one");
        assert_eq!(set.get(two), b"two");
        let empty = set.intern(b"").unwrap();
        assert_eq!(set.get(empty), b"");
        set.counters(one)[1].fetch_add(5, Ordering::Relaxed);
        assert_eq!(set.counters(one)[1].load(Ordering::Relaxed), 5);
    }

    #[test]
    fn a_full_set_drops_and_counts() {
        let set = Interner::new(1024, 1 << 12).unwrap();
        let kept = (0_u64..1000).filter(|number| set.intern(&number.to_ne_bytes()).is_some()).count();
        assert!((50..1000).contains(&kept), "{kept}");
        assert_eq!(set.dropped(), 1000 - kept as u64);
        assert_eq!(set.intern(&0_u64.to_ne_bytes()).map(|index| set.get(index)), Some(&[0; 8][..]));
        set.clear();
        assert_eq!(set.dropped(), 0);
        assert!(set.intern(b"again").is_some());
    }

    #[test]
    fn threads_agree() {
        let set = Interner::new(1 << 12, 1 << 20).unwrap();
        let indices: Vec<Vec<u32>> = thread::scope(|scope| {
            let all = || (0_u64..1000).map(|number| set.intern(&number.to_ne_bytes()).unwrap()).collect();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(all)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(indices.iter().all(|each| *each == indices[0]));
        let mut seen = BTreeSet::new();
        set.each(|index| assert!(seen.insert(index)));
        assert_eq!(seen.len(), 1000);
    }
}
