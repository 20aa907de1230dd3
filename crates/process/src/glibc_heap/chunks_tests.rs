use proptest::prelude::*;

use super::*;

const PAGE: u64 = 4096;
const START: u64 = 0x5555_0000_0000;

/// A heap in a file, as it were: its bytes, and the pages that are not there.
struct Image {
    words: Vec<u64>,
    absent: Vec<u64>,
    looks: u64,
    /// What the heap becomes once it was read that often.
    then: Option<(u64, Vec<u64>)>,
}

impl Image {
    fn new(words: Vec<u64>) -> Self {
        Self { words, absent: Vec::new(), looks: 0, then: None }
    }

    fn bytes(&self) -> u64 {
        self.words.len() as u64 * 8
    }

    fn is_absent(&self, address: u64) -> bool {
        self.absent.contains(&((address - START) / PAGE))
    }

    fn walk(&mut self, main: bool) -> Tally {
        let end = START + self.bytes();
        walk(self, Stretch { begins: START..end, end, synchronised: true, main }, PAGE)
    }
}

impl Memory for Image {
    fn header(&mut self, address: u64, _: Access) -> Option<Header> {
        self.looks += 1;
        if let Some((_, words)) = self.then.take_if(|(looks, _)| *looks == self.looks) {
            self.words = words;
        }
        let at = usize::try_from(address.checked_sub(START)? / 8).ok()?;
        let words: &[u64; 2] = self.words.get(at..)?.first_chunk()?;
        (!self.is_absent(address)).then_some(Header { previous: words[0], size: words[1] })
    }

    fn forget(&mut self, _: u64) {}

    fn next_present(&mut self, range: Range<u64>) -> Option<u64> {
        let mut at = range.start;
        while at < range.end && self.is_absent(at) {
            at = (at / PAGE + 1) * PAGE;
        }
        (at < range.end).then_some(at)
    }

    fn resident(&mut self, range: Range<u64>) -> u64 {
        range.step_by(16).filter(|at| !self.is_absent(*at)).count() as u64 * 16
    }
}

/// A block that is in use or free, with so many units of 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Block {
    units: u64,
    is_free: bool,
}

/// The bytes of a heap with these blocks, two free ones beside each other put together, and the top behind them. What a
/// block holds looks like anything.
fn heap_of(blocks: &[Block], top: u64, main: bool, contents: u64) -> (Vec<u64>, u64, u64) {
    let mut sizes: Vec<(u64, bool)> = Vec::new();
    for block in blocks {
        match sizes.last_mut() {
            Some((size, true)) if block.is_free => *size += block.units * UNIT,
            _ => sizes.push((block.units * UNIT, block.is_free)),
        }
    }
    // The top takes in a free one in front of it.
    let top = top * UNIT + sizes.pop_if(|(_, is_free)| *is_free).map_or(0, |(size, _)| size);
    sizes.push((top, true));
    let mut words: Vec<u64> = Vec::new();
    let mut before = (0, false);
    let mut free = 0;
    for (size, is_free) in &sizes {
        let other = u64::from(!main && !is_free) * IN_OTHER_ARENA;
        let at = words.len();
        words.push(if before.1 { before.0 } else { contents });
        words.push(size | other | u64::from(!before.1));
        words.resize(at + *size as usize / 8, contents);
        free += u64::from(*is_free) * size;
        before = (*size, *is_free);
    }
    (words, sizes.len() as u64, free)
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let units = prop_oneof![8 => 2_u64..40, 2 => 40_u64..400, 1 => 400_u64..2000];
    let block = (units, any::<bool>()).prop_map(|(units, is_free)| Block { units, is_free });
    // The first is in use: the arena's own structure lies before it, or nothing.
    let used = (2_u64..40).prop_map(|units| Block { units, is_free: false });
    (used, prop::collection::vec(block, 0..200)).prop_map(|(first, mut blocks)| {
        blocks.insert(0, first);
        blocks
    })
}

