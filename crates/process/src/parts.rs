//! Which part of a process each byte of its physical memory is.

use malloc_backend::{Place, Stats, Traits};

use crate::memory::MemoryMap;

/// The parts of a process's physical memory, in bytes. Each byte is in one of them; what cannot be known is `None`, and the
/// memory is then in another part. The package's `MemoryParts` says what each is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Parts {
    pub v8_heap: Option<u64>,
    pub code: u64,
    pub array_buffers: Option<u64>,
    pub malloc_live: Option<u64>,
    pub malloc_cached: Option<u64>,
    pub malloc: Option<u64>,
    pub mapped_files: u64,
    pub stacks: u64,
    pub other: u64,
}

/// What the mappings do not show: what a process itself tells, and what was read in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// By its `malloc`.
    pub stats: Stats,
    /// Bytes of the blocks that glibc has mapped for themselves.
    pub mapped_blocks: Option<u64>,
    /// Bytes of physical memory that glibc has, where its heaps were read.
    pub read: Option<u64>,
    /// By its V8, if it has one.
    pub v8: Option<V8>,
}

/// What V8 tells of itself.
#[derive(Clone, Copy, Debug)]
pub struct V8 {
    /// Bytes of `malloc` in a thread's array buffers.
    pub array_buffers: u64,
    /// Bytes of physical memory in that thread's heap, as V8 reckons.
    pub heap: u64,
}

impl Parts {
    /// Says which part each byte of the map is in. `allocator` is the name of the one that serves `malloc`; of another
    /// process nothing is told.
    pub fn new(map: &MemoryMap, allocator: &str, told: &Told) -> Self {
        // A V8 that does not mark its mappings (MADV_DONTFORK): they are among the reserved ones, and its word is all
        // there is.
        let unmarked = told.v8.filter(|_| map.v8 == 0).map_or(0, |v8| v8.heap.min(map.reserved));
        let v8_heap = map.v8 + unmarked;
        let map = MemoryMap { reserved: map.reserved - unmarked, ..*map };
        let anonymous = map.heap + map.arenas + map.reserved + map.private;
        let buffers = told.v8.map(|v8| v8.array_buffers);
        let base = Self {
            v8_heap: (v8_heap != 0).then_some(v8_heap),
            code: map.code,
            mapped_files: map.files,
            stacks: map.stacks,
            ..Self::default()
        };
        match malloc_memory(&map, allocator, told) {
            Some(malloc) => base
                .with_blocks(malloc, told.stats.allocated, buffers)
                .with_other(anonymous - malloc + map.other),
            // Where `malloc`'s memory is not known the buffers are still somewhere in it.
            None => {
                let loose = buffers.map(|buffers| buffers.min(anonymous));
                let other = anonymous - loose.unwrap_or(0) + map.other;
                Self { array_buffers: loose, ..base }.with_other(other)
            }
        }
    }

    /// Divides `malloc`'s memory by what the allocator counts as live.
    fn with_blocks(self, malloc: u64, allocated: Option<u64>, in_buffers: Option<u64>) -> Self {
        let live = allocated.unwrap_or(malloc).min(malloc);
        let untouched = allocated.unwrap_or(0).saturating_sub(malloc);
        let array_buffers = in_buffers.map(|buffers| live.min(buffers.saturating_sub(untouched)));
        let besides = array_buffers.unwrap_or(0);
        match allocated {
            None => Self { array_buffers, malloc: Some(malloc - besides), ..self },
            Some(_) => Self {
                array_buffers,
                malloc_live: Some(live - besides),
                malloc_cached: Some(malloc - live),
                ..self
            },
        }
    }

    fn with_other(self, other: u64) -> Self {
        Self { other, ..self }
    }

    /// The parts that there are, by the names that they have in TypeScript.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [
            ("v8Heap", self.v8_heap),
            ("code", Some(self.code)),
            ("arrayBuffers", self.array_buffers),
            ("mallocLive", self.malloc_live),
            ("mallocCached", self.malloc_cached),
            ("malloc", self.malloc),
            ("mappedFiles", Some(self.mapped_files)),
            ("stacks", Some(self.stacks)),
            ("other", Some(self.other)),
        ];
        all.into_iter().filter_map(|(name, bytes)| Some((name, bytes?)))
    }
}

