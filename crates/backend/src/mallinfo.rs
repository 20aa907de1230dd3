//! Converts [`Stats`] to the structure of glibc's `mallinfo2` (mallinfo(3)).

use crate::Stats;

/// glibc's `struct mallinfo2` (2.33 and newer). Figures that only glibc's allocator has are 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MallInfo2 {
    /// Bytes from the system, without the bytes in `hblkhd`.
    pub arena: usize,
    /// Number of free chunks.
    pub ordblks: usize,
    /// Number of free fastbin blocks.
    pub smblks: usize,
    /// Number of blocks with a mapping of their own.
    pub hblks: usize,
    /// Bytes in blocks with a mapping of their own.
    pub hblkhd: usize,
    /// Unused for a long time.
    pub usmblks: usize,
    /// Bytes in free fastbin blocks.
    pub fsmblks: usize,
    /// Bytes in live blocks.
    pub uordblks: usize,
    /// Free bytes.
    pub fordblks: usize,
    /// Bytes that `malloc_trim` would return to the system.
    pub keepcost: usize,
}

impl From<Stats> for MallInfo2 {
    /// `arena` is the sum of `uordblks` and `fordblks`, as in glibc. If a backend does not count live blocks, `uordblks` is
    /// the next larger figure that it counts: bytes in pages with live blocks, or mapped bytes.
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