/// Words as there are in blocks; some of them look like sizes of chunks.
fn contents() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(33),
        Just(0x7f00_0000_1234),
        any::<u64>(),
        (2_u64..100).prop_map(|units| units * UNIT + 1)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_free_chunk_is_counted(blocks in blocks(), top in 2_u64..600, main: bool, contents in contents()) {
        let (words, chunks, free) = heap_of(&blocks, top, main, contents);
        let mut image = Image::new(words);
        let tally = image.walk(main);
        prop_assert_eq!((tally.chunks, tally.free, tally.free_resident), (chunks, free, free));
        prop_assert_eq!((tally.lost, tally.losses), (0, 0));
        prop_assert!(tally.free_pages <= free && tally.free_pages.is_multiple_of(PAGE));
    }

    #[test]
    fn a_page_that_is_not_there_hides_what_is_in_it_and_no_more(
        blocks in blocks(), top in 2_u64..600, main: bool, absent in prop::collection::vec(0_u64..40, 1..4),
    ) {
        let (words, _, free) = heap_of(&blocks, top, main, 0);
        let mut image = Image { absent, ..Image::new(words) };
        let all = image.resident(START..START + image.bytes());
        let tally = image.walk(main);
        prop_assert!(tally.free <= free, "{:?} of {}", tally, free);
        prop_assert!(tally.free_resident <= tally.free && tally.free_pages <= tally.free_resident);
        prop_assert!(tally.lost <= all);
    }

    #[test]
    fn a_walk_that_lost_its_way_finds_it_again(
        blocks in prop::collection::vec((2_u64..40, any::<bool>()), 150..200), at in 1_usize..50, nonsense: u64,
    ) {
        let blocks: Vec<_> = blocks.into_iter().map(|(units, is_free)| Block { units, is_free }).collect();
        let used = Block { units: 4, is_free: false };
        let (mut words, _, free) = heap_of(&[&[used], &blocks[..]].concat(), 100, true, 0x7f00_0000_1234);
        // The size of one chunk is nonsense.
        let mut place = 0;
        for _ in 0..at {
            place += (words[place + 1] & !FLAGS) as usize / 8;
        }
        words[place + 1] = nonsense;
        let tally = Image::new(words).walk(true);
        // Two chunks at the most are lost, or taken for free.
        prop_assert!(tally.free.abs_diff(free) <= 3 * 200 * 40 * UNIT / 10, "{} of {}", tally.free, free);
        prop_assert!(tally.losses <= 3);
    }

    #[test]
    fn any_bytes_are_walked_to_their_end(
        words in prop::collection::vec(prop_oneof![
            3 => any::<u64>(), 3 => 0_u64..200, 3 => (0_u64..40).prop_map(|units| units * 16 + 1), 1 => Just(0),
        ], 2..2000),
        synchronised: bool, main: bool, absent in prop::collection::vec(0_u64..4, 0..3),
    ) {
        let mut image = Image { absent, ..Image::new(words) };
        let bytes = image.bytes() / UNIT * UNIT;
        let stretch = Stretch { begins: START..START + bytes, end: START + bytes, synchronised, main };
        let tally = walk(&mut image, stretch, PAGE);
        prop_assert!(tally.free <= bytes && tally.lost <= bytes && tally.free_resident <= tally.free);
        // Each place is looked at in a walk, and for each a proof is tried, each twice at the most.
        prop_assert!(image.looks <= (bytes / UNIT + 1) * (PROOF as u64 + 3) * 2, "{} looks", image.looks);
    }

    #[test]
    fn a_heap_that_changes_meanwhile_is_walked_to_its_end(
        one in blocks(), other in blocks(), when in 1_u64..200, main: bool,
    ) {
        let [(first, ..), (mut second, ..)] = [heap_of(&one, 100, main, 33), heap_of(&other, 100, main, 33)];
        second.resize(first.len(), 33);
        let bytes = first.len() as u64 * 8;
        let tally = Image { then: Some((when, second)), ..Image::new(first) }.walk(main);
        prop_assert!(tally.free <= bytes && tally.lost <= bytes);
    }
}