/// The physical memory of the allocator that serves `malloc`; `None` where its mappings cannot be told.
fn malloc_memory(map: &MemoryMap, allocator: &str, told: &Told) -> Option<u64> {
    match Traits::of(allocator).place {
        Place::BrkAndArenas => {
            let by_mappings = map.heap + map.arenas + map.private.min(told.mapped_blocks.unwrap_or(0));
            let anonymous = map.heap + map.arenas + map.reserved + map.private;
            Some(told.read.map_or(by_mappings, |read| read.min(anonymous)))
        }
        Place::Reserved => {
            let reserved = map.arenas + map.reserved;
            // Nothing is marked as reserved where the kernel reserves for everybody (vm.overcommit_memory is 2).
            let mappings = if reserved == 0 { map.private } else { reserved };
            // jemalloc knows how much it has at the most. What is over that is another allocator's, such as the addon's.
            Some(mappings.min(told.stats.resident.unwrap_or(u64::MAX)))
        }
        Place::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: MemoryMap = MemoryMap {
        rss: 0,
        v8: 100,
        code: 1,
        files: 10,
        stacks: 5,
        heap: 40,
        arenas: 20,
        reserved: 300,
        private: 80,
        other: 2,
    };
    const ALL: u64 = 558;

    fn told(array_buffers: u64) -> Told {
        Told { v8: Some(V8 { array_buffers, heap: 90 }), ..Told::default() }
    }

    fn allocated(bytes: u64) -> Stats {
        Stats { allocated: Some(bytes), ..Stats::default() }
    }

    fn sum(parts: &Parts) -> u64 {
        parts.named().map(|(_, bytes)| bytes).sum()
    }

    #[test]
    fn what_glibc_has_mapped_for_single_blocks_is_of_it_and_no_more() {
        let told = Told { stats: allocated(70), mapped_blocks: Some(30), ..told(25) };
        let found = Parts::new(&MAP, "glibc", &told);
        let expected = Parts {
            v8_heap: Some(100),
            code: 1,
            array_buffers: Some(25),
            malloc_live: Some(45),
            malloc_cached: Some(20),
            malloc: None,
            mapped_files: 10,
            stacks: 5,
            other: 300 + 50 + 2,
        };
        assert_eq!((found, sum(&found)), (expected, ALL));
    }

    #[test]
    fn blocks_without_memory_are_taken_to_be_buffers() {
        let told = Told { stats: allocated(240), mapped_blocks: Some(200), ..told(150) };
        let found = Parts::new(&MAP, "glibc", &told);
        assert_eq!([found.array_buffers, found.malloc_live, found.malloc_cached], [50, 90, 0].map(Some));
        assert_eq!(sum(&found), ALL);
    }

    #[test]
    fn a_v8_that_does_not_mark_its_mappings_is_believed() {
        let found = Parts::new(&MemoryMap { v8: 0, ..MAP }, "mimalloc", &told(25));
        assert_eq!([found.v8_heap, found.malloc], [90, 20 + 300 - 90 - 25].map(Some));
        assert_eq!(sum(&found), ALL - 100);
    }

    #[test]
    fn where_nothing_is_marked_as_reserved_the_private_memory_is_the_allocators() {
        let found = Parts::new(&MemoryMap { arenas: 0, reserved: 0, ..MAP }, "snmalloc", &told(25));
        assert_eq!((found.malloc, found.other), (Some(80 - 25), 40 + 2));
    }

    #[test]
    fn what_is_over_jemallocs_own_count_is_somebody_elses() {
        let stats = Stats { resident: Some(200), ..allocated(150) };
        let found = Parts::new(&MAP, "jemalloc", &Told { stats, ..told(400) });
        assert_eq!([found.array_buffers, found.malloc_live, found.malloc_cached], [150, 0, 50].map(Some));
        assert_eq!((found.other, sum(&found)), (40 + 120 + 80 + 2, ALL));
    }

    #[test]
    fn without_a_known_allocator_there_are_no_parts_of_it() {
        let found = Parts::new(&MAP, "tcmalloc", &told(25));
        let names: Vec<_> = found.named().map(|(name, _)| name).collect();
        assert_eq!(names, ["v8Heap", "code", "arrayBuffers", "mappedFiles", "stacks", "other"]);
        assert_eq!(sum(&found), ALL);
    }

    #[test]
    fn of_another_process_mallocs_memory_is_one_part() {
        let found = Parts::new(&MAP, "mimalloc", &Told::default());
        let names: Vec<_> = found.named().map(|(name, _)| name).collect();
        assert_eq!(names, ["v8Heap", "code", "malloc", "mappedFiles", "stacks", "other"]);
        assert_eq!((found.malloc, sum(&found)), (Some(320), ALL));
    }
}
