//! What glibc's functions about `malloc` tell (mallinfo(3)), in terms of [`Stats`].

use crate::Stats;

/// glibc's `struct mallinfo2` (2.33 and newer). What no allocator but glibc's has is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MallInfo2 {
    /// Bytes that come from the system, without those in `hblkhd`.
    pub arena: usize,
    /// Free chunks: a number.
    pub ordblks: usize,
    /// Free fastbin blocks: a number.
    pub smblks: usize,
    /// Blocks that are mapped each for itself: a number.
    pub hblks: usize,
    /// Bytes in these.
    pub hblkhd: usize,
    /// Nothing since long.
    pub usmblks: usize,
    /// Bytes in free fastbin blocks.
    pub fsmblks: usize,
    /// Bytes in blocks that are in use.
    pub uordblks: usize,
    /// Bytes that are free.
    pub fordblks: usize,
    /// Bytes that `malloc_trim` would give back.
    pub keepcost: usize,
}

impl From<Stats> for MallInfo2 {
    /// As with glibc `arena` is the sum of `uordblks` and `fordblks`. A backend that does not count live blocks tells as
    /// `uordblks` the next larger figure that it has: what is in pages with live blocks, or what is mapped.
    fn from(stats: Stats) -> Self {
        let size = |figure: Option<u64>| figure.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let in_use = size(stats.allocated.or(stats.active).or(stats.mapped)).unwrap_or(0);
        let held = size(stats.resident.or(stats.mapped)).unwrap_or(0).max(in_use);
        let in_pages = size(stats.active).unwrap_or(held).saturating_add(size(stats.metadata).unwrap_or(0));
        Self {
            arena: held,
            uordblks: in_use,
            fordblks: held - in_use,
            keepcost: held.saturating_sub(in_pages),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_what_is_held() {
        let all = Stats {
            allocated: Some(100),
            active: Some(160),
            metadata: Some(20),
            resident: Some(300),
            mapped: Some(400),
            retained: Some(500),
        };
        let told =
            MallInfo2 { arena: 300, uordblks: 100, fordblks: 200, keepcost: 120, ..MallInfo2::default() };
        assert_eq!(MallInfo2::from(all), told);
    }

    #[test]
    fn the_next_larger_figure_stands_for_one_that_is_not_there() {
        for stats in
            [Stats { mapped: Some(400), ..Stats::default() }, Stats { active: Some(400), ..Stats::default() }]
        {
            let told = MallInfo2 { arena: 400, uordblks: 400, ..MallInfo2::default() };
            assert_eq!(MallInfo2::from(stats), told);
        }
        assert_eq!(MallInfo2::from(Stats::default()), MallInfo2::default());
    }
}