#[test]
fn whole_pages_are_those_that_malloc_trim_gives_back() {
    // A block up to 32 bytes before a page's end, three pages that are free, a block, and the top.
    let to_the_page = (PAGE - 32) / UNIT;
    let block = |units, is_free| Block { units, is_free };
    let blocks = [block(to_the_page, false), block(3 * PAGE / UNIT, true), block(2, false)];
    let (words, ..) = heap_of(&blocks, 2, true, 0);
    // The links of the free chunk reach into the first page, which stays.
    assert_eq!(Image::new(words).walk(true).free_pages, PAGE);
    let further = [block(to_the_page - 1, false), block(3 * PAGE / UNIT, true), block(2, false)];
    let (words, ..) = heap_of(&further, 2, true, 0);
    assert_eq!(Image::new(words).walk(true).free_pages, 2 * PAGE);
}

#[test]
fn a_full_heap_of_an_arena_ends_with_a_fence() {
    let block = |units, is_free| Block { units, is_free };
    let (mut words, ..) = heap_of(&[block(10, false), block(20, true), block(5, false)], 4, false, 0);
    // What was the top is a free chunk in front of two headers without chunks (sysmalloc in malloc/malloc.c).
    let end = words.len();
    words[end - 7] = 32 | 1;
    words[end - 4] = 32;
    words[end - 3] = 16;
    words[end - 2] = 16;
    words[end - 1] = 1;
    let tally = Image::new(words).walk(false);
    assert_eq!((tally.chunks, tally.free, tally.losses, tally.lost), (4, 20 * 16 + 32, 0, 0));
}

#[test]
fn the_main_arena_goes_on_behind_somebody_elses_part_of_the_heap() {
    let block = |units, is_free| Block { units, is_free };
    let (mut words, ..) = heap_of(&[block(10, false), block(20, true), block(5, false)], 4, true, 0);
    let end = words.len();
    words[end - 7] = 32 | 1;
    words[end - 4..].copy_from_slice(&[32, 16, 0, 16 | 1]);
    let own = words.len() as u64 * 8;
    words.extend([0xdead_beef; 1000]);
    let blocks: Vec<_> = (0..20).map(|index| block(10, index % 2 == 1)).collect();
    let (behind, ..) = heap_of(&blocks, 4, true, 0);
    words.extend(behind);
    let tally = Image::new(words).walk(true);
    assert_eq!(tally.free, 20 * 16 + 32 + 9 * 160 + 160 + 64, "of {own}");
    assert_eq!((tally.losses, tally.lost), (0, 8000));
}

#[test]
fn an_array_of_one_number_is_no_row_of_chunks() {
    let mut image = Image::new(vec![33; 4000]);
    let end = START + image.bytes();
    let stretch = Stretch { begins: START..end, end, synchronised: false, main: true };
    assert_eq!(walk(&mut image, stretch, PAGE), Tally { lost: 32000, ..Tally::default() });
}

#[test]
fn a_header_that_contradicts_the_one_before_it_frees_nothing() {
    let block = |units, is_free| Block { units, is_free };
    let blocks: Vec<_> = (0..40).map(|index| block(10, index % 2 == 1)).collect();
    let (mut words, ..) = heap_of(&blocks, 4, true, 0x7f00_0000_1234);
    let whole = Image::new(words.clone()).walk(true);
    // Behind the first free chunk, which ends after 20 units, the size of that chunk is another one.
    words[20 * 2] = 96;
    let torn = Image::new(words).walk(true);
    assert_eq!((torn.free, torn.losses), (whole.free - 160, 1));
}

#[test]
fn a_few_numbers_that_look_like_headers_prove_nothing() {
    let block = |units, is_free| Block { units, is_free };
    let blocks: Vec<_> = (0..40).map(|index| block(10, index % 2 == 1)).collect();
    let (behind, chunks, free) = heap_of(&blocks, 4, true, 0x7f00_0000_1234);
    // Two sizes that lead from one to the other, and to something else.
    let mut words = vec![7; 16];
    (words[1], words[5]) = (32 | 1, 48 | 1);
    words.extend(behind);
    let mut image = Image::new(words);
    let end = START + image.bytes();
    let stretch = Stretch { begins: START..end, end, synchronised: false, main: true };
    let tally = walk(&mut image, stretch, PAGE);
    assert_eq!((tally.chunks, tally.free, tally.losses, tally.lost), (chunks, free, 0, 128));
}
