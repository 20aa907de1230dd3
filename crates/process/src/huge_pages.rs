//! Transparent huge pages: how much of a process is in them, and how much of that holds nothing.

use std::fs;

use crate::mapping::page_size;
use crate::memory::Survey;
use crate::source::Source;

/// A process's private memory in transparent huge pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HugePages {
    /// `always`, `madvise` or `never`, as the system has it; `None` for a kernel without them.
    pub mode: Option<String>,
    /// Bytes in huge pages.
    pub bytes: u64,
    /// How much of that holds nothing but zeros, reckoned from a sample: mostly memory that the program never wrote to,
    /// and that would not be there with small pages. `None` where the memory may not be read.
    pub zeros: Option<u64>,
}

/// Pages that are looked at.
const SAMPLE: u64 = 1024;

/// Looks at the process's huge pages.
pub fn huge_pages(pid: u32, survey: &Survey) -> HugePages {
    let setting = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let mode = setting.ok().and_then(|setting| chosen(&setting));
    let mappings = || survey.mappings.iter().filter(|mapping| mapping.huge > 0 && mapping.is_anonymous());
    let bytes = mappings().map(|mapping| mapping.huge).sum();
    if bytes == 0 {
        return HugePages { mode, bytes, zeros: Some(0) };
    }
    let size = page_size();
    let Ok(mut source) = Source::open(pid, size, u64::MAX) else {
        return HugePages { mode, bytes, zeros: None };
    };
    let mut zeros = 0.0;
    let mut page = vec![0; size as usize];
    for mapping in mappings() {
        let pages = (mapping.end - mapping.start) / size;
        let count = (SAMPLE * mapping.huge).div_ceil(bytes).min(pages);
        // Spread evenly, but not at the same place of each huge page, which may be the one that is in use.
        let places = (0..count).map(|index| {
            let first = pages * index / count;
            mapping.start + (first + index * 0x9E37_79B1 % (pages / count)) * size
        });
        let (mut seen, mut empty) = (0, 0);
        for place in places {
            if source.bytes(place, &mut page).is_some() {
                seen += 1;
                empty += u32::from(page.iter().all(|byte| *byte == 0));
            }
        }
        zeros += mapping.huge as f64 * f64::from(empty) / f64::from(seen.max(1));
    }
    HugePages { mode, bytes, zeros: Some(zeros as u64) }
}

/// The word in brackets.
fn chosen(setting: &str) -> Option<String> {
    let (_, rest) = setting.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_the_word_in_brackets() {
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen(""), None);
    }
}
